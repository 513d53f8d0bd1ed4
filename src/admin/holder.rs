//! `tfd holder`: what the operator of a keeper does.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Subcommand;

use super::status::{exchange, fail, no_daemon};
use crate::daemon::helpers::control::report::{Connection, Report};
use crate::daemon::helpers::control::request::Request;
use crate::text::{human_size, reason, shown};

/// How often tfd is asked to call. The report takes a second more.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Subcommand)]
pub(super) enum HolderCommand {
    /// Connect to an owner whose hub is gone, over and over, until Ctrl-C
    ///
    /// For a keeper that owners can't reach, as behind a router. The owner runs tf restore
    /// with --from-keeper NAME@:PORT, NAME being this keeper, and reads what is his.
    #[command(after_help = "Example:\n  sudo tfd holder call anna.example.org:7171")]
    Call {
        /// Where the owner waits
        #[arg(value_name = "HOST:PORT")]
        owner: String,
        /// The control socket of the running tfd
        #[arg(long, value_name = "PATH", default_value = "/run/tfd/control")]
        control: PathBuf,
    },
}

/// Runs the command: the exit code of `tfd`.
pub(super) fn run(command: HolderCommand) -> ExitCode {
    let HolderCommand::Call { owner, control } = command;
    match call(&owner, &control) {
        Ok(code) => code,
        Err(why) => fail(why),
    }
}

/// Has the holder call until it refuses to, or tfd ends.
fn call(owner: &str, control: &Path) -> Result<ExitCode, String> {
    let found = owner
        .to_socket_addrs()
        .map_err(|e| format!("{owner}: {}", reason(&e)))?;
    // One that is not reached does no harm.
    let addresses: Vec<_> = found.collect();
    eprintln!("calling {owner} until Ctrl-C; nobody is there yet");
    let mut last = None;
    loop {
        for address in &addresses {
            if let Err((code, text)) = ask(control, &Request::Call(*address))? {
                eprint!("tfd: {text}");
                return Ok(ExitCode::from(code));
            }
        }
        let report = ask(control, &Request::Status)?.unwrap_or_else(|(_, text)| text);
        let report: Report =
            serde_json::from_str(&report).map_err(|e| format!("tfd status: {e}"))?;
        let session = session_at(&report, &addresses);
        match (&last, &session) {
            (None, Some((user, _))) => eprintln!("{user} is there, and reads"),
            (Some((user, sent)), None) => {
                eprintln!("{user} has left, after {}", human_size(*sent));
            }
            _ => {}
        }
        last = session;
        thread::sleep(PAUSE);
    }
}

/// The answer to a request; the outer error is that nobody answers.
fn ask(control: &Path, request: &Request) -> Result<Result<String, (u8, String)>, String> {
    let answer = exchange(control, request).map_err(|e| no_daemon(control, &e))?;
    Ok(match answer {
        (0, text) => Ok(text),
        refused => Err(refused),
    })
}

/// The owner at one of these addresses, and how much has been sent there.
fn session_at(report: &Report, addresses: &[SocketAddr]) -> Option<(String, u64)> {
    let mut all = report.connections.iter();
    let is_it = |it: &&Connection| addresses.contains(&it.peer) && it.user.is_some();
    let session = all.find(is_it)?;
    let user = shown(session.user.as_deref()?.as_bytes());
    Some((user, session.bytes_sent))
}
