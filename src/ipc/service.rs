//! Services: helper processes that keep state and that sessions speak to.

use std::io;
use std::time::Instant;

use nix::unistd::Pid;

use super::Helper;
use super::backoff::Backoff;
use super::codec::Encode;
use super::pipe::{Pipe, pair};

/// A helper process that keeps state and that sessions speak to: each has a channel
/// of its own to it, made by the daemon, whose word it is whom the channel is for. A
/// service that ended is started again, later each time.
#[derive(Debug)]
pub struct Service<S> {
    helper: Option<Helper<S, ()>>,
    backoff: Backoff,
    /// How often it was started again.
    pub restarts: u64,
}

impl<S: Encode> Service<S> {
    /// A service that runs.
    pub fn new(helper: Helper<S, ()>) -> Service<S> {
        Service {
            helper: Some(helper),
            backoff: Backoff::default(),
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
        let is_gone = self.helper.take_if(is_ours).is_some();
        if is_gone {
            self.backoff.failed();
        }
        is_gone
    }

    /// When [`Service::restart_if_due`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        self.backoff.due()
    }

    /// Starts the service again once that is due.
    pub fn restart_if_due(&mut self, start: impl FnOnce() -> Result<Helper<S, ()>, String>) {
        if !self.backoff.is_due() {
            return;
        }
        self.restarts += 1;
        match start() {
            Ok(helper) => {
                self.helper = Some(helper);
                self.backoff.started();
            }
            Err(e) => {
                log::error!(error:% = e; "service not started");
                self.backoff.failed();
            }
        }
    }
}

impl<S> Drop for Service<S> {
    fn drop(&mut self) {
        self.helper.iter().for_each(Helper::kill);
    }
}
