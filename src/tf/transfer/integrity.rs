//! INTREAD and INTWRITE (version 2.5, same names): a small file with its hash,
//! and a new content for a file that still has the hash the client knows. Raw
//! units, without messages. A file above `integrity_limit` is refused.

use std::os::fd::BorrowedFd;

use rustix::fs::OFlags;
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::session::audit::Outcome;
use crate::store::RootPath;
use crate::store::upload::Upload;
use crate::sys::number::size;
use crate::text::hex;
use crate::tf::env::Env;
use crate::tf::locks::{Locked, Waited};
use crate::tf::request::RawPath;
use crate::tf::wire::{Result, Wire};

const DONE: i32 = 0;
const FAILED: i32 = -1;

/// A hash as text: `0x` and 64 digits.
const HASH: usize = 2 + 64;

/// INTREAD: the size, the hash and the content; or -1.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn read(wire: &mut Wire, env: &Env, path: &RawPath) -> Result<Outcome> {
    let locked = match lock(wire, env, path, OFlags::RDONLY)? {
        Waited::Ended => return Ok(Outcome::BrokenOff),
        waited => waited,
    };
    let loaded = match &locked {
        Waited::Got(locked) => load(locked.file(), env.settings.integrity_limit).ok(),
        _ => None,
    };
    drop(locked);
    let header = loaded.as_ref().map(|content| i32::try_from(content.len()));
    let (Some(content), Some(Ok(header))) = (loaded, header) else {
        wire.reply_i32(FAILED)?;
        return Ok(Outcome::Failed(None));
    };
    wire.hold_unit(&header.to_be_bytes());
    wire.hold_unit(hash(&content).as_bytes());
    let (mut content, len) = (content, [usize::try_from(header).unwrap_or(0)]);
    wire.write_units(&mut content, &len)?;
    wire.count_data(len[0]);
    Ok(Outcome::Done)
}

/// INTWRITE: takes hash, size and content, and answers 0, or -1 when nothing has
/// changed. The file is the old one or the whole new one.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn write(wire: &mut Wire, env: &mut Env, path: &RawPath) -> Result<Outcome> {
    let mut expected = [0; HASH];
    wire.read_raw(&mut expected)?;
    let len = u64::try_from(wire.read_i32()?);
    let fits = len.is_ok_and(|len| len <= env.settings.integrity_limit);
    let mut content = Vec::new();
    match (len, path) {
        (Ok(len), Ok(_)) if fits => {
            content.resize(usize::try_from(len).unwrap_or(0), 0);
            wire.read_raw(&mut content)?;
            wire.count_data(content.len());
        }
        (len, _) => {
            wire.skip_raw(len.unwrap_or(0))?;
            wire.reply_i32(FAILED)?;
            return Ok(Outcome::Failed(None));
        }
    }
    let stored = match lock(wire, env, path, OFlags::RDWR)? {
        Waited::Ended => return Ok(Outcome::BrokenOff),
        Waited::Got(locked) => replace(env, path, &locked, &expected, &content).is_ok(),
        Waited::Busy | Waited::Failed(_) => false,
    };
    wire.reply_i32(if stored { DONE } else { FAILED })?;
    Ok(if stored {
        Outcome::Done
    } else {
        Outcome::Failed(None)
    })
}

fn lock(wire: &mut Wire, env: &Env, path: &RawPath, flags: OFlags) -> Result<Waited> {
    match path {
        Ok(path) => env.locks.lock_briefly(wire, (&env.root, path), flags),
        Err(_) => Ok(Waited::Busy),
    }
}

/// Replaces a locked file that has the expected hash.
///
/// # Errors
/// `ESTALE` when it has another, else the system's.
fn replace(
    env: &mut Env,
    path: &RawPath,
    locked: &Locked,
    expected: &[u8],
    content: &[u8],
) -> std::result::Result<(), Errno> {
    let path: &RootPath = path.as_ref().map_err(|_| Errno::ACCESS)?;
    let old = load(locked.file(), env.settings.integrity_limit)?;
    if hash(&old).as_bytes() != expected {
        return Err(Errno::STALE);
    }
    let stat = rustix::fs::fstat(locked.file())?;
    let mode = env.settings.file_mode;
    let begun = Upload::begin(&env.root, path, true, mode, env.quota);
    let mut upload = begun
        .map_err(|e| env.note_upload(e))
        .map_err(|_| Errno::ACCESS)?
        .replacing_only(stat);
    upload.write(content).map_err(|e| env.note(e))?;
    let published = env.publish(upload);
    env.arrived(published, path)
}

/// The whole content of a file that is not above the limit.
fn load(file: BorrowedFd<'_>, limit: u64) -> std::result::Result<Vec<u8>, Errno> {
    let length = size(rustix::fs::fstat(file)?.st_size);
    if length > limit {
        return Err(Errno::FBIG);
    }
    let mut content = vec![0; usize::try_from(length).map_err(|_| Errno::FBIG)?];
    let mut done = 0;
    while done < content.len() {
        match rustix::io::pread(file, &mut content[done..], done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    content.truncate(done);
    Ok(content)
}

fn hash(content: &[u8]) -> String {
    format!("0x{}", hex(&Sha256::digest(content)))
}
