//! PUT (document, "PUT"): a file from the client in frames, without
//! acknowledgements. Written in place: what was received stays when the
//! connection is lost, so that the client can resume.

use super::hp::{CANCEL, END, FIN, STOP, Target, tell};
use crate::session::audit::Outcome;
use crate::tf::env::Env;
use crate::tf::request::HpRequest;
use crate::tf::wire::{Result, Wire};

const FAILED: Outcome = Outcome::Failed(None);

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
    loop {
        let header = wire.read_i64()?;
        let outcome = match header {
            END | STOP if target.keep(env).is_err() => FAILED,
            END => Outcome::Done,
            STOP => Outcome::BrokenOff,
            CANCEL => {
                target.delete();
                Outcome::BrokenOff
            }
            1.. if header as u64 <= limit => {
                if target.receive(wire, &mut buffer, header as u64)?.is_ok() {
                    continue;
                }
                FAILED
            }
            1.. => {
                cancel(wire, &target)?;
                wire.skip_raw(header as u64)?;
                drain(wire)?;
                return Ok(FAILED);
            }
            _ => FAILED,
        };
        if outcome == FAILED {
            cancel(wire, &target)?;
        } else {
            wire.write_i64(FIN)?;
        }
        drain(wire)?;
        return Ok(outcome);
    }
}

/// Tells the client that the operation is off.
fn cancel(wire: &mut Wire, target: &Target) -> Result<()> {
    target.give_up();
    let mut codes = [CANCEL.to_be_bytes(), FIN.to_be_bytes()].concat();
    wire.write_units(&mut codes, &[8, 8])
}

/// Takes in what the client sends until it has said that it is over.
fn drain(wire: &mut Wire) -> Result<()> {
    loop {
        match wire.read_i64()? {
            FIN => return Ok(()),
            header @ 1.. => wire.skip_raw(header as u64)?,
            _ => {}
        }
    }
}
