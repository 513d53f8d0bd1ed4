//! XS1 (version 2.5, subsystem XS1): files by descriptor, open for reading and
//! writing. A descriptor is an index into the session's table, the lowest free
//! one. The right to change the file is asked for by XS1_OPEN.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, SeekFrom};
use rustix::io::Errno;

use crate::session::audit::{Outcome, Subject};
use crate::store::read::{ReadError, open_file};
use crate::store::{Quota, RootPath};
use crate::sys::number::at_most;
use crate::tf::env::{Env, settle_file};
use crate::tf::locks::{Holder, Waited};
use crate::tf::status::{Reply, Status, Xs1};
use crate::tf::wire::{MAX_MESSAGE, Result, Wire};

/// The most files of one session.
const MAX_FILES: usize = 32;

/// The most bytes of one XS1_READ: they fit a message with `OK `.
const MAX_READ: usize = MAX_MESSAGE - 3;

/// The most bytes of XS1_WRITEV2 handled at once.
const PIECE: u64 = 256 * 1024;

/// The length of the text of a raw failure.
const RAW_TEXT: usize = 126;

/// The open files of a session.
#[derive(Debug, Default)]
pub struct Files {
    open: Vec<Option<File>>,
    /// The path of the file that the request under way is about.
    last: Option<RootPath>,
}

#[derive(Debug)]
struct File {
    handle: OwnedFd,
    path: RootPath,
}

impl Files {
    /// Adds the path to what a request by descriptor was about.
    pub(crate) fn name(&mut self, subject: &mut Subject) {
        if let Some(path) = self.last.take() {
            subject.path = path.as_bytes().to_vec();
        }
    }

    fn get(&mut self, index: usize) -> std::result::Result<BorrowedFd<'_>, Xs1> {
        let file = self.open.get(index).and_then(Option::as_ref);
        let file = file.ok_or(Xs1::Descriptor)?;
        self.last = Some(file.path.clone());
        Ok(file.handle.as_fd())
    }
}

type Answer = std::result::Result<Reply, Reply>;

/// XS1_OPEN: 1, 30, 17, 8, XS1 1, XS1 2, or `OK` and the descriptor.
///
/// # Errors
/// One of these.
pub(crate) fn open(env: &mut Env, path: &RootPath) -> Answer {
    env.check_lock_around(path)?;
    let (handle, _) = open_file(&env.root, path, OFlags::RDWR).map_err(|e| match e {
        ReadError::Directory => Reply::from(Status::IsDirectory),
        ReadError::System(Errno::XDEV) => Status::AccessDenied.into(),
        ReadError::System(Errno::NOENT | Errno::NOTDIR) => Status::SourceFileMissing.into(),
        _ => Xs1::Open.into(),
    })?;
    let open = &mut env.files.open;
    let index = open.iter().position(Option::is_none).unwrap_or(open.len());
    if index == MAX_FILES {
        return Err(Xs1::NoHole.into());
    }
    if index == open.len() {
        open.push(None);
    }
    let path = path.clone();
    open[index] = Some(File { handle, path });
    Ok(number(index as u64))
}

/// XS1_CLOSE: XS1 3. Releases the file's lock.
///
/// # Errors
/// That.
pub(crate) fn close(env: &mut Env, text: &[u8]) -> Answer {
    let (index, _) = descriptor(env, text)?;
    env.locks.release(Holder::File(index));
    env.files.open[index] = None;
    Ok(Reply::Ok)
}

/// XS1_TRUNC: XS1 3, 16, XS1 4, XS1 5.
///
/// # Errors
/// One of these.
pub(crate) fn truncate(env: &mut Env, text: &[u8]) -> Answer {
    let (index, rest) = descriptor(env, text)?;
    let length: u64 = parse(rest.ok_or(Status::MissingParameter)?).ok_or(Xs1::TruncateValue)?;
    i64::try_from(length).map_err(|_| Xs1::TruncateValue)?;
    let (quota, sync) = (env.quota, env.sync());
    let file = env.files.get(index)?;
    quota
        .grow_file(file, length, || rustix::fs::ftruncate(file, length))
        .and_then(|()| settle_file(file, sync))
        .map_err(|_| Xs1::Truncate)?;
    Ok(Reply::Ok)
}

/// XS1_SEEK: XS1 3, 16, XS1 6, 16, XS1 7, XS1 8, or `OK` and the position.
///
/// # Errors
/// One of these.
pub(crate) fn seek(env: &mut Env, text: &[u8]) -> Answer {
    let (index, rest) = descriptor(env, text)?;
    let (offset, whence) = cut(rest.ok_or(Status::MissingParameter)?);
    let offset: i64 = parse(offset).ok_or(Xs1::SeekValue)?;
    let whence = whence.ok_or(Status::MissingParameter)?;
    let to = match whence.to_ascii_uppercase().as_slice() {
        b"SET" => SeekFrom::Start(u64::try_from(offset).map_err(|_| Xs1::Seek)?),
        b"CUR" => SeekFrom::Current(offset),
        b"END" => SeekFrom::End(offset),
        _ => return Err(Xs1::Whence.into()),
    };
    let position = rustix::fs::seek(env.files.get(index)?, to).map_err(|_| Xs1::Seek)?;
    Ok(number(position))
}

/// XS1_LOCK: XS1 3, 16, XS1 9, XS1 10, XS1 11. LOCKW waits; the lock is
/// NETLOCK's and ends with UNLOCK or XS1_CLOSE.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn lock(wire: &mut Wire, env: &mut Env, text: &[u8]) -> Result<Outcome> {
    let reply = match lock_reply(wire, env, text)? {
        Some(reply) => reply.unwrap_or_else(|failure| failure),
        None => return Ok(Outcome::BrokenOff),
    };
    let outcome = Outcome::from(&reply);
    wire.reply(&reply.into_bytes())?;
    Ok(outcome)
}

/// The reply; none for a client that ends the session.
fn lock_reply(wire: &mut Wire, env: &mut Env, text: &[u8]) -> Result<Option<Answer>> {
    let (index, kind) = match descriptor(env, text) {
        Ok((index, Some(kind))) => (index, kind),
        Ok((_, None)) => return Ok(Some(Err(Status::MissingParameter.into()))),
        Err(e) => return Ok(Some(Err(e.into()))),
    };
    let (patience, failure) = match kind {
        b"LOCK" => (Some(Duration::ZERO), Xs1::Busy),
        b"LOCKW" => (None, Xs1::Lock),
        b"UNLOCK" => {
            env.locks.release(Holder::File(index));
            return Ok(Some(Ok(Reply::Ok)));
        }
        _ => return Ok(Some(Err(Xs1::LockKind.into()))),
    };
    let file = match env.files.get(index) {
        Ok(file) => file,
        Err(e) => return Ok(Some(Err(e.into()))),
    };
    let locks = &env.locks;
    let waited = locks.wait(wire, patience, || {
        let stat = rustix::fs::fstat(file)?;
        let own = rustix::io::fcntl_dupfd_cloexec(file, 0)?;
        Ok(locks.try_file(own, &stat, FlockOperation::NonBlockingLockExclusive)?)
    })?;
    Ok(match waited {
        Waited::Got(locked) => {
            env.locks.keep(Holder::File(index), locked);
            Some(Ok(Reply::Ok))
        }
        Waited::Ended => None,
        Waited::Busy | Waited::Failed(_) => Some(Err(failure.into())),
    })
}

/// XS1_READ: XS1 3, 16, XS1 12, XS1 13, or `OK ` and bytes, none at the end.
///
/// # Errors
/// One of these.
pub(crate) fn read(wire: &mut Wire, env: &mut Env, text: &[u8]) -> Answer {
    let (index, rest) = descriptor(env, text)?;
    let len = parse(rest.ok_or(Status::MissingParameter)?).ok_or(Xs1::ReadLength)?;
    if len > MAX_READ {
        return Err(Xs1::ReadLength.into());
    }
    let content = read_from(env.files.get(index)?, len)?;
    wire.count_data(content.len());
    Ok(Reply::OkWith(content))
}

/// XS1_WRITE: XS1 3, 16, XS1 15 also for more bytes than there are, 13, XS1 16.
///
/// # Errors
/// One of these.
pub(crate) fn write(wire: &mut Wire, env: &mut Env, text: &[u8]) -> Answer {
    let (index, rest) = descriptor(env, text)?;
    let (len, data) = cut(rest.ok_or(Status::MissingParameter)?);
    let data = data.ok_or(Status::MissingParameter)?;
    let len: usize = parse(len).ok_or(Xs1::WriteLength)?;
    let data = data.get(..len).ok_or(Xs1::WriteLength)?;
    let (quota, sync) = (env.quota, env.sync());
    let file = env.files.get(index)?;
    write_to(&quota, file, data)
        .and_then(|()| settle_file(file, sync))
        .map_err(|e| match env.shortage.note(e, &quota) {
            Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Reply::from(Status::QuotaExceeded),
            _ => Xs1::Write.into(),
        })?;
    wire.count_data(len);
    Ok(Reply::Ok)
}

/// XS1_READV2: a raw descriptor and length, then a raw 8-byte length and so many
/// bytes, at most `buffer_limit`; or a raw failure: XS1 3, XS1 13.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn read_raw(wire: &mut Wire, env: &mut Env) -> Result<Outcome> {
    let (index, len) = raw_arguments(wire)?;
    let len = at_most(len.min(env.settings.buffer_limit), usize::MAX);
    let content = env.files.get(index).and_then(|file| read_from(file, len));
    let mut content = match content {
        Ok(content) => content,
        Err(e) => return refuse_raw(wire, e),
    };
    wire.hold_unit(&(content.len() as u64).to_be_bytes());
    let len = content.len();
    wire.write_units(&mut content, &[len])?;
    wire.count_data(len);
    Ok(Outcome::Done)
}

/// XS1_WRITEV2: a raw descriptor, length and bytes, then a raw 8-byte count of
/// what was written; or a raw failure: XS1 3, XS1 16.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn write_raw(wire: &mut Wire, env: &mut Env) -> Result<Outcome> {
    let (index, len) = raw_arguments(wire)?;
    let (quota, sync) = (env.quota, env.sync());
    let mut written = env.files.get(index).map(|_| ());
    let mut piece = vec![0; at_most(len.min(PIECE), usize::MAX)];
    let mut done = 0;
    while done < len {
        let part = &mut piece[..at_most((len - done).min(PIECE), usize::MAX)];
        wire.read_part(usize::try_from(done).unwrap_or(usize::MAX), part)?;
        done += part.len() as u64;
        written = written.and_then(|()| {
            write_to(&quota, env.files.get(index)?, part)
                .map_err(|e| env.shortage.note(e, &quota))
                .map_err(|_| Xs1::Write)?;
            wire.count_data(part.len());
            Ok(())
        });
    }
    let settled =
        written.and_then(|()| settle_file(env.files.get(index)?, sync).map_err(|_| Xs1::Write));
    match settled {
        Ok(()) => wire.reply_unit(&len.to_be_bytes()).map(|()| Outcome::Done),
        Err(e) => refuse_raw(wire, e),
    }
}

/// The units behind XS1_READV2 and XS1_WRITEV2: 4 bytes and 8, in one.
fn raw_arguments(wire: &mut Wire) -> Result<(usize, u64)> {
    let mut unit = [0; 12];
    wire.read_raw(&mut unit)?;
    let [a, b, c, d, len @ ..] = unit;
    let index = usize::try_from(i32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    Ok((index, u64::from_be_bytes(len)))
}

fn refuse_raw(wire: &mut Wire, failure: Xs1) -> Result<Outcome> {
    let mut text = failure.to_string().into_bytes();
    text.resize(RAW_TEXT, 0);
    wire.hold_unit(&(-1i64).to_be_bytes());
    wire.reply_unit(&text)?;
    Ok(Outcome::Failed(None))
}

/// Reads on from the file's position until `len` bytes or its end.
fn read_from(file: BorrowedFd<'_>, len: usize) -> std::result::Result<Vec<u8>, Xs1> {
    let mut content = vec![0; len];
    let mut done = 0;
    while done < len {
        match rustix::io::read(file, &mut content[done..]) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(Errno::INTR) => {}
            Err(_) => return Err(Xs1::Read),
        }
    }
    content.truncate(done);
    Ok(content)
}

/// Writes all bytes at the file's position.
fn write_to(
    quota: &Quota,
    file: BorrowedFd<'_>,
    mut data: &[u8],
) -> std::result::Result<(), Errno> {
    let end = rustix::fs::tell(file)?.saturating_add(data.len() as u64);
    quota.grow_file(file, end, || {
        while !data.is_empty() {
            match rustix::io::write(file, data) {
                Ok(0) => return Err(Errno::IO),
                Ok(n) => data = &data[n..],
                Err(Errno::INTR) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    })
}

/// The descriptor that a text begins with, if it is open, and what follows.
fn descriptor<'a>(
    env: &mut Env,
    text: &'a [u8],
) -> std::result::Result<(usize, Option<&'a [u8]>), Xs1> {
    let (index, rest) = cut(text);
    let index = parse(index).ok_or(Xs1::Descriptor)?;
    env.files.get(index)?;
    Ok((index, rest))
}

/// A text up to its first space, and what follows that.
fn cut(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|c| *c == b' ') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

fn parse<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

fn number(number: u64) -> Reply {
    Reply::OkWith(number.to_string().into_bytes())
}
