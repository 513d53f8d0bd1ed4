//! NETLOCK, NETLOCK_TRY and NETUNLOCK (version 2.5, same names): locks of files
//! that clients agree on. They end with the session.

use std::time::Duration;

use rustix::fs::OFlags;

use crate::session::audit::Outcome;
use crate::store::RootPath;
use crate::store::read::ReadError;
use crate::tf::env::Env;
use crate::tf::locks::Waited;
use crate::tf::status::{Reply, Status};
use crate::tf::transfer::refuse;
use crate::tf::wire::{Result, Wire, WireError};

/// The longest time limit of a lock, in seconds.
const MAX_SECONDS: i64 = 1_000_000_000;

/// Locks a file: 1, 54, or `OK` and the slot. Without `patience` it waits for as
/// long as another session has the lock. The session ends when the client is
/// silent for so many seconds, at once for 0.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn run(
    wire: &mut Wire,
    env: &mut Env,
    seconds: i64,
    path: &RootPath,
    patience: Option<Duration>,
) -> Result<Outcome> {
    let Some(slot) = env.locks.free_slot() else {
        return refuse(wire, Status::FileLock);
    };
    let (root, locks) = (&env.root, &env.locks);
    let waited = locks.wait(wire, patience, || locks.try_path(root, path, OFlags::RDWR))?;
    let locked = match waited {
        Waited::Got(locked) => locked,
        Waited::Ended => return Ok(Outcome::BrokenOff),
        Waited::Failed(ReadError::System(rustix::io::Errno::XDEV)) => {
            return refuse(wire, Status::AccessDenied);
        }
        Waited::Busy | Waited::Failed(_) => return refuse(wire, Status::FileLock),
    };
    let seconds = seconds.clamp(0, MAX_SECONDS).unsigned_abs();
    env.locks
        .keep_slot(slot, locked, Duration::from_secs(seconds));
    wire.reply(&Reply::OkWith(slot.to_string().into_bytes()).into_bytes())?;
    if seconds == 0 {
        wire.flush()?;
        return Err(WireError::TimedOut);
    }
    env.limit_silence(wire)?;
    Ok(Outcome::Done)
}

/// NETUNLOCK: `OK`, or 54 for a slot that is not in use.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn release(wire: &mut Wire, env: &mut Env, slot: i64) -> Result<Outcome> {
    if !usize::try_from(slot).is_ok_and(|slot| env.locks.release_slot(slot)) {
        return refuse(wire, Status::FileLock);
    }
    env.limit_silence(wire)?;
    wire.reply(b"OK")?;
    Ok(Outcome::Done)
}
