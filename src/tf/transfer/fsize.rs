//! FSIZE and FSIZELS (document, same names): sizes of files as raw 8-byte
//! numbers, without messages.

use crate::session::audit::Outcome;
use crate::store::RootPath;
use crate::store::part::is_file;
use crate::store::read::FileReader;
use crate::tf::env::Env;
use crate::tf::request::RawPath;
use crate::tf::status::Status;
use crate::tf::wire::{Result, Wire};

const FAILED: i64 = -1;
const NO_FILE: i64 = -2;
const NO_MORE: i64 = -3;

/// Bytes of the list read at once, and more than a path can have.
const BUFFER: usize = 64 * 1024;

/// FSIZE: the size in bytes, -1 on failure, -2 if it is not a regular file.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn run(wire: &mut Wire, env: &Env, path: &RawPath) -> Result<Outcome> {
    let size = size(env, path);
    wire.reply_unit(&size.to_be_bytes())?;
    Ok(if size < 0 {
        Outcome::Failed(None)
    } else {
        Outcome::Done
    })
}

/// FSIZELS: what FSIZE says of each line of the file, then -3.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn run_list(wire: &mut Wire, env: &Env, path: &RawPath) -> Result<Outcome> {
    let size = |path: &RawPath| size(env, path).to_be_bytes();
    each_line(wire, env, path, size, NO_MORE.to_be_bytes())
}

/// Sends a unit for each path that is a line of the file, then the last.
///
/// # Errors
/// When the connection can't go on.
pub(super) fn each_line<const N: usize>(
    wire: &mut Wire,
    env: &Env,
    path: &RawPath,
    unit: impl Fn(&RawPath) -> [u8; N],
    last: [u8; N],
) -> Result<Outcome> {
    let opened = path
        .as_ref()
        .ok()
        .and_then(|path| FileReader::open(&env.root, path).ok());
    let outcome = if opened.is_some() {
        Outcome::Done
    } else {
        Outcome::Failed(None)
    };
    if let Some(file) = opened {
        let mut buffer = vec![0; BUFFER];
        let mut offset = 0;
        while let Ok(len @ 1..) = file.read_at(&mut buffer, offset) {
            let at_end = len < buffer.len();
            let whole = match buffer[..len].iter().rposition(|c| *c == b'\n') {
                Some(last) if !at_end => last + 1,
                _ => len,
            };
            send_units(wire, env, &buffer[..whole], &unit)?;
            offset += whole as u64;
        }
    }
    wire.reply_unit(&last)?;
    Ok(outcome)
}

/// Sends the units for some lines with one write.
fn send_units<const N: usize>(
    wire: &mut Wire,
    env: &Env,
    lines: &[u8],
    unit: impl Fn(&RawPath) -> [u8; N],
) -> Result<()> {
    let lines = lines
        .strip_suffix(b"\n")
        .unwrap_or(lines)
        .split(|c| *c == b'\n');
    let mut units = Vec::new();
    for line in lines {
        let path = RootPath::parse(line, env.root.policy()).map_err(|_| Status::AccessDenied);
        units.extend_from_slice(&unit(&path));
    }
    let lengths = vec![N; units.len() / N];
    wire.write_units(&mut units, &lengths)
}

fn size(env: &Env, path: &RawPath) -> i64 {
    match path.as_ref().map(|path| env.root.stat(path)) {
        Ok(Ok(stat)) if is_file(&stat) => stat.st_size,
        Ok(Ok(_)) => NO_FILE,
        _ => FAILED,
    }
}
