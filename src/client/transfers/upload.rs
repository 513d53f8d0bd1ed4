//! One file on its way to the server, over one connection or several: it
//! arrives as a part, its digest is compared, and only then it takes its
//! place. A part is resumed if its bytes are those of the file, and deleted
//! if not.

use std::fs::{File, Metadata};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::OFlags;
use sha2::{Digest, Sha256};

use super::existing::keep_old;
use super::keep::holes::data_in;
use super::keep::local::xattrs_of;
use super::keep::{is_private, lost_by, set_requests};
use super::local::Target;
use super::pump::{Source, Start, digest_concurrently, digest_there, extend_digest, read_ahead};
use super::queue::{Item, Ranges};
use super::requests::{
    can_change_mode, change_mode, directory, done, join, last, part_name, request, stays, two_paths,
};
use super::resume::{Begun, Rest};
use super::run::{Id, Line, Run, joined};
use super::scan::Found;
use super::single::new_part_name;
use crate::client::connect::Connection;
use crate::client::error::{ClientError, Result};
use crate::client::extension::{Attributes, Features, Time};
use crate::client::observe::Note;
use crate::client::transfer::HEADER;
use crate::sys::number::at_most;
use crate::tf::status::Status;

/// A local file, and by its `id` where it goes.
pub(super) struct Upload {
    pub(super) id: Id,
    pub(super) local: PathBuf,
    /// The tree it is in and its path there: no link leads to it. Without
    /// them, links are followed.
    pub(super) beneath: Option<(Arc<Target>, Vec<u8>)>,
    /// What was found here.
    pub(super) found: Found,
    /// Where the file that it replaces is kept.
    pub(super) backup: Option<Vec<u8>>,
}

/// A local file that is open.
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) version: Version,
    /// What its copy is to have.
    pub(super) attributes: Attributes,
}

/// The pauses before a file that changed is sent again. One call that shortens a
/// file changes it twice, its size first and its time later: behind the second
/// pause that is over.
const RESTART_PAUSES: [Duration; 2] = [Duration::ZERO, Duration::from_millis(200)];

/// What tells a version of a file from another one.
#[derive(PartialEq, Eq)]
pub(super) struct Version {
    /// Device and inode.
    file: (u64, u64),
    pub(super) size: u64,
    modified: Time,
}

impl Version {
    fn of(metadata: &Metadata) -> Version {
        Version {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.len(),
            modified: Time::modified(metadata),
        }
    }
}

impl Upload {
    /// Opens the local file.
    ///
    /// # Errors
    /// The system's, or that it is not a regular file.
    pub(super) fn open(&self, run: &Run<'_>) -> Result<Opened> {
        let error = |e| ClientError::local(&self.local, e);
        let file = match &self.beneath {
            Some((top, relative)) => top.open_to_read(relative)?,
            None => File::options()
                .read(true)
                .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
                .open(&self.local)
                .map_err(error)?,
        };
        let metadata = file.metadata().map_err(error)?;
        if !metadata.is_file() {
            return Err(error(std::io::Error::other("not a regular file any more")));
        }
        let keep = &run.options.keep;
        let mut found = Found::local(&metadata);
        if keep.xattrs {
            found.xattrs = xattrs_of(&file).map_err(|e| error(e.into()))?;
        }
        Ok(Opened {
            version: Version::of(&metadata),
            attributes: keep.of(&found),
            file,
        })
    }

    /// Checks that what was read since it was opened is one version of the
    /// file: it may have grown since, or be gone.
    ///
    /// # Errors
    /// `Changed`.
    pub(super) fn is_still(&self, version: &Version) -> Result<()> {
        let metadata = match self.beneath {
            None => std::fs::metadata(&self.local),
            Some(_) => std::fs::symlink_metadata(&self.local),
        };
        let Ok(metadata) = metadata else {
            return Ok(());
        };
        let now = Version::of(&metadata);
        let has_grown = now.file == version.file && now.size > version.size;
        match has_grown || now == *version {
            true => Ok(()),
            false => Err(ClientError::Changed {
                path: self.local.display().to_string(),
            }),
        }
    }

    /// It is in its place, with so many bytes.
    pub(super) fn arrived(&self, run: &Run<'_>, size: u64) {
        if run.is_unlisted(last(&self.id.name), false) {
            run.note(&self.id.name, Note::Unlisted);
        }
        run.done(&self.id, size);
    }

    /// The remote path of the part: the same whenever this file goes there
    /// from this machine. If a part could not take its place, the file's own.
    pub(super) fn part(&self, run: &Run<'_>) -> Vec<u8> {
        if run.direct() {
            return self.id.name.clone();
        }
        let local = std::path::absolute(&self.local).unwrap_or_else(|_| self.local.clone());
        let way = [
            run.options.machine.as_slice(),
            local.as_os_str().as_bytes(),
            &self.id.name,
        ];
        join(directory(&self.id.name), &part_name(&way, b""))
    }

    /// Whether a server without the extension would show it to others until it has
    /// its mode, if it is sent together with others.
    pub(super) fn is_exposed(&self, run: &Run<'_>, features: Features) -> bool {
        let mode = run.options.keep.of(&self.found).mode;
        let has_word = features.set || can_change_mode(&self.id.name);
        !features.store && has_word && mode.is_some_and(|mode| is_private(mode, false))
    }

    /// Sends it once, over all of the lines.
    fn send(&self, run: &Run<'_>, part: &[u8], lines: &mut [Line<'_>]) -> Result<()> {
        match lines {
            [line] => self.send_whole(run, part, line),
            lines => self.send_by_ranges(run, part, lines),
        }
    }

    /// Each try begins with what the server has of the part.
    fn send_whole(&self, run: &Run<'_>, part: &[u8], line: &mut Line<'_>) -> Result<()> {
        let mut stored = 0;
        line.steadily(|connection, moved| {
            let sending = Sending::open(run, self, part)?;
            let length = sending.opened.version.size;
            let (rest, digest) = sending.begin(connection)?;
            let begin = rest.begin(length);
            let digest = sending.up_to(digest, begin)?;
            if begin > stored {
                moved.fetch_add(begin - stored, Ordering::Relaxed);
                stored = begin;
            }
            let (digest, there) = if begin > 0 && begin == length {
                (Some(digest), None)
            } else {
                // The server has it, if it makes digests while all of a file comes.
                let has_digest = begin == 0 && connection.features()?.digest;
                let digested = if has_digest { 0 } else { length };
                let send = |start: &Start| {
                    let at = |position| {
                        run.at(&self.id, position);
                        start.when_due(begin, position, length);
                    };
                    match sending.has_holes() {
                        true => sending.put_data(connection, begin..length, Some(digest), at),
                        false => sending.put(connection, begin..length, Some(digest), at),
                    }
                };
                digest_concurrently(run, part, digested, send, || sending.checking(None))?
            };
            sending.finish(connection, digest.unwrap_or_default(), there)?;
            moved.fetch_add(length - stored + 1, Ordering::Relaxed);
            Ok(())
        })
    }

    fn send_by_ranges(&self, run: &Run<'_>, part: &[u8], lines: &mut [Line<'_>]) -> Result<()> {
        let sending = Sending::open(run, self, part)?;
        let (rest, digest) = lines[0].steadily(|connection, _| sending.begin(connection))?;
        let length = sending.opened.version.size;
        let ranges = Ranges::new(run, &self.id, &rest, length);
        let digest = std::thread::scope(|scope| -> Result<Sha256> {
            let digest = scope.spawn(|| sending.up_to(digest, length));
            ranges.move_all(lines, |line, range| {
                line.steadily(|connection, moved| {
                    match sending.has_holes() {
                        true => sending.put_data(connection, range.clone(), None, |_| {})?,
                        false => sending.put(connection, range.clone(), None, |_| {})?,
                    };
                    ranges.moved(range.end - range.start, moved);
                    Ok(())
                })
            })?;
            joined(digest)
        })?;
        lines[0].steadily(|connection, _| sending.finish(connection, digest.clone(), None))
    }

    /// Sends a file if a part could not take its place. It can't be resumed.
    fn send_under_its_name(&self, run: &Run<'_>, line: &mut Line<'_>) -> Result<()> {
        let name = &self.id.name;
        line.steadily(|connection, _| {
            let sending = Sending::open(run, self, name)?;
            let length = sending.opened.version.size;
            run.begun(&self.id, length, 0);
            match connection.features()?.store {
                true => sending.store(connection)?,
                false => sending.send_in_messages(connection)?,
            }
            self.arrived(run, length);
            Ok(())
        })
    }

    /// An error about a part, reported for the file that it is a part of.
    fn named(&self, error: ClientError) -> ClientError {
        let path = String::from_utf8_lossy(&self.id.name).into_owned();
        match error {
            ClientError::Refused { request, status } if request.starts_with("PUT ") => {
                ClientError::Refused {
                    request: format!("PUT {path}"),
                    status,
                }
            }
            ClientError::Cancelled { .. } => ClientError::Cancelled { path },
            ClientError::NoRoom { why, .. } => ClientError::NoRoom { path, why },
            error => error,
        }
    }
}

impl Item for Upload {
    const IN_TWO: bool = true;

    fn id(&self) -> &Id {
        &self.id
    }

    fn size(&self) -> u64 {
        self.found.size
    }

    fn goes_alone(&self) -> bool {
        self.backup.is_some()
    }

    fn move_large(&self, run: &Run<'_>, lines: &mut [Line<'_>]) -> Result<()> {
        if run.direct() {
            return self.send_under_its_name(run, &mut lines[0]);
        }
        let mut part = self.part(run);
        let mut sent = self.send(run, &part, lines);
        for pause in RESTART_PAUSES {
            // Its part had other bytes, or the file changed: from the beginning
            // and over one connection.
            let Err(ClientError::Mismatch { .. } | ClientError::Changed { .. }) = sent else {
                break;
            };
            if !pause.is_zero() && matches!(sent, Err(ClientError::Mismatch { .. })) {
                // Another tf sends the same file by way of the same part.
                part = join(directory(&self.id.name), &new_part_name()?);
            }
            std::thread::sleep(pause);
            sent = self.send(run, &part, &mut lines[..1]);
        }
        sent.map_err(|e| {
            if !e.ends_a_run() {
                // Nothing can be resumed. The first failure is the one to report.
                let asked = request("DEL", &part);
                let _ = lines[0].steadily(|connection, _| connection.request(&asked));
            }
            self.named(e)
        })
    }
}

/// A file that is open, and its part.
pub(super) struct Sending<'s> {
    pub(super) run: &'s Run<'s>,
    item: &'s Upload,
    pub(super) part: &'s [u8],
    pub(super) opened: Opened,
    /// Whether ranges were kept whose bytes nobody has compared yet.
    pub(super) is_of_ranges: AtomicBool,
}

impl<'s> Sending<'s> {
    fn open(run: &'s Run<'s>, item: &'s Upload, part: &'s [u8]) -> Result<Sending<'s>> {
        Ok(Sending {
            run,
            item,
            part,
            opened: item.open(run)?,
            is_of_ranges: AtomicBool::new(false),
        })
    }

    pub(super) fn source(&self) -> Source<'_> {
        Source {
            file: &self.opened.file,
            path: &self.item.local,
        }
    }

    /// Sends it by one request, which the server refuses or carries out as a whole.
    fn store(&self, connection: &mut Connection) -> Result<()> {
        let (name, length) = (&self.item.id.name, self.opened.version.size);
        let mut position = 0;
        let wanted = self.opened.attributes.without_owner();
        connection.store(&wanted, name, &mut |buffer| {
            self.run.go_on()?;
            let len = at_most(length - position, buffer.len());
            self.source().read(&mut buffer[..len], position)?;
            position += len as u64;
            self.run.at(&self.item.id, position);
            if len == 0 {
                self.item.is_still(&self.opened.version)?;
            }
            Ok(len)
        })
    }

    /// Sends it in acknowledged messages, so that the server says exactly what is
    /// wrong.
    fn send_in_messages(&self, connection: &mut Connection) -> Result<()> {
        let (name, length) = (&self.item.id.name, self.opened.version.size);
        let mut position = 0;
        let mut digest = Sha256::new();
        connection.send_file(name, false, &mut |buffer| {
            self.run.go_on()?;
            let len = at_most(length - position, buffer.len());
            self.source().read(&mut buffer[..len], position)?;
            digest.update(&buffer[..len]);
            position += len as u64;
            self.run.at(&self.item.id, position);
            Ok(len)
        })?;
        let digest: [u8; 32] = digest.finalize().into();
        if self.run.options.verify && digest_there(connection, name)? != digest {
            return Err(stays(name));
        }
        Ok(())
    }

    pub(super) fn checking(&self, position: Option<u64>) {
        let size = self.opened.version.size;
        self.run.checking(&self.item.id, size, position);
    }

    /// What the server lacks of the file, and the digest of the bytes at its
    /// beginning, as many as are known.
    ///
    /// # Errors
    /// A local failure, or the connection is lost.
    fn begin(&self, connection: &mut Connection) -> Result<(Rest, Begun)> {
        let (rest, digest) = self.find_part(connection)?;
        let length = self.opened.version.size;
        self.run.begun(&self.item.id, length, length - rest.bytes());
        Ok((rest, digest))
    }

    /// Sends a range; `digest` goes on over it, and `at` gets the positions.
    fn put(
        &self,
        connection: &mut Connection,
        range: Range<u64>,
        digest: Option<Sha256>,
        at: impl Fn(u64),
    ) -> Result<Option<Sha256>> {
        let mut position = range.start;
        let names = (self.part, self.item.id.name.as_slice());
        let frame = connection.begin_put_of(names, position, self.run.frame())?;
        read_ahead(self.source(), range, frame, digest, |frames| {
            connection.put_frames(self.part, &mut |spent| {
                self.run.go_on()?;
                position += spent.len().saturating_sub(HEADER) as u64;
                at(position);
                frames(spent)
            })
        })
    }

    /// Whether it is sent without its holes.
    fn has_holes(&self) -> bool {
        self.run.options.keep.sparse && self.item.found.sparse
    }

    /// As `put`, but for holes.
    fn put_data(
        &self,
        connection: &mut Connection,
        range: Range<u64>,
        digest: Option<Sha256>,
        at: impl Fn(u64),
    ) -> Result<Option<Sha256>> {
        let data = data_in(&self.opened.file, range.clone());
        for data in data.map_err(|e| ClientError::local(&self.item.local, e))? {
            self.put(connection, data, None, &at)?;
        }
        digest
            .map(|digest| extend_digest(self.run, self.source(), digest, range, |_| {}))
            .transpose()
    }

    /// Compares the digest of the whole part, and puts it in its place. One
    /// that the server has made already counts if it is the same.
    ///
    /// # Errors
    /// `Changed`; `Mismatch`, and the part is gone; the server's refusal, or
    /// the connection is lost.
    fn finish(
        &self,
        connection: &mut Connection,
        digest: Sha256,
        there: Option<[u8; 32]>,
    ) -> Result<()> {
        let item = self.item;
        item.is_still(&self.opened.version)?;
        let digest = digest.finalize().into();
        let compares = self.run.options.verify || self.is_of_ranges.load(Ordering::Relaxed);
        if compares && there != Some(digest) {
            self.checking(None);
            match digest_there(connection, self.part) {
                Ok(there) if there == digest => {}
                Err(e) if e.status().is_none() => return Err(e),
                Err(_) if self.is_in_place(connection, digest)? => return self.arrived(),
                _ => {
                    // The other failure is the one to report.
                    let _ = connection.ask(&request("DEL", self.part));
                    let path = String::from_utf8_lossy(&item.id.name).into();
                    return Err(ClientError::Mismatch { path });
                }
            }
        }
        let renamed = two_paths("RENAM", self.part, &item.id.name);
        let (requests, lost) = self.attribute_requests(connection)?;
        let requests = [requests, vec![renamed.clone()]].concat();
        if let Some(backup) = &item.backup {
            keep_old(connection, &item.id.name, backup)?;
        }
        let replies = connection.ask_all(&requests)?;
        let mut answers = requests.iter().zip(&replies);
        match answers.next_back().map(|(asked, reply)| done(asked, reply)) {
            Some(Err(e)) if e.status() == Some(Status::Rename) => {
                let _ = connection.ask(&request("DEL", self.part));
                if !self.is_in_place(connection, digest)? {
                    return Err(e);
                }
            }
            other => other.unwrap_or(Ok(()))?,
        }
        let refused = answers.filter(|(asked, reply)| done(asked, reply).is_err());
        let refused = refused.map(|(asked, _)| lost_by(asked));
        lost.into_iter()
            .chain(refused)
            .for_each(|note| self.run.note(&item.id.name, note));
        self.arrived()
    }

    fn arrived(&self) -> Result<()> {
        self.item.arrived(self.run, self.opened.version.size);
        Ok(())
    }

    /// The requests that give the part what its file is to have, and what is lost if
    /// the protocol has no word for it.
    fn attribute_requests(
        &self,
        connection: &mut Connection,
    ) -> Result<(Vec<Vec<u8>>, Option<Note>)> {
        let wanted = &self.opened.attributes;
        if wanted.is_empty() {
            return Ok((Vec::new(), None));
        }
        if connection.features()?.set {
            return Ok((set_requests(wanted, self.part), None));
        }
        Ok(match wanted.mode {
            Some(mode) if can_change_mode(self.part) => (vec![change_mode(self.part, mode)], None),
            Some(_) => (Vec::new(), Some(Note::ModeNotKept)),
            None => (Vec::new(), None),
        })
    }

    /// Makes an empty part that only its owner reads, if it is to get a mode.
    pub(super) fn make_narrow(&self, connection: &mut Connection) -> Result<()> {
        match self.opened.attributes.mode.filter(|_| !self.run.direct()) {
            Some(mode) => connection.make_narrow(self.part, mode),
            None => Ok(()),
        }
    }

    /// Whether another `tf` has put the same file in its place, by way of the
    /// same part.
    ///
    /// # Errors
    /// The connection is lost.
    fn is_in_place(&self, connection: &mut Connection, digest: [u8; 32]) -> Result<bool> {
        match digest_there(connection, &self.item.id.name) {
            Err(e) if e.status().is_none() => Err(e),
            there => Ok(there.is_ok_and(|there| there == digest)),
        }
    }
}
