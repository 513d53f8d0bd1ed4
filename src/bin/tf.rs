//! `tf`, the client: see tf(1).

use std::process::ExitCode;

fn main() -> ExitCode {
    tfd::run_tf()
}
