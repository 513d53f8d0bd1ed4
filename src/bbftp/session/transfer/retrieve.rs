//! Files to the client.

use std::ops::Range;
use std::time::Duration;

use super::carry::{Freight, carry};
use super::data::{Offer, agree, connect_old};
use super::start::{Start, await_start};
use super::store::{failure, old_failure};
use super::{Env, Refusable, Reply, Session, Version, coding, granted, old_coding};
use crate::bbftp::request::Named;
use crate::bbftp::stream::{Direction, partition};
use crate::bbftp::wire::extension::Missing;
use crate::bbftp::wire::{Code, OldTransfer, Result, Transfer};
use crate::session::audit::Outcome;
use crate::store::read::{FileReader, ReadError};
use crate::sys::number::size;

/// RETR, and with `gzip` RETR_C.
///
/// # Errors
/// When the control connection is over.
pub fn old_retrieve(
    (control, env): Session<'_>,
    file: &Named,
    transfer: &OldTransfer,
    gzip: bool,
) -> Result<Reply> {
    let reader = match open(env, file) {
        Ok(reader) => reader,
        Err(reply) => return Ok(reply),
    };
    control.send(Code::RetrOk, &reader.length.to_be_bytes())?;
    match await_start(control, Version::One, Duration::ZERO)? {
        Start::Go(_) | Start::Simulate(_) => {}
        Start::Abort if reader.length == 0 => return Ok(Reply::None(Outcome::Done)),
        Start::Abort => return Ok(Reply::None(Outcome::BrokenOff)),
    }
    let links = match connect_old((&mut *control, &mut *env), &transfer.ports)? {
        Ok(links) => links,
        Err(reply) => return Ok(reply),
    };
    let freight = Freight {
        file: reader.handle(),
        direction: Direction::Send,
        coding: old_coding(gzip),
    };
    let ranges = partition(0..reader.length, links.len());
    match carry((control, env), &freight, links, ranges)? {
        Ok(()) => Ok(Reply::ok("OK")),
        Err(e) => Ok(old_failure(env, &e)),
    }
}

/// RETR_V2, in version 2 or 3.
///
/// # Errors
/// When the control connection is over.
pub fn retrieve(
    (control, env): Session<'_>,
    file: &Named,
    transfer: &Transfer,
    version: Version,
) -> Result<Reply> {
    let reader = match open(env, file) {
        Ok(reader) => reader,
        Err(reply) => return Ok(reply),
    };
    let described = match describe(&reader, transfer) {
        Ok(described) => granted(&described),
        Err(reply) => return Ok(reply),
    };
    if described.size == 0 {
        // The client makes an empty file, and says so or not.
        let code = match version {
            Version::Three => Code::TransOkV3,
            _ => Code::TransOkV2,
        };
        env.transfers = env.transfers.wrapping_add(1);
        env.may_come_late = true;
        control.send(code, &described.encode())?;
        return Ok(Reply::None(Outcome::Done));
    }
    let buffers = described.size / (u64::from(described.buffer) * 1024);
    let offer = Transfer {
        streams: u32::try_from(buffers)
            .unwrap_or(u32::MAX)
            .clamp(1, described.streams),
        ..described
    };
    let ranges = partition(0..offer.size, offer.streams as usize);
    let session = (control, env);
    send(
        session,
        &reader,
        version,
        (&offer, &Offer::All(&offer)),
        ranges,
    )
}

/// RETR_FROM: what a client lacks of a file that is still the same.
///
/// # Errors
/// When the control connection is over.
pub fn retrieve_from(
    (control, env): Session<'_>,
    file: &Named,
    transfer: &Transfer,
    missing: &[Missing],
) -> Result<Reply> {
    let reader = match open(env, file) {
        Ok(reader) => reader,
        Err(reply) => return Ok(reply),
    };
    let described = match describe(&reader, transfer) {
        Ok(described) => granted(&described),
        Err(reply) => return Ok(reply),
    };
    if (described.size, described.modified) != (transfer.size, transfer.modified) {
        return Ok(Reply::no(
            [b"File ", &file.text[..], b" has changed"].concat(),
        ));
    }
    let ranges = missing.iter().map(|part| part.begin..part.begin + part.len);
    let ranges = ranges.collect();
    let offer = Offer::Some(&described, missing, None);
    let session = (control, env);
    send(
        session,
        &reader,
        Version::Three,
        (&described, &offer),
        ranges,
    )
}

/// Agrees on a transfer and carries it out.
fn send(
    (control, env): Session<'_>,
    reader: &FileReader,
    version: Version,
    (described, offer): (&Transfer, &Offer<'_>),
    ranges: Vec<Range<u64>>,
) -> Result<Reply> {
    let links = match agree((&mut *control, &mut *env), version, offer)? {
        Ok(links) => links,
        Err(reply) => return Ok(reply),
    };
    let freight = Freight {
        file: reader.handle(),
        direction: Direction::Send,
        coding: coding(described),
    };
    match carry((control, env), &freight, links, ranges)? {
        Ok(()) => Ok(Reply::ok("OK")),
        Err(e) => Ok(failure(env, &e)),
    }
}

/// Opens a file to send it.
pub(super) fn open(env: &Env, file: &Named) -> Refusable<FileReader> {
    let text = |words: &str| [b"File ", &file.text[..], b" ", words.as_bytes()].concat();
    FileReader::open(&env.root, &file.path).map_err(|e| match e {
        ReadError::Directory => Reply::no(text("is a directory")),
        ReadError::Special => Reply::no(text("is not a regular file")),
        ReadError::System(e) => Reply::failed("Error stating file", &file.text, e),
    })
}

/// A file as the client is told of it, and otherwise as it has asked.
pub(super) fn describe(reader: &FileReader, asked: &Transfer) -> Refusable<Transfer> {
    let stat = rustix::fs::fstat(reader.handle());
    let stat = stat.map_err(|e| Reply::failed("Error stating file", b"", e))?;
    let time = |seconds: i64| Some(u32::try_from(seconds).unwrap_or(0));
    Ok(Transfer {
        size: size(stat.st_size),
        mode: stat.st_mode & 0o7777,
        accessed: time(stat.st_atime),
        modified: time(stat.st_mtime),
        ..asked.clone()
    })
}
