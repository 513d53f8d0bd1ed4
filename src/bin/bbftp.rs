//! `bbftp`, the client for BBFTP: see bbftp(1).

use std::process::ExitCode;

fn main() -> ExitCode {
    tfd::run_bbftp()
}
