//! GETCAN (document, "GETCAN"): as GET, but the client speaks only at windows,
//! one behind every `canpt` frames.

use super::frames::Frames;
use super::hp::{CANCEL, CONTINUE, END, open_to_read, tell};
use crate::session::audit::Outcome;
use crate::tf::env::Env;
use crate::tf::request::HpRequest;
use crate::tf::wire::{Result, Wire};

/// Runs the command: 1, 34, 35, 36, or the buffer and the exchange of frames.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn run(wire: &mut Wire, env: &Env, request: &HpRequest) -> Result<Outcome> {
    let (file, limit) = match tell(wire, open_to_read(env, request))? {
        Ok(opened) => opened,
        Err(outcome) => return Ok(outcome),
    };
    let mut frames = Frames::new(&file, request.offset, 8, limit);
    let mut sent = 0;
    loop {
        match frames.send(wire)? {
            Ok(true) => sent += 1,
            Ok(false) => {
                wire.write_i64(END)?;
                return Ok(Outcome::Done);
            }
            Err(_) => {
                wire.write_i64(CANCEL)?;
                return Ok(Outcome::Failed(None));
            }
        }
        if sent == request.cancel_point {
            sent = 0;
            if wire.read_i64()? != CONTINUE {
                return Ok(Outcome::BrokenOff);
            }
        }
    }
}
