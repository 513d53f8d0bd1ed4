//! PUT and PUTCAN (document, same names): a file from the client in frames,
//! without acknowledgements. Written in place: what was received stays when the
//! connection is lost, so that the client can resume. In PUTCAN the server
//! speaks only at windows, one after every `canpt` frames, and not at the end:
//! when data could not be stored and no window is left to say so, the
//! connection ends.

use super::hp::{CANCEL, CONTINUE, END, FIN, STOP, Target, exchange};
use crate::session::audit::Outcome;
use crate::store::RootPath;
use crate::tf::env::Env;
use crate::tf::request::HpRequest;
use crate::tf::wire::{Result, Wire, WireError};

const FAILED: Outcome = Outcome::Failed(None);

/// Runs PUT: 1, 34, 35, 36, or the buffer and the exchange of frames.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn run(wire: &mut Wire, env: &Env, request: &HpRequest) -> Result<Outcome> {
    exchange(
        wire,
        Target::open(env, request),
        |wire, mut target, limit| {
            let outcome = receive_frames((wire, env), &request.path, &mut target, limit)?;
            match outcome {
                Some(FAILED) => cancel(wire, &target)?,
                Some(_) => wire.write_i64(FIN)?,
                None => {}
            }
            drain(wire)?;
            Ok(outcome.unwrap_or(FAILED))
        },
    )
}

/// Receives frames to the end of the transfer; `None` after a frame that is too
/// large, which is cancelled and skipped.
fn receive_frames(
    (wire, env): (&mut Wire, &Env),
    path: &RootPath,
    target: &mut Target,
    limit: u64,
) -> Result<Option<Outcome>> {
    let mut buffer = Vec::new();
    loop {
        let header = wire.read_i64()?;
        match (header, u64::try_from(header)) {
            (END, _) => {
                let kept = target.keep(env);
                let arrived = env.arrived(kept, path);
                return Ok(Some(arrived.map_or(FAILED, |()| Outcome::Done)));
            }
            (STOP, _) if target.keep(env).is_err() => return Ok(Some(FAILED)),
            (STOP, _) => return Ok(Some(Outcome::BrokenOff)),
            (CANCEL, _) => {
                target.delete();
                return Ok(Some(Outcome::BrokenOff));
            }
            (_, Ok(len)) if len <= limit => {
                if !target.receive((wire, env), &mut buffer, len)? {
                    return Ok(Some(FAILED));
                }
            }
            (_, Ok(len)) => {
                cancel(wire, target)?;
                wire.skip_raw(len)?;
                return Ok(None);
            }
            (_, Err(_)) => return Ok(Some(FAILED)),
        }
    }
}

/// Reports to the client that the operation is cancelled.
fn cancel(wire: &mut Wire, target: &Target) -> Result<()> {
    target.give_up();
    let mut codes = [CANCEL.to_be_bytes(), FIN.to_be_bytes()].concat();
    wire.write_units(&mut codes, &[8, 8])
}

/// Discards what the client sends until it says that it is done.
fn drain(wire: &mut Wire) -> Result<()> {
    loop {
        match wire.read_i64()? {
            FIN => return Ok(()),
            header => match u64::try_from(header) {
                Ok(len) if len > 0 => wire.skip_raw(len)?,
                _ => {}
            },
        }
    }
}

/// Runs PUTCAN: as PUT.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn run_with_windows(wire: &mut Wire, env: &Env, request: &HpRequest) -> Result<Outcome> {
    exchange(
        wire,
        Target::open(env, request),
        |wire, mut target, limit| {
            let mut buffer = Vec::new();
            let mut stored = true;
            let mut frames = 0;
            loop {
                let header = wire.read_i64()?;
                match (header, u64::try_from(header)) {
                    (END, _) if stored && env.arrived(target.keep(env), &request.path).is_ok() => {
                        return Ok(Outcome::Done);
                    }
                    (STOP, _) if stored && target.keep(env).is_ok() => {
                        return Ok(Outcome::BrokenOff);
                    }
                    (END | STOP, _) => {
                        target.give_up();
                        return Err(WireError::Io(std::io::ErrorKind::StorageFull.into()));
                    }
                    (CANCEL, _) => {
                        target.delete();
                        return Ok(Outcome::BrokenOff);
                    }
                    (_, Ok(len)) if stored && len <= limit => {
                        stored = target.receive((wire, env), &mut buffer, len)?;
                    }
                    (_, Ok(len)) => {
                        stored = false;
                        wire.skip_raw(len)?;
                    }
                    (_, Err(_)) => return Err(WireError::Broken("unknown code in PUTCAN")),
                }
                frames += 1;
                if frames == request.cancel_point {
                    frames = 0;
                    if !stored {
                        target.give_up();
                        wire.write_i64(CANCEL)?;
                        return Ok(FAILED);
                    }
                    wire.write_i64(CONTINUE)?;
                }
            }
        },
    )
}
