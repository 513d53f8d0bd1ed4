//! FSIZE and FSIZELS (document, "FSIZE" and "FSIZELS").

use crate::tf::env::Env;
use crate::tf::request::RawPath;
use crate::tf::wire::{Result, Wire};

/// FSIZE: sends one raw 8-byte header.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn run(wire: &mut Wire, env: &Env, path: &RawPath) -> Result<()> {
    let _ = (env, path);
    wire.write_i64(-1)
}

/// FSIZELS: sends one raw 8-byte header per line of the file, then -3.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn run_list(wire: &mut Wire, env: &Env, path: &RawPath) -> Result<()> {
    let _ = (env, path);
    wire.write_i64(-3)
}
