//! GET (document, "GET"): a file to the client in frames, without
//! acknowledgements. The client may cancel at any moment.

use super::frames::Frames;
use super::hp::{CANCEL, END, FIN, open_to_read, tell};
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
    let mut client_is_done = false;
    let last = loop {
        // What follows the client's last word is its next request.
        if !client_is_done && wire.has_input() {
            match wire.read_i64()? {
                CANCEL => break None,
                FIN => client_is_done = true,
                _ => {}
            }
        }
        match frames.send(wire)? {
            Ok(true) => {}
            Ok(false) => break Some(END),
            Err(_) => break Some(CANCEL),
        }
    };
    if let Some(code) = last {
        wire.write_i64(code)?;
    }
    while !client_is_done {
        client_is_done = wire.read_i64()? == FIN;
    }
    wire.write_i64(FIN)?;
    Ok(match last {
        Some(END) => Outcome::Done,
        Some(_) => Outcome::Failed(None),
        None => Outcome::BrokenOff,
    })
}
