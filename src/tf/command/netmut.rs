//! NETMUTACQ_TRY and NETMUTREL (version 2.5, same names): a token in a file. An
//! empty file is free; it outlives the session that took it.

use std::os::fd::BorrowedFd;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::session::audit::Outcome;
use crate::store::read::ReadError;
use crate::store::{Quota, RootPath};
use crate::tf::env::{Env, settle_file};
use crate::tf::locks::Waited;
use crate::tf::status::Status;
use crate::tf::transfer::refuse;
use crate::tf::wire::{Result, Wire};

/// The longest token, in bytes.
const MAX_TOKEN: usize = 254;

/// What to do with the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Acquire,
    Release,
}

/// Writes the token into an empty file, or removes it: 1, 55, or `OK`, also if
/// the file is so already. Test and write are under a lock.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn run(
    wire: &mut Wire,
    env: &Env,
    path: &RootPath,
    token: &[u8],
    step: Step,
) -> Result<Outcome> {
    if token.len() > MAX_TOKEN {
        return refuse(wire, Status::Mutex);
    }
    let file = match env
        .locks
        .lock_briefly(wire, (&env.root, path), OFlags::RDWR)?
    {
        Waited::Got(locked) => locked,
        Waited::Ended => return Ok(Outcome::BrokenOff),
        Waited::Failed(ReadError::System(Errno::XDEV)) => {
            return refuse(wire, Status::AccessDenied);
        }
        Waited::Busy | Waited::Failed(_) => return refuse(wire, Status::Mutex),
    };
    let swapped = swap(file.file(), &env.quota, token, step);
    if swapped
        .and_then(|()| settle_file(file.file(), env.sync()))
        .is_err()
    {
        return refuse(wire, Status::Mutex);
    }
    wire.reply(b"OK")?;
    Ok(Outcome::Done)
}

/// # Errors
/// `EBUSY` for the token of another, else the system's.
fn swap(
    file: BorrowedFd<'_>,
    quota: &Quota,
    token: &[u8],
    step: Step,
) -> std::result::Result<(), Errno> {
    let mut content = [0; MAX_TOKEN + 1];
    let len = rustix::io::pread(file, &mut content, 0)?;
    match (&content[..len], step) {
        ([], Step::Release) => Ok(()),
        ([], Step::Acquire) => quota.grow_file(file, token.len() as u64, || {
            let written = rustix::io::pwrite(file, token, 0)?;
            if written < token.len() {
                rustix::fs::ftruncate(file, 0)?;
                return Err(Errno::NOSPC);
            }
            Ok(())
        }),
        (held, Step::Acquire) if held == token => Ok(()),
        (held, Step::Release) if held == token => {
            quota.grow_file(file, 0, || rustix::fs::ftruncate(file, 0))
        }
        _ => Err(Errno::BUSY),
    }
}
