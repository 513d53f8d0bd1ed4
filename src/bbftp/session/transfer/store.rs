//! Files from the client. They appear whole, at their final size, mode and times,
//! or not at all.

use std::ops::Range;

use rustix::io::Errno;

use super::carry::{Freight, carry};
use super::data::{Offer, agree, connect_old};
use super::{Env, Refusable, Reply, Session, Version, coding, granted, old_coding};
use crate::bbftp::request::Named;
use crate::bbftp::session::reply::reason;
use crate::bbftp::stream::{Coding, Direction, StreamError, kept, partition};
use crate::bbftp::wire::{OldTransfer, Options, Result, Transfer};
use crate::store::upload::{Lasting, Upload, UploadError};
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
        return Ok(match begin_in_directory(env, file, transfer, None) {
            Ok(upload) => appear(env, file, upload, transfer),
            Err(reply) => reply,
        });
    }
    let begun = match begin_early(env, file, transfer, None) {
        Ok(begun) => begun,
        Err(reply) => return Ok(reply),
    };
    let offer = granted(transfer);
    let ranges = partition(0..offer.size, offer.streams as usize);
    let put = Put {
        file,
        transfer,
        account: None,
        offer: &Offer::All(&offer),
        coding: coding(&offer),
        ranges,
    };
    put.receive((control, env), version, begun)
}

/// STORE_FROM: what is missing of a file of which a part may be here.
///
/// # Errors
/// When the control connection is over.
pub fn store_from((control, env): Session<'_>, file: &Named, transfer: &Transfer) -> Result<Reply> {
    let account = env.account.clone();
    let begun = match begin_early(env, file, transfer, account.as_deref()) {
        Ok(begun) => begun,
        Err(reply) => return Ok(reply),
    };
    let offer = granted(transfer);
    let gaps = match &begun {
        _ if offer.size == 0 => Vec::new(),
        Some(upload) => kept::missing(upload.part(), offer.size),
        None => std::iter::once(0..offer.size).collect(),
    };
    let missing = kept::divide(gaps, offer.streams as usize);
    let there = kept::kept(&missing, offer.size);
    let digest = match begun.as_ref().filter(|_| !there.is_empty()) {
        Some(upload) => kept::digest(upload.part(), &there).map(Some),
        None => Ok(None),
    };
    let digest = match digest {
        Ok(digest) => digest,
        Err(e) => {
            leave(begun);
            return Ok(Reply::failed("Error reading file", &file.text, e));
        }
    };
    let put = Put {
        file,
        transfer,
        account: account.as_deref(),
        offer: &Offer::Some(&offer, &missing, digest),
        coding: coding(&offer),
        ranges: missing
            .iter()
            .map(|part| part.begin..part.begin + part.len)
            .collect(),
    };
    put.receive((control, env), Version::Three, begun)
}

/// A file on its way from a client of version 2 or 3.
struct Put<'a> {
    file: &'a Named,
    transfer: &'a Transfer,
    /// For whom what has arrived stays.
    account: Option<&'a [u8]>,
    offer: &'a Offer<'a>,
    coding: Coding,
    ranges: Vec<Range<u64>>,
}

impl Put<'_> {
    /// Agrees on the transfer and carries it out.
    fn receive(
        self,
        (control, env): Session<'_>,
        version: Version,
        begun: Option<Upload>,
    ) -> Result<Reply> {
        let (file, transfer) = (self.file, self.transfer);
        let links = match agree((&mut *control, &mut *env), version, self.offer) {
            Ok(Ok(links)) => links,
            Ok(Err(reply)) => {
                leave(begun);
                return Ok(reply);
            }
            Err(e) => {
                leave(begun);
                return Err(e);
            }
        };
        let begun = begun.map_or_else(|| begin_in_directory(env, file, transfer, self.account), Ok);
        let upload = match begun {
            Ok(upload) => upload,
            Err(reply) => return Ok(reply),
        };
        let freight = Freight {
            file: upload.part(),
            direction: Direction::Receive,
            coding: self.coding,
        };
        match carry((&mut *control, &mut *env), &freight, links, self.ranges) {
            Ok(Ok(())) => Ok(appear(env, file, upload, transfer)),
            Ok(Err(e)) => {
                let reply = failure(env, &e);
                // What has arrived takes up room that there is not.
                if env.shortage.get().is_none() {
                    upload.leave();
                }
                Ok(reply)
            }
            Err(e) => {
                upload.leave();
                Err(e)
            }
        }
    }
}

/// Ends an upload, and leaves what has arrived of it.
fn leave(begun: Option<Upload>) {
    begun.into_iter().for_each(Upload::leave);
}

/// Begins a file before the client starts its transfer; none where directories
/// have to be made for it, which a simulation must not do.
fn begin_early(
    env: &Env,
    file: &Named,
    transfer: &Transfer,
    account: Option<&[u8]>,
) -> Refusable<Option<Upload>> {
    match begin_kept(env, file, transfer, account) {
        Ok(upload) => Ok(Some(upload)),
        Err(UploadError::System(Errno::NOENT)) if transfer.options.has(Options::DIR) => Ok(None),
        Err(e) => Err(not_begun(env, file, e)),
    }
}

/// Begins a file of which what arrives stays for this account, if there is one.
fn begin_kept(
    env: &Env,
    file: &Named,
    transfer: &Transfer,
    account: Option<&[u8]>,
) -> std::result::Result<Upload, UploadError> {
    let Some(account) = account else {
        return begin(env, file, transfer.size);
    };
    let lasting = Lasting {
        account,
        length: transfer.size,
        afresh: transfer.options.has(Options::AFRESH),
    };
    let how = (env.rights == Rights::Full, env.modes.file);
    Upload::begin_lasting(&env.root, &file.path, how, env.quota, &lasting)
}

/// Begins a file that gets so many bytes.
fn begin(env: &Env, file: &Named, size: u64) -> std::result::Result<Upload, UploadError> {
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
    account: Option<&[u8]>,
) -> Refusable<Upload> {
    let first = begin_kept(env, file, transfer, account);
    let again = match first {
        Err(UploadError::System(Errno::NOENT)) if transfer.options.has(Options::DIR) => {
            let parent = file.path.parent();
            let made = env.directories().all(&parent, |_| Ok::<_, Errno>(()));
            made.map_err(UploadError::from)
                .and_then(|()| begin_kept(env, file, transfer, account))
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
    let stored = attributes.and_then(|()| upload.commit(env.sync()));
    match stored.and_then(|()| env.uploads.arrived(&file.path)) {
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
