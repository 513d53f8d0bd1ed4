//! The daemon: root, one thread, and small. It accepts, passes sockets on and
//! takes leave of processes that have ended; it parses no network byte and
//! never holds the private key. See tfd(8), PROCESSES.

pub mod channel;
pub mod gate;
pub mod generation;
pub mod keeper;
pub mod listen;
pub mod registry;
pub mod supervisor;
pub mod zygote;

use std::path::Path;
use std::process::ExitCode;

use nix::sys::wait::{WaitStatus, waitpid};

use crate::config::{self, Config};
use crate::sys::process::fork;
use crate::users::Identity;
use supervisor::Supervisor;

/// Serves a configuration until a signal ends it: the exit code of
/// `tfd serve`. Problems go to standard error, one line each, and nothing is
/// started then.
#[must_use]
pub fn serve(path: &Path) -> ExitCode {
    let start = load(path).and_then(|(config, identity)| {
        crate::logging::start(&config.server.log);
        Supervisor::start(path, config, identity)
    });
    let result = start.and_then(|supervisor| supervisor.run().map_err(|e| e.to_string()));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("tfd: {text}");
            ExitCode::FAILURE
        }
    }
}

/// Reads and checks the configuration, and looks up the identity that its
/// processes take; `None` when this process may take no other.
///
/// # Errors
/// The problems, one a line.
pub fn load(path: &Path) -> Result<(Config, Option<Identity>), String> {
    let config = Config::load(path).map_err(|problems| lines(&problems))?;
    check_apart(&config)?;
    if !nix::unistd::geteuid().is_root() {
        return Ok((config, None));
    }
    let name = config.server.user.as_deref().unwrap_or_default();
    let identity = Identity::of(name)
        .map_err(|e| format!("{}: server.user \"{name}\": {e}", path.display()))?;
    Ok((config, Some(identity)))
}

/// Checks the world in a process of its own, so that the private key, which
/// the check reads, never is in the daemon's memory.
fn check_apart(config: &Config) -> Result<(), String> {
    let (ours, theirs) = channel::pair().map_err(|e| e.to_string())?;
    let child = || {
        let problems = config::check_world(config);
        let sent = theirs.send(lines(&problems).as_bytes(), &[]);
        i32::from(!problems.is_empty() || sent.is_err())
    };
    let pid = fork(child).map_err(|e| e.to_string())?;
    let mut text = vec![0; 64 * 1024];
    let received = ours.receive(&mut text).map(|(len, _)| len);
    match (waitpid(pid, None), received) {
        (Ok(WaitStatus::Exited(_, 0)), _) => Ok(()),
        (_, Ok(len)) if len > 0 => Err(String::from_utf8_lossy(&text[..len]).into_owned()),
        _ => Err("the check of the configuration failed".to_owned()),
    }
}

fn lines(problems: &[config::Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\ntfd: ")
}
