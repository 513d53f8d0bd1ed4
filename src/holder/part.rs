//! The bytes of a file that comes: they go to the part that the stock has opened, and
//! are hashed on the way.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::checksum::{Hasher, at_most};
use crate::hub::wire::Name;

/// Bytes that are read and written at once.
const PIECE: usize = 64 * 1024;

/// What has come of the bytes.
pub enum Fate {
    /// They are what the name says.
    Whole,
    /// They are not.
    Wrong,
    /// There was no room for them.
    Full,
}

/// Reads all bytes from this one on, also those that the disk has no room for: the line
/// goes on. `next` reads some of them, one at least.
///
/// # Errors
/// Those of `next`, and the system's on reading what the part has.
pub fn fill<E: From<io::Error>>(
    part: &File,
    (name, size): (Name, u64),
    from: u64,
    mut next: impl FnMut(&mut [u8]) -> Result<usize, E>,
) -> Result<Fate, E> {
    let mut hasher = Hasher::default();
    let mut piece = vec![0; PIECE];
    let mut at = 0;
    while at < from {
        let len = at_most(from - at, PIECE);
        part.read_exact_at(&mut piece[..len], at)?;
        hasher.update(&piece[..len]);
        at += len as u64;
    }
    let mut failed: Option<io::Error> = None;
    while at < size {
        let most = at_most(size - at, PIECE);
        let len = next(&mut piece[..most])?;
        if failed.is_none() {
            hasher.update(&piece[..len]);
            failed = part.write_all_at(&piece[..len], at).err();
        }
        at += len as u64;
    }
    if failed.is_none() && hasher.finish() != name {
        return Ok(Fate::Wrong);
    }
    if failed.is_none() {
        failed = part.sync_data().err();
    }
    Ok(match failed {
        None => Fate::Whole,
        Some(e) if e.kind() == io::ErrorKind::StorageFull => Fate::Full,
        Some(e) => {
            log::error!(error:% = e; "part not written");
            Fate::Full
        }
    })
}
