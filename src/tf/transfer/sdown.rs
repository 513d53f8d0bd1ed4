//! SDOWN (document, "SDOWN"): a file to the client in frames with 4-byte
//! headers; 0 ends it, -1 reports a failure.

use super::frames::{Frames, Sent};
use crate::session::audit::Outcome;
use crate::store::read::FileReader;
use crate::tf::env::Env;
use crate::tf::request::RawPath;
use crate::tf::wire::{MAX_MESSAGE, Result, Wire};

const END: i32 = 0;
const FAILED: i32 = -1;

/// Runs the command and sends the file.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn run(wire: &mut Wire, env: &Env, path: &RawPath) -> Result<Outcome> {
    let opened = path
        .as_ref()
        .ok()
        .and_then(|path| FileReader::open(&env.root, path).ok());
    let Some(file) = opened else {
        wire.reply_i32(FAILED)?;
        return Ok(Outcome::Failed(None));
    };
    file.read_in_order();
    let mut frames = Frames::new(&file, 0, 4, MAX_MESSAGE as u64);
    loop {
        match frames.send(wire)? {
            Sent::Frame => {}
            Sent::End => {
                wire.reply_i32(END)?;
                return Ok(Outcome::Done);
            }
            Sent::Failed => {
                wire.reply_i32(FAILED)?;
                return Ok(Outcome::Failed(None));
            }
        }
    }
}
