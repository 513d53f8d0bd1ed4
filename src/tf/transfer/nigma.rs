//! NIGMA (document, "NIGMA"): a new session key. Its bytes are the system's
//! random ones; how the client goes on with its seed is for the wire to see.

use zeroize::Zeroizing;

use super::refuse;
use crate::session::audit::Outcome;
use crate::tf::status::Status;
use crate::tf::wire::{Result, Wire, message_header};

/// The lengths a key may have, in bytes; multiples of 4 only.
const LENGTHS: std::ops::RangeInclusive<i64> = 8..=65_536;

/// Runs the command: 46, or `OK`, the length and the key, after which both
/// sides use it.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn run(wire: &mut Wire, length: i64) -> Result<Outcome> {
    let fits = LENGTHS.contains(&length) && length % 4 == 0;
    let Some(length) = usize::try_from(length).ok().filter(|_| fits) else {
        return refuse(wire, Status::SwapKey);
    };
    let mut key = Zeroizing::new(vec![0; length]);
    if getrandom::fill(&mut key).is_err() {
        return refuse(wire, Status::SwapKey);
    }
    let mut units = Zeroizing::new(Vec::with_capacity(10 + key.len()));
    units.extend_from_slice(&2_i32.to_be_bytes());
    units.extend_from_slice(b"OK");
    units.extend_from_slice(&message_header(length));
    units.extend_from_slice(&key);
    wire.write_units(&mut units, &[4, 2, 4, key.len()])?;
    wire.swap_key(&key);
    Ok(Outcome::Done)
}
