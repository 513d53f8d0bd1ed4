//! PUTCAN (document, "PUTCAN"): as PUT, but the server speaks only at windows,
//! one behind every `canpt` frames. There is no reply at the end: when data
//! could not be stored and no window is left to say so, the connection ends.

use super::hp::{CANCEL, CONTINUE, END, STOP, Target, tell};
use crate::session::audit::Outcome;
use crate::tf::env::Env;
use crate::tf::request::HpRequest;
use crate::tf::wire::{Result, Wire, WireError};

/// Runs the command: 1, 34, 35, 36, or the buffer and the exchange of frames.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn run(wire: &mut Wire, env: &Env, request: &HpRequest) -> Result<Outcome> {
    let (mut target, limit) = match tell(wire, Target::open(env, request))? {
        Ok(opened) => opened,
        Err(outcome) => return Ok(outcome),
    };
    let mut buffer = Vec::new();
    let mut stored = true;
    let mut frames = 0;
    loop {
        let header = wire.read_i64()?;
        match header {
            END if stored && target.keep(env).is_ok() => return Ok(Outcome::Done),
            STOP if stored && target.keep(env).is_ok() => return Ok(Outcome::BrokenOff),
            END | STOP => {
                target.give_up();
                return Err(WireError::Io(std::io::ErrorKind::StorageFull.into()));
            }
            CANCEL => {
                target.delete();
                return Ok(Outcome::BrokenOff);
            }
            1.. if stored && header as u64 <= limit => {
                stored = target.receive(wire, &mut buffer, header as u64)?.is_ok();
            }
            1.. => {
                stored = false;
                wire.skip_raw(header as u64)?;
            }
            _ => return Err(WireError::Broken("unknown code in PUTCAN")),
        }
        frames += 1;
        if frames == request.cancel_point {
            frames = 0;
            if !stored {
                target.give_up();
                wire.write_i64(CANCEL)?;
                return Ok(Outcome::Failed(None));
            }
            wire.write_i64(CONTINUE)?;
        }
    }
}
