//! A helper process that keeps state and that sessions speak to: each has a
//! channel of its own to it, made by the daemon, whose word it is whom the
//! channel is for. A service that ended is started again, later each time.

use std::io;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use super::Helper;
use super::codec::Encode;
use super::pipe::{Pipe, pair};

/// How long the daemon waits before it starts a service again, at first and at
/// most; after so long a life, as at first.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A service, in the daemon, and what introduces a session to it.
#[derive(Debug)]
pub struct Service<S> {
    helper: Option<Helper<S, ()>>,
    started: Instant,
    pause: Duration,
    /// When to start it again, after it has ended.
    due: Option<Instant>,
    /// How often it was started again.
    pub restarts: u64,
}

impl<S: Encode> Service<S> {
    /// A service that runs.
    pub fn new(helper: Helper<S, ()>) -> Service<S> {
        Service {
            helper: Some(helper),
            started: Instant::now(),
            pause: FIRST_PAUSE,
            due: None,
            restarts: 0,
        }
    }

    /// A channel to the service for a session, which `introduce` puts into the
    /// message that says whom it is for. Fails at once while the service does
    /// not run, and with `WouldBlock` while its queue is full.
    pub fn open<A, B>(&self, introduce: impl FnOnce(Pipe<B, A>) -> S) -> io::Result<Pipe<A, B>> {
        let helper = self.helper.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let (ours, theirs) = pair()?;
        helper.channel.try_send(&introduce(theirs))?;
        Ok(ours)
    }

    /// Takes note that a process has ended; whether it was the service's.
    pub fn reaped(&mut self, pid: Pid) -> bool {
        let is_ours = |helper: &mut Helper<S, ()>| helper.pid == pid;
        if self.helper.take_if(is_ours).is_none() {
            return false;
        }
        if self.started.elapsed() > LONGEST_PAUSE {
            self.pause = FIRST_PAUSE;
        }
        self.due = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        true
    }

    /// When [`Service::restart_if_due`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Starts the service again once that is due.
    pub fn restart_if_due(&mut self, start: impl FnOnce() -> Result<Helper<S, ()>, String>) {
        if self.due.is_none_or(|due| Instant::now() < due) {
            return;
        }
        self.restarts += 1;
        match start() {
            Ok(helper) => {
                self.helper = Some(helper);
                self.started = Instant::now();
                self.due = None;
            }
            Err(e) => {
                log::error!("service not started error=\"{e}\"");
                self.due = Some(Instant::now() + self.pause);
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

impl<S> Drop for Service<S> {
    fn drop(&mut self) {
        self.helper.iter().for_each(Helper::kill);
    }
}
