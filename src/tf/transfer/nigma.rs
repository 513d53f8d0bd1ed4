//! NIGMA (document, "NIGMA").

use crate::tf::env::Env;
use crate::tf::wire::{Result, Wire};

/// Runs the command and sends its replies.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn run(wire: &mut Wire, env: &Env, length: i64) -> Result<()> {
    let _ = env;
    let _ = length;
    wire.write_message(b"UNKNOWN")
}
