//! The commands that move more than one reply: files, listings, sizes, keys.
//! Each sends its own replies and returns when the session can take the next
//! request.

pub(super) mod frames;
pub(super) mod fsize;
pub(super) mod ftype;
pub(super) mod get;
pub(super) mod hp;
pub(super) mod integrity;
pub(super) mod list;
pub(super) mod lsv2;
pub(super) mod nigma;
pub(super) mod put;
pub(super) mod rcvfile;
pub(super) mod sndfile;
mod stream;
pub(super) mod sup;

use super::status::{Reply, Status};
use super::wire::{Result, Wire};
use crate::session::audit::Outcome;

/// Sends the client a status instead of what it asked for.
pub(super) fn refuse(wire: &mut Wire, status: Status) -> Result<Outcome> {
    let reply = Reply::from(status);
    let outcome = Outcome::from(&reply);
    wire.write_message(&reply.into_bytes())?;
    Ok(outcome)
}
