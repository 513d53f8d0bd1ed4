//! The daemon: root, one thread, and small. It accepts, passes sockets on and
//! takes leave of processes that have ended; it parses no network byte and
//! never holds the private key. See tfd(8), PROCESSES.

pub mod counters;
pub mod generation;
pub mod helpers;
pub mod memory;
pub mod notify;
pub mod orders;
pub mod registry;
pub mod sessions;
mod standard;
mod start;
pub mod supervisor;

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use nix::sys::wait::{WaitStatus, waitpid};

use crate::config::{self, Config, Problem};
use crate::sys::environment::passed_descriptors;
use crate::sys::memory::keep_little_memory;
use crate::sys::process::fork;
use crate::users::Identity;
use supervisor::Supervisor;

/// Serves a configuration until a signal ends it: the exit code of
/// `tfd serve`. Problems go to standard error, one line each, and nothing is
/// started then.
#[must_use]
pub fn serve(path: &Path) -> ExitCode {
    keep_little_memory();
    let passed = passed_descriptors();
    let kept = standard::keep_error_alone();
    // Where problems are told when the log has gone elsewhere.
    let standard_error = std::io::stderr().as_fd().try_clone_to_owned();
    let mut to_file = false;
    let start = kept
        .and_then(|()| load(path))
        .and_then(|(config, identity)| {
            if let Some(file) = &config.server.log_file {
                crate::logging::go_on_in(file).map_err(|e| format!("server.log_file: {e}"))?;
                to_file = true;
            }
            crate::logging::start(&config.server.log, to_file);
            Supervisor::start(path, config, identity, passed)
        });
    let result = start.and_then(|supervisor| supervisor.run().map_err(|e| e.to_string()));
    let Err(text) = result else {
        return ExitCode::SUCCESS;
    };
    if to_file {
        log::error!("{text}");
    }
    if let Ok(handle) = standard_error {
        let _ = File::from(handle).write_all(format!("tfd: {text}\n").as_bytes());
    }
    ExitCode::FAILURE
}

/// Reads and checks the configuration, and looks up the identity that its
/// processes take; `None` when this process may take no other.
///
/// # Errors
/// The problems, one a line.
pub fn load(path: &Path) -> Result<(Config, Option<Identity>), String> {
    let config = Config::load(path).map_err(|problems| lines(&problems))?;
    let identity = check_apart(&config)?;
    Ok((config, nix::unistd::geteuid().is_root().then_some(identity)))
}

/// The longest list of problems that is told.
const MAX_TEXT: usize = 64 * 1024;

/// Checks the world in a process of its own. The private key, which the check
/// reads, never is in the daemon's memory, and neither are the libraries that
/// look users up: every process forked later would carry them.
fn check_apart(config: &Config) -> Result<Identity, String> {
    let (ours, theirs) = crate::ipc::channel::pair().map_err(|e| e.to_string())?;
    let child = || {
        let mut problems = config::check_world(config);
        let identity = identity_of(config);
        if let (true, Err(e)) = (problems.is_empty(), &identity) {
            problems.push(Problem::new(&config.path, e.to_string()));
        }
        let (status, answer) = match identity {
            Ok(identity) if problems.is_empty() => (0, identity.to_bytes()),
            _ => (1, lines(&problems).into_bytes()),
        };
        let answer = &answer[..answer.len().min(MAX_TEXT)];
        if theirs.send(answer, &[]).is_ok() {
            status
        } else {
            1
        }
    };
    let pid = fork(child).map_err(|e| e.to_string())?;
    drop(theirs);
    let mut answer = vec![0; MAX_TEXT];
    let len = ours.receive(&mut answer).map_or(0, |(len, _)| len);
    answer.truncate(len);
    let failed = || "the check of the configuration failed".to_owned();
    match waitpid(pid, None) {
        Ok(WaitStatus::Exited(_, 0)) => Identity::from_bytes(&answer).ok_or_else(failed),
        _ if len > 0 => Err(String::from_utf8_lossy(&answer).into_owned()),
        _ => Err(failed()),
    }
}

/// The identity that clients are served as.
fn identity_of(config: &Config) -> std::io::Result<Identity> {
    match &config.server.user {
        Some(name) if nix::unistd::geteuid().is_root() => Identity::of(name),
        _ => Ok(Identity::own()),
    }
}

fn lines(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\ntfd: ")
}
