//! What PUT, GET, PUTCAN and GETCAN share (document, "PUT"): codes, the buffer
//! both sides agree on, and the file.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::refuse;
use crate::session::audit::Outcome;
use crate::store::behind::WriteBehind;
use crate::store::part::is_file;
use crate::store::path::is_upload_part;
use crate::store::read::digest::Passing;
use crate::store::read::{FileReader, ReadError};
use crate::store::{Entry, Quota};
use crate::tf::env::Env;
use crate::tf::request::HpRequest;
use crate::tf::status::{Reply, Status};
use crate::tf::wire::{Result, Wire};

/// No more data.
pub(super) const END: i64 = 0;
/// Enough for now; what was sent stays.
pub(super) const STOP: i64 = -1;
/// The operation is cancelled.
pub(super) const CANCEL: i64 = -2;
/// Continue, at a window of PUTCAN and GETCAN.
pub(super) const CONTINUE: i64 = -3;
/// The operation is over: both sides of PUT and GET send it.
pub(super) const FIN: i64 = -127;

/// The most bytes handled at once: deciphered bytes are still in the cache when
/// they are written.
pub(in crate::tf) const PIECE: usize = 256 * 1024;

/// Opens the file of PUT and PUTCAN, or makes it; whether it has made it. If it is
/// also to be read, that is tried.
fn open_or_make(
    env: &Env,
    entry: &Entry,
    is_read: bool,
) -> std::result::Result<(OwnedFd, bool), Errno> {
    let mode = Mode::from_raw_mode(env.settings.file_mode);
    let open = |flags| {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::openat(&entry.directory, entry.name(), flags, mode)
    };
    let access = if is_read {
        OFlags::RDWR
    } else {
        OFlags::WRONLY
    };
    match open(access | OFlags::CREATE | OFlags::EXCL) {
        Ok(file) => return Ok((file, true)),
        Err(Errno::EXIST) if !env.may_replace() => return Err(Errno::EXIST),
        Err(Errno::EXIST) if !is_file(&entry.stat()?) => return Err(Errno::INVAL),
        Err(Errno::EXIST) => {}
        Err(e) => return Err(e),
    }
    match open(access) {
        Err(Errno::ACCESS) if is_read => Ok((open(OFlags::WRONLY)?, false)),
        opened => Ok((opened?, false)),
    }
}

/// An open file and the buffer to agree on, in bytes.
pub(super) type Opened<T> = std::result::Result<(T, u64), Status>;

/// The buffer to agree on, in bytes.
///
/// # Errors
/// 35 for an offset no file has, 36 for a buffer below 1.
fn agree(env: &Env, request: &HpRequest) -> std::result::Result<u64, Status> {
    if i64::try_from(request.offset).is_err() {
        return Err(Status::HpSeek);
    }
    match u64::try_from(request.buffer) {
        Ok(buffer) if buffer > 0 => Ok(buffer.min(env.settings.buffer_limit)),
        _ => Err(Status::HpBuffer),
    }
}

/// Sends the agreed buffer and runs the exchange of frames with the opened
/// file; sends a status instead when there is none.
///
/// # Errors
/// When the connection can't go on.
pub(super) fn exchange<T>(
    wire: &mut Wire,
    opened: Opened<T>,
    run: impl FnOnce(&mut Wire, T, u64) -> Result<Outcome>,
) -> Result<Outcome> {
    let (file, buffer) = match opened {
        Ok(opened) => opened,
        Err(status) => return refuse(wire, status),
    };
    let reply = Reply::OkWith(buffer.to_be_bytes().to_vec());
    wire.write_message(&reply.into_bytes())?;
    run(wire, file, buffer)
}

/// The file of GET and GETCAN.
///
/// # Errors
/// 1 for a path that leads outside, else 34.
pub(super) fn open_to_read(env: &Env, request: &HpRequest) -> Opened<FileReader> {
    let buffer = agree(env, request)?;
    let file = FileReader::open(&env.root, &request.path).map_err(|e| match e {
        ReadError::System(Errno::XDEV) => Status::AccessDenied,
        _ => Status::HpOpen,
    })?;
    file.read_in_order();
    Ok((file, buffer))
}

/// The file of PUT and PUTCAN, written in place so that a transfer can be
/// resumed.
pub(super) struct Target {
    file: OwnedFd,
    entry: Entry,
    created: bool,
    offset: u64,
    behind: WriteBehind,
    quota: Quota,
    passing: Option<Passing>,
}

impl Target {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// 1 for a path that leads outside, 34, 35, 36. No file is made then.
    pub(super) fn open(env: &Env, request: &HpRequest) -> Opened<Target> {
        let buffer = agree(env, request)?;
        if request.path.names_directory() {
            return Err(Status::HpOpen);
        }
        let opened = env.root.final_entry(&request.path).and_then(|entry| {
            // A digest is made of what is written from the beginning, by reading it.
            let is_read = env.digests.is_on() && request.offset == 0;
            let (file, created) = open_or_make(env, &entry, is_read)?;
            if !is_file(&rustix::fs::fstat(&file)?) {
                return Err(Errno::INVAL);
            }
            if is_upload_part(&entry.name) {
                // A sweep leaves it then. Several sessions may write one part.
                let _ = rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared);
                if rustix::fs::fstat(&file)?.st_nlink == 0 {
                    return Err(Errno::STALE);
                }
            }
            let (offset, quota) = (request.offset, env.quota);
            let behind = WriteBehind::new(offset, env.sync());
            let passing = is_read.then(|| env.digests.begin(file.as_fd())).flatten();
            Ok(Target {
                file,
                entry,
                created,
                offset,
                behind,
                quota,
                passing,
            })
        });
        opened
            .map(|target| (target, buffer))
            .map_err(|e| match env.note(e) {
                Errno::XDEV => Status::AccessDenied,
                _ => Status::HpOpen,
            })
    }

    /// Appends to what was written last.
    fn write(&mut self, mut data: &[u8]) -> std::result::Result<(), Errno> {
        let (file, offset, behind) = (&self.file, &mut self.offset, &mut self.behind);
        let end = offset.saturating_add(data.len() as u64);
        self.quota.grow_file(file.as_fd(), end, || {
            while !data.is_empty() {
                match rustix::io::pwrite(file, data, *offset) {
                    Ok(0) => return Err(Errno::IO),
                    Ok(n) => {
                        *offset += n as u64;
                        data = &data[n..];
                    }
                    Err(Errno::INTR) => {}
                    Err(e) => return Err(e),
                }
            }
            behind.wrote(file.as_fd(), *offset);
            Ok(())
        })?;
        if let Some(passing) = &mut self.passing {
            passing.passed(&[], self.offset);
        }
        Ok(())
    }

    /// Receives a frame of `len` bytes and writes it: whether it is stored. A
    /// frame that can't be written is received all the same.
    ///
    /// # Errors
    /// When the connection can't go on.
    pub(super) fn receive(
        &mut self,
        (wire, env): (&mut Wire, &Env),
        buffer: &mut Vec<u8>,
        mut len: u64,
    ) -> Result<bool> {
        let mut done = 0;
        let mut stored = true;
        while len > 0 {
            let piece = usize::try_from(len).map_or(PIECE, |len| len.min(PIECE));
            if buffer.len() < piece {
                buffer.resize(piece, 0);
            }
            wire.read_part(done, &mut buffer[..piece])?;
            if stored {
                stored = self
                    .write(&buffer[..piece])
                    .map_err(|e| env.note(e))
                    .is_ok();
                wire.count_data(piece);
            }
            done += piece;
            len -= piece as u64;
        }
        Ok(stored)
    }

    /// Keeps what was received, on disk if the settings ask for that.
    pub(super) fn keep(&mut self, env: &Env) -> std::result::Result<(), Errno> {
        if env.sync() {
            rustix::fs::fsync(&self.file).map_err(|e| env.note(e))?;
            env.settle(&self.entry.directory)?;
        }
        env.digests.keep_written(self.passing.take());
        Ok(())
    }

    /// Deletes the file, if it still is the one that was written.
    pub(super) fn delete(&self) {
        let deleted = rustix::fs::fstat(&self.file).and_then(|own| {
            self.quota
                .unlink_exactly(&self.entry.directory, self.entry.name(), &own)
        });
        if let Err(e) = deleted {
            log::debug!(name:% = self.entry.name.escape_ascii(), error:% = e; "not deleted");
        }
    }

    /// After a failure of ours: removes a file that this transfer made, and keeps an
    /// older one.
    pub(super) fn give_up(&self) {
        if self.created {
            self.delete();
        }
    }
}
