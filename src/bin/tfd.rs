//! `tfd`, the server: see tfd(8).

use std::process::ExitCode;

fn main() -> ExitCode {
    tfd::run_tfd()
}
