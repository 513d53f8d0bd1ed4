//! PUTCAN (document, "PUTCAN").

use crate::tf::env::Env;
use crate::tf::request::HpRequest;
use crate::tf::wire::{Result, Wire};

/// Runs the command and sends its replies.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn run(wire: &mut Wire, env: &Env, request: &HpRequest) -> Result<()> {
    let _ = env;
    let _ = request;
    wire.write_message(b"UNKNOWN")
}
