//! The daemon: root, one thread, and small. It accepts, passes sockets on and
//! takes leave of processes that have ended; it parses no network byte and
//! never holds the private key. See tfd(8), PROCESSES.

pub mod accounts;
pub mod admission;
pub mod counters;
pub mod generation;
pub mod helpers;
pub mod memory;
pub mod notify;
pub mod protocols;
pub mod registry;
pub mod sessions;
mod shared;
mod standard;
mod start;
pub mod supervisor;
pub mod world;

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::wait::{WaitPidFlag, waitpid};

use crate::config::{self, Config, Problem};
use crate::daemon::helpers::logger::Log;
use crate::ipc::Helper;
use crate::sys::code;
use crate::sys::environment::{forget_all_but, passed_descriptors};
use crate::sys::memory::{keep_little_memory, shared_text};
use crate::users::{Identities, Identity};
use supervisor::Supervisor;

/// The variables that tfd or its libraries read. Every process forked later would
/// carry the others.
const VARIABLES: [&str; 15] = [
    "JOURNAL_STREAM",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "OPENSSL_CONF",
    "OPENSSL_MODULES",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "TFD_JOURNAL_SOCKET",
    "TMPDIR",
    "TZ",
    "TZDIR",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// How long processes have to vanish after they were killed.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Serves a configuration until a signal ends it: the exit code of
/// `tfd serve`. Problems go to standard error, one line each, and nothing is
/// started then.
pub fn serve(path: &Path) -> ExitCode {
    keep_little_memory();
    // Sessions cost less then. Without it all is as it was.
    let _ = code::move_to_huge_pages();
    let _ = code::share_relocated_tables();
    forget_all_but(&VARIABLES);
    let passed = passed_descriptors();
    let kept = standard::keep_error_alone(&passed);
    // For problems after the log has moved to a file.
    let standard_error = std::io::stderr().as_fd().try_clone_to_owned();
    let result = kept
        .and_then(|()| load(path))
        .and_then(|(config, identities)| {
            let to_file = config.server.log_file.is_some();
            let mut log = Log::open(&config)?;
            crate::logging::start(&config.server.log);
            let started = Supervisor::start(path, config, identities, passed, &mut log);
            let ended = started.and_then(|supervisor| supervisor.run().map_err(|e| e.to_string()));
            if let (Err(text), true) = (&ended, to_file) {
                log::error!(error = text.as_str(); "tfd has failed");
            }
            log.close();
            if wait_for_all() {
                log.write_rest();
            }
            ended
        });
    let Err(text) = result else {
        return ExitCode::SUCCESS;
    };
    if let Ok(handle) = standard_error {
        let _ = File::from(handle).write_all(format!("tfd: {text}\n").as_bytes());
    }
    ExitCode::FAILURE
}

/// Gives processes that were ended, and the logger, some time for that; whether
/// it was enough.
fn wait_for_all() -> bool {
    let last = Instant::now() + LAST_WAIT;
    while waitpid(None, Some(WaitPidFlag::WNOHANG)).is_ok() {
        if Instant::now() > last {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Reads and checks the configuration in a process of its own, and looks up the
/// identities that its processes take; `None` when this process may take no other.
/// The hash and the private key never are in the daemon's memory, and neither
/// are the libraries that look users up: every process forked later would carry
/// them. The configuration has a memory with its whole text for the keepers.
///
/// # Errors
/// The problems, one a line.
pub fn load(path: &Path) -> Result<(Config, Option<Identities>), String> {
    let memory = shared_text().map_err(|e| format!("shared memory: {e}"))?;
    let mut checked = None;
    let hear = |found: (Identities, String)| checked = Some(found);
    let checker = <Helper>::spawn_reporting("check of the configuration", hear, |child| {
        let found = check(path, &memory).map_err(|problems| lines(&problems));
        child.report(found.map_err(std::io::Error::other)?)?;
        child.ready()
    })?;
    let _ = waitpid(checker.pid, None);
    let (identities, text) = checked.ok_or("the check of the configuration failed")?;
    let mut config = Config::parse(path, &text).map_err(|problems| lines(&problems))?;
    config.whole = Some(Arc::new(memory));
    Ok((
        config,
        nix::unistd::geteuid().is_root().then_some(identities),
    ))
}

/// Reads and checks it: who clients are served as, and the text without secrets.
/// The whole text goes to `memory`.
fn check(path: &Path, memory: &OwnedFd) -> Result<(Identities, String), Vec<Problem>> {
    let problem = |e: String| vec![Problem::new(path, e)];
    let text = config::read(path).map_err(|e| problem(format!("can't be read: {e}")))?;
    let config = Config::parse(path, &text)?;
    let problems = world::check_world(&config);
    if !problems.is_empty() {
        return Err(problems);
    }
    let identities = identities_of(&config).map_err(|e| problem(e.to_string()))?;
    let written = memory.try_clone().map(File::from);
    let written = written.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|e| problem(e.to_string()))?;
    Ok((identities, config::without_secrets(&text)))
}

/// The identities that processes take.
fn identities_of(config: &Config) -> std::io::Result<Identities> {
    let own = Identity::own();
    let (clients, helpers) = match &config.server.user {
        Some(name) if nix::unistd::geteuid().is_root() => (
            Identity::of(name)?,
            Identity::of_helpers(config.server.helper_user.as_deref())?,
        ),
        None if nix::unistd::geteuid().is_root() => {
            let helpers = Identity::of_helpers(config.server.helper_user.as_deref())?;
            (Identity::unused(Some(&helpers))?, helpers)
        }
        _ => (own.clone(), own),
    };
    Ok(Identities { clients, helpers })
}

fn lines(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\ntfd: ")
}
