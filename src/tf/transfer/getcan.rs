//! GETCAN (document, "GETCAN"): as GET, but the client speaks only at windows,
//! one behind every `canpt` frames.

use super::frames::Frames;
use super::hp::{CANCEL, CONTINUE, END, open_to_read, tell};
use crate::tf::env::Env;
use crate::tf::request::HpRequest;
use crate::tf::wire::{Result, Wire};

/// Runs the command: 1, 34, 35, 36, or the buffer and the exchange of frames.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn run(wire: &mut Wire, env: &Env, request: &HpRequest) -> Result<()> {
    let Some((file, limit)) = tell(wire, open_to_read(env, request))? else {
        return Ok(());
    };
    let mut frames = Frames::new(&file, request.offset, 8, limit);
    let mut sent = 0;
    loop {
        match frames.send(wire)? {
            Ok(true) => sent += 1,
            Ok(false) => return wire.write_i64(END),
            Err(_) => return wire.write_i64(CANCEL),
        }
        if sent == request.cancel_point {
            sent = 0;
            if wire.read_i64()? != CONTINUE {
                return Ok(());
            }
        }
    }
}
