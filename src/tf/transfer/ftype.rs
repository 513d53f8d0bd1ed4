//! FTYPE, FTYPELS and FSTATLS (version 2.5, same names): types, sizes and times
//! as raw units, without messages. Links are followed.

use rustix::fs::{FileType, Stat};

use super::fsize::each_line;
use crate::session::audit::Outcome;
use crate::sys::number::size;
use crate::tf::env::Env;
use crate::tf::request::RawPath;
use crate::tf::wire::{Result, Wire};

const FAILED: i8 = -1;
const NO_MORE: i8 = -2;

/// Code, type, size, time of last access, time of last change.
const RECORD: usize = 1 + 1 + 3 * 8;

/// FTYPE: one byte, -1 for a failure.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn run(wire: &mut Wire, env: &Env, path: &RawPath) -> Result<Outcome> {
    let unit = type_of(env, path);
    wire.reply_unit(&unit)?;
    Ok(if unit == FAILED.to_be_bytes() {
        Outcome::Failed(None)
    } else {
        Outcome::Done
    })
}

/// FTYPELS: what FTYPE says of each line of the file, then -2.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn run_list(wire: &mut Wire, env: &Env, path: &RawPath) -> Result<Outcome> {
    each_line(
        wire,
        env,
        path,
        |path| type_of(env, path),
        NO_MORE.to_be_bytes(),
    )
}

/// FSTATLS: a record for each line of the file, then one of -2 and zeros.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn stat_list(wire: &mut Wire, env: &Env, path: &RawPath) -> Result<Outcome> {
    let unit = |path: &RawPath| stat(env, path).map_or(record(FAILED), |stat| record_of(&stat));
    each_line(wire, env, path, unit, record(NO_MORE))
}

/// A record without anything but its code.
fn record(code: i8) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..1].copy_from_slice(&code.to_be_bytes());
    record
}

fn record_of(stat: &Stat) -> [u8; RECORD] {
    let mut record = record(0);
    record[1..2].copy_from_slice(&number(stat).to_be_bytes());
    let numbers = [
        size(stat.st_size),
        stat.st_atime.cast_unsigned(),
        stat.st_mtime.cast_unsigned(),
    ];
    for (field, number) in record[2..].chunks_exact_mut(8).zip(numbers) {
        field.copy_from_slice(&number.to_be_bytes());
    }
    record
}

fn type_of(env: &Env, path: &RawPath) -> [u8; 1] {
    stat(env, path)
        .map_or(FAILED, |stat| number(&stat))
        .to_be_bytes()
}

fn stat(env: &Env, path: &RawPath) -> Option<Stat> {
    env.root.stat(path.as_ref().ok()?).ok()
}

/// The protocol's number of a type. 5, a link, does not occur.
fn number(stat: &Stat) -> i8 {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => 0,
        FileType::CharacterDevice => 1,
        FileType::BlockDevice => 2,
        FileType::RegularFile => 3,
        FileType::Fifo => 4,
        FileType::Socket => 6,
        _ => 7,
    }
}
