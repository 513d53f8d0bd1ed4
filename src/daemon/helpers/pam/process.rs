//! The process that calls PAM, `tfd-pam`, as root, for modules read what root alone
//! may. It reads the authenticator's questions and nothing else, and forks a child for
//! each, which runs the modules and answers. It wipes each password as soon as the
//! child has it, and ends children that take too long with all that they have started.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};
use rustix::process::{PidfdFlags, pidfd_open};

use super::check::run;
use super::{Check, PARALLEL, Pam, missing_service};
use crate::config;
use crate::ipc::poll::{Poll, left};
use crate::ipc::{Helper, Pipe};
use crate::sandbox::Sandbox;
use crate::sandbox::confinement::ForModules;
use crate::sys::pam::Library;
use crate::sys::process::fork;

/// Starts it; the authenticator's end with it.
///
/// # Errors
/// One line: what could not be started.
pub(crate) fn start(settings: &config::Pam, sandbox: &Sandbox) -> Result<(Helper, Pam), String> {
    let (ours, theirs) = crate::ipc::pipe::pair().map_err(|e| format!("pam: {e}"))?;
    let helper = Helper::spawn_ready("pam", |child| {
        let library = load().map_err(io::Error::other)?;
        if let Some(warning) = missing_service(&settings.service) {
            log::warn!(reason:% = warning; "server.pam_service");
        }
        child.enter(c"tfd-pam", &ForModules { sandbox }, &[theirs.as_fd()])?;
        child.ready()?;
        let mut worker = Worker {
            library,
            settings: settings.clone(),
            running: Vec::new(),
        };
        worker.serve(&theirs)
    })?;
    Ok((helper, Pam::new(ours, settings)))
}

/// Loads PAM.
///
/// # Errors
/// One line, with the remedy.
pub(crate) fn load() -> Result<Library, String> {
    let remedy = "install it (Debian: libpam0g), or set auth = \"file\"";
    Library::load().map_err(|e| format!("server.auth: PAM is missing: {e}: {remedy}"))
}

/// The process.
struct Worker {
    library: Library,
    settings: config::Pam,
    running: Vec<Running>,
}

/// A check at work.
struct Running {
    account: String,
    pid: Pid,
    /// Readable when the process has ended.
    process: OwnedFd,
    until: Instant,
    is_late: bool,
}

/// What it waits for.
enum Source {
    Checks,
    Running,
}

impl Worker {
    /// Serves until the authenticator has ended.
    fn serve(&mut self, checks: &Pipe<(), Check>) -> io::Result<()> {
        loop {
            let mut poll = Poll::default();
            if self.running.len() < PARALLEL {
                poll.read(Source::Checks, checks);
            }
            for running in &self.running {
                poll.read(Source::Running, &running.process);
            }
            let until = self.running.iter().map(|running| running.until).min();
            let ready = poll.wait(until.map(left))?;
            let asks = |(source, _): &(Source, _)| matches!(source, Source::Checks);
            if ready.iter().any(asks) {
                match checks.receive() {
                    Ok(Some(check)) => self.begin(check),
                    Err(e) if e.kind() == io::ErrorKind::InvalidData => {}
                    _ => break,
                }
            }
            self.end_checks();
        }
        // Their answers would reach nobody.
        self.running.iter().for_each(Running::kill);
        Ok(())
    }

    /// Begins a check. If that fails, the authenticator gets the end of its channel.
    fn begin(&mut self, check: Check) {
        let parent = getpid();
        let child = || match run(&self.library, &self.settings.service, &check, parent) {
            Ok(()) => 0,
            Err(_) => 1,
        };
        let begun = fork(child).and_then(|pid| {
            let raw = rustix::process::Pid::from_raw(pid.as_raw());
            let raw = raw.ok_or(io::ErrorKind::NotFound)?;
            Ok((pid, pidfd_open(raw, PidfdFlags::empty())?))
        });
        match begun {
            Ok((pid, process)) => self.running.push(Running {
                account: check.account,
                pid,
                process,
                until: Instant::now() + self.settings.timeout,
                is_late: false,
            }),
            Err(e) => log::error!(error:% = e; "PAM check not begun"),
        }
    }

    /// Ends what takes too long, and takes leave of what has ended.
    fn end_checks(&mut self) {
        for running in &mut self.running {
            if left(running.until).is_zero() {
                running.is_late = true;
                running.kill();
                // One that the kernel keeps is killed again.
                running.until = Instant::now() + std::time::Duration::from_secs(1);
            }
        }
        self.running.retain(|running| !running.has_ended());
    }
}

impl Running {
    /// Ends it, and what its modules have started.
    fn kill(&self) {
        let _ = killpg(self.pid, Signal::SIGKILL);
    }

    fn has_ended(&self) -> bool {
        let user = self.account.as_str();
        match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return false,
            Ok(WaitStatus::Exited(_, 0)) => {}
            Ok(WaitStatus::Signaled(..)) if self.is_late => {
                log::error!(user; "PAM check ended: it took longer than pam_timeout");
            }
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                log::error!(user, signal:% = signal; "PAM check ended: a module has crashed");
            }
            other => log::error!(user, status:? = other; "PAM check failed"),
        }
        self.kill();
        true
    }
}
