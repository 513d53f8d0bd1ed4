//! The daemon: root, one thread, and small. It accepts, passes sockets on and
//! takes leave of processes that have ended; it parses no network byte and
//! never holds the private key. See tfd(8), PROCESSES.

pub mod counters;
pub mod generation;
pub mod helpers;
pub mod memory;
pub mod notify;
pub mod protocols;
pub mod registry;
pub mod sessions;
mod standard;
mod start;
pub mod supervisor;
pub mod world;

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use nix::sys::wait::waitpid;

use crate::config::{Config, Problem};
use crate::ipc::Helper;
use crate::sys::environment::passed_descriptors;
use crate::sys::memory::keep_little_memory;
use crate::users::Identity;
use supervisor::Supervisor;

/// Serves a configuration until a signal ends it: the exit code of
/// `tfd serve`. Problems go to standard error, one line each, and nothing is
/// started then.
pub fn serve(path: &Path) -> ExitCode {
    keep_little_memory();
    let passed = passed_descriptors();
    let kept = standard::keep_error_alone();
    // For problems after the log has moved to a file.
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

/// Checks the world in a process of its own. The private key, which the check
/// reads, never is in the daemon's memory, and neither are the libraries that
/// look users up: every process forked later would carry them.
fn check_apart(config: &Config) -> Result<Identity, String> {
    let mut checked = None;
    let hear = |identity: Identity| checked = Some(identity);
    let checker = <Helper>::spawn_reporting("check of the configuration", hear, |child| {
        let mut problems = world::check_world(config);
        match identity_of(config) {
            Ok(identity) if problems.is_empty() => {
                child.report(identity)?;
                return child.ready();
            }
            Err(e) if problems.is_empty() => {
                problems.push(Problem::new(&config.path, e.to_string()));
            }
            _ => {}
        }
        Err(std::io::Error::other(lines(&problems)))
    })?;
    let _ = waitpid(checker.pid, None);
    checked.ok_or_else(|| "the check of the configuration failed".to_owned())
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
