//! LSV2, LSRV2, LSV2DOWN, LSRV2DOWN (version 2.5, same names): the entries of a
//! directory by their paths from the root, one a line, into a file or to the
//! client. Secure directories and what is in them are skipped. A path with a
//! newline is whole in a frame, whose length is known; in a file it would forge a
//! line and is left out.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::refuse;
use crate::session::audit::Outcome;
use crate::store::RootPath;
use crate::store::tree::{Met, Step, walk_whole};
use crate::store::upload::Upload;
use crate::tf::env::Env;
use crate::tf::status::{Reply, Status};
use crate::tf::wire::{Result, Wire, WireError, message_header};

/// Behind the last line: the list is whole.
const DONE: i32 = -10;
/// The list broke off.
const FAILED: i32 = -11;

/// So many bytes of lines are written or sent at once.
const BATCH: usize = 64 * 1024;

/// LSV2 and LSRV2: the list replaces the file when it is whole. The file is in
/// its own list, so a new one is made before the walk.
///
/// # Errors
/// 1, 13, 20, 30, 53. The file is as it was then.
pub(crate) fn to_file(
    wire: &mut Wire,
    env: &mut Env,
    recursive: bool,
    path: &RootPath,
    file: &RootPath,
) -> std::result::Result<Reply, Status> {
    env.check_lock_in(path)?;
    env.check_lock_around(file)?;
    let directory = env.root.open_dir(path).map_err(|e| match e {
        Errno::XDEV => Status::AccessDenied,
        Errno::NOTDIR => Status::SourceNotDirectory,
        _ => Status::Listing,
    })?;
    let (replace, mode) = (env.may_replace(), env.settings.file_mode);
    let mut upload = Upload::begin_with_name(&env.root, file, replace, mode, env.quota)
        .map_err(|_| Status::AccessDenied)?;
    let mut batch = Vec::new();
    let mut store = |batch: &mut Vec<u8>| {
        upload.write(batch)?;
        wire.count_data(batch.len());
        batch.clear();
        Ok(())
    };
    let listed = each_line(env, (path, directory.as_fd()), recursive, |line| {
        let (path, _) = line.split_at(line.len() - 1);
        if path.contains(&b'\n') {
            log::debug!(path:% = path.escape_ascii(); "not listed, newline in path");
            return Ok(());
        }
        batch.extend_from_slice(line);
        if batch.len() < BATCH {
            return Ok(());
        }
        store(&mut batch)
    });
    listed
        .and_then(|()| store(&mut batch))
        .and_then(|()| env.publish(upload))
        .map_err(|e| match env.note(e) {
            Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Status::QuotaExceeded,
            _ => Status::Listing,
        })?;
    Ok(Reply::Ok)
}

/// LSV2DOWN and LSRV2DOWN: 1, 30, 53, 20, or `OK`, a frame with a 4-byte header for
/// each line, and -10, or -11 if the directory can't be read.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn to_client(
    wire: &mut Wire,
    env: &Env,
    recursive: bool,
    path: &RootPath,
) -> Result<Outcome> {
    let opened = env
        .check_lock_in(path)
        .and_then(|()| match env.root.open_dir(path) {
            Err(Errno::XDEV) => Err(Status::AccessDenied),
            Err(Errno::NOENT) => Err(Status::Listing),
            Err(Errno::NOTDIR) => Err(Status::SourceNotDirectory),
            opened => Ok(opened),
        });
    let directory = match opened {
        Ok(directory) => directory,
        Err(status) => return refuse(wire, status),
    };
    wire.write_message_later(b"OK");
    let mut frames = Frames::default();
    let listed = directory
        .map_err(Interrupted::from)
        .and_then(|directory: OwnedFd| {
            each_line(env, (path, directory.as_fd()), recursive, |line| {
                frames.push(line);
                if frames.bytes.len() < BATCH {
                    return Ok(());
                }
                Ok(frames.send(wire)?)
            })
        });
    let (end, outcome) = match listed {
        Ok(()) => (DONE, Outcome::Done),
        Err(Interrupted::Wire(e)) => return Err(e),
        Err(Interrupted::System(_)) => (FAILED, Outcome::Failed(None)),
    };
    frames.send(wire)?;
    wire.reply_i32(end)?;
    Ok(outcome)
}

/// Why a list ended before its end.
#[derive(Debug, thiserror::Error)]
enum Interrupted {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error(transparent)]
    System(#[from] Errno),
}

/// Lines that are sent with one write, each a header and its bytes.
#[derive(Default)]
struct Frames {
    bytes: Vec<u8>,
    units: Vec<usize>,
}

impl Frames {
    fn push(&mut self, line: &[u8]) {
        self.bytes.extend_from_slice(&message_header(line.len()));
        self.bytes.extend_from_slice(line);
        self.units.extend([4, line.len()]);
    }

    fn send(&mut self, wire: &mut Wire) -> Result<()> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        wire.write_units(&mut self.bytes, &self.units)?;
        wire.count_data(self.bytes.len() - 2 * self.units.len());
        self.bytes.clear();
        self.units.clear();
        Ok(())
    }
}

/// Calls `push` with the line of each entry beneath an open directory.
fn each_line<E: From<Errno>>(
    env: &Env,
    (top, directory): (&RootPath, BorrowedFd<'_>),
    recursive: bool,
    mut push: impl FnMut(&[u8]) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let policy = env.root.policy();
    let mut line = Vec::new();
    walk_whole(directory, |met| {
        let (path, is_directory, step) = match &met {
            Met::Unread(_) => return Ok(Step::Over),
            Met::Entered(path) => (*path, true, Step::Enter),
            Met::Entry(visit) => (visit.path, visit.kind.is_dir(), Step::Over),
        };
        let name = path.name().unwrap_or_default();
        if policy.hides(name) || is_directory && policy.keeps(name) {
            return Ok(Step::Over);
        }
        line.clear();
        line.extend_from_slice(top.joined(path).as_bytes());
        // It gets its line when it is entered.
        if recursive && is_directory && step == Step::Over {
            return Ok(Step::Enter);
        }
        if is_directory {
            line.push(b'/');
        }
        line.push(b'\n');
        push(&line)?;
        Ok(step)
    })
}
