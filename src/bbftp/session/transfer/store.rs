//! Files from the client. They appear whole, at their final size, mode and times,
//! or not at all.

use std::ops::Range;

use rustix::io::Errno;

use super::carry::{Freight, carry};
use super::data::{Offer, Opened, agree, connect_old};
use super::{Env, Refusable, Reply, Session, Version, coding, granted, old_coding};
use crate::bbftp::request::Named;
use crate::bbftp::session::reply::reason;
use crate::bbftp::stream::{Coding, Direction, StreamError, partition};
use crate::bbftp::wire::extension::Missing;
use crate::bbftp::wire::{OldTransfer, Options, Result, Transfer};
use crate::session::audit::Outcome;
use crate::store::upload::{Upload, UploadError};
use crate::users::Rights;

/// STORE, and with `gzip` STORE_C.
///
/// # Errors
/// When the control connection is over.
pub fn old_store(
    (control, env): Session<'_>,
    file: &Named,
    transfer: &OldTransfer,
    gzip: bool,
) -> Result<Reply> {
    let upload = match begin(env, file, transfer.size) {
        Ok(upload) => upload,
        Err(e) => return Ok(not_begun(env, file, e)),
    };
    if transfer.size > 0 {
        let links = match connect_old((&mut *control, &mut *env), &transfer.ports)? {
            Ok(links) => links,
            Err(reply) => return Ok(reply),
        };
        let freight = Freight {
            file: upload.part(),
            direction: Direction::Receive,
            coding: old_coding(gzip),
        };
        let ranges = partition(0..transfer.size, links.len());
        if let Err(e) = carry((&mut *control, &mut *env), &freight, links, ranges)? {
            return Ok(old_failure(env, &e));
        }
    }
    Ok(appear(env, file, upload, &Transfer::default()))
}

/// STORE_V2, in version 2 or 3.
///
/// # Errors
/// When the control connection is over.
pub fn store(
    (control, env): Session<'_>,
    file: &Named,
    transfer: &Transfer,
    version: Version,
) -> Result<Reply> {
    if transfer.size == 0 {
        return Ok(match begin_in_directory(env, file, transfer) {
            Ok(upload) => appear(env, file, upload, transfer),
            Err(reply) => reply,
        });
    }
    let offer = granted(transfer);
    let ranges = partition(0..offer.size, offer.streams as usize);
    let put = Put {
        file,
        transfer,
        offer: &Offer::All(&offer),
        coding: coding(&offer),
        ranges,
    };
    put.receive((control, env), version)
}

/// STORE_FROM: of a file of which nothing is here yet, all is missing.
///
/// # Errors
/// When the control connection is over.
pub fn store_from((control, env): Session<'_>, file: &Named, transfer: &Transfer) -> Result<Reply> {
    let offer = granted(transfer);
    let mut ranges = partition(0..offer.size, offer.streams as usize);
    ranges.retain(|range| !range.is_empty());
    let missing = |range: &Range<u64>| Missing {
        begin: range.start,
        len: range.end - range.start,
    };
    let missing: Vec<Missing> = ranges.iter().map(missing).collect();
    let put = Put {
        file,
        transfer,
        offer: &Offer::Some(&offer, &missing),
        coding: coding(&offer),
        ranges,
    };
    put.receive((control, env), Version::Three)
}

/// A file on its way from a client of version 2 or 3.
struct Put<'a> {
    file: &'a Named,
    transfer: &'a Transfer,
    offer: &'a Offer<'a>,
    coding: Coding,
    ranges: Vec<Range<u64>>,
}

impl Put<'_> {
    /// Agrees on the transfer and carries it out.
    fn receive(self, (control, env): Session<'_>, version: Version) -> Result<Reply> {
        let (file, transfer) = (self.file, self.transfer);
        let begun = match begin(env, file, transfer.size) {
            Ok(upload) => Some(upload),
            // Directories are made for a transfer, and not for a simulation.
            Err(UploadError::System(Errno::NOENT)) if transfer.options.has(Options::DIR) => None,
            Err(e) => return Ok(not_begun(env, file, e)),
        };
        let links = match agree((&mut *control, &mut *env), version, self.offer)? {
            Opened::Streams(links) => links,
            Opened::Simulated => return Ok(Reply::ok("OK")),
            Opened::Aborted => return Ok(Reply::None(Outcome::BrokenOff)),
            Opened::Refused(reply) => return Ok(reply),
        };
        let upload = match begun.map_or_else(|| begin_in_directory(env, file, transfer), Ok) {
            Ok(upload) => upload,
            Err(reply) => return Ok(reply),
        };
        let freight = Freight {
            file: upload.part(),
            direction: Direction::Receive,
            coding: self.coding,
        };
        match carry((&mut *control, &mut *env), &freight, links, self.ranges)? {
            Ok(()) => Ok(appear(env, file, upload, transfer)),
            Err(e) => Ok(failure(env, &e)),
        }
    }
}

/// Begins a file that gets so many bytes.
pub(super) fn begin(
    env: &Env,
    file: &Named,
    size: u64,
) -> std::result::Result<Upload, UploadError> {
    let replace = env.rights == Rights::Full;
    let (mode, quota) = (env.modes.file, env.quota);
    let mut upload = Upload::begin(&env.root, &file.path, replace, mode, quota)?;
    upload.extend_to(size)?;
    Ok(upload)
}

/// The same, with the directories that lead to it.
pub(super) fn begin_in_directory(
    env: &Env,
    file: &Named,
    transfer: &Transfer,
) -> Refusable<Upload> {
    let first = begin(env, file, transfer.size);
    let again = match first {
        Err(UploadError::System(Errno::NOENT)) if transfer.options.has(Options::DIR) => {
            let parent = file.path.parent();
            let made = env.directories().all(&parent, |_| Ok::<_, Errno>(()));
            made.map_err(UploadError::from)
                .and_then(|()| begin(env, file, transfer.size))
        }
        other => other,
    };
    again.map_err(|e| not_begun(env, file, e))
}

/// Why a file is not begun.
fn not_begun(env: &Env, file: &Named, e: UploadError) -> Reply {
    let name = &file.text[..];
    let text = |words: &str| [b"File ", name, b" ", words.as_bytes()].concat();
    match e {
        UploadError::Directory => Reply::no(text("is a directory")),
        UploadError::Exists => Reply::no(text("exists and may not be replaced")),
        UploadError::Special => Reply::no(text("is not a regular file")),
        UploadError::System(Errno::NOENT) => {
            let parent = file.path.parent();
            let words: [&[u8]; 3] = [
                b"Directory (/",
                parent.as_bytes(),
                b") creation needed but TROPT_DIR not set",
            ];
            Reply::no(words.concat())
        }
        UploadError::System(e) => env.failed("Error creation file", name, e),
    }
}

/// Lets a whole file appear, as it is to be.
pub(super) fn appear(env: &Env, file: &Named, upload: Upload, transfer: &Transfer) -> Reply {
    let times = (transfer.accessed, transfer.modified);
    let attributes = match times {
        (accessed, Some(modified)) if transfer.options.has(Options::ACC) => {
            upload.set_times(accessed.unwrap_or(modified), modified)
        }
        _ => Ok(()),
    };
    let attributes = attributes.and_then(|()| match transfer.options.has(Options::MODE) {
        true => upload.set_mode(transfer.mode),
        false => Ok(()),
    });
    match attributes.and_then(|()| upload.commit(env.sync())) {
        Ok(()) => Reply::ok("OK"),
        Err(e) => env.failed("Error closing file", &file.text, e),
    }
}

/// The answer to a failure of versions 2 and 3.
pub(super) fn failure(env: &Env, e: &StreamError) -> Reply {
    log::debug!(error:% = e; "transfer failed");
    match full(env, e) {
        Some(reply) => reply,
        None => Reply::Bad(format!("Error on server: {}", reason(e.errno())).into()),
    }
}

/// The answer to one of version 1.
pub(super) fn old_failure(env: &Env, e: &StreamError) -> Reply {
    log::debug!(error:% = e; "transfer failed");
    full(env, e).unwrap_or_else(|| Reply::Bad(reason(e.errno()).into()))
}

/// The answer where there was no room: the client need not try again.
fn full(env: &Env, e: &StreamError) -> Option<Reply> {
    env.note(e.errno());
    let shortage = env.shortage.get()?;
    Some(Reply::no(shortage.to_string()))
}
