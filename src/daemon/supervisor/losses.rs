//! The daemon when a helper process has ended unasked: it is replaced, unless
//! it was of no use from the start.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::super::start::{start_generation, start_helpers};
use super::Supervisor;
use crate::daemon::helpers::auditor::Auditor;
use crate::ipc::orders::Order;
use crate::net::listen::Listener;

/// How soon after its start a generation may fail without ending the daemon.
const EARLY: Duration = Duration::from_secs(1);

impl Supervisor {
    /// A zygote ended, and with it all its children. The newest one is
    /// replaced, unless it ended before it was of use.
    pub(super) fn zygote_gone(&mut self, index: usize) -> io::Result<()> {
        let generation = self.generations.remove(index);
        generation.end();
        if let Some(launcher) = generation.launcher_pid {
            self.sessions.order(launcher, &Order::Retire);
        }
        for slot in generation.gates.keys() {
            self.registry.release(*slot, false);
        }
        if index < self.generations.len() || self.stop.is_some() {
            return Ok(());
        }
        log::error!("zygote ended unasked pid={}", generation.zygote.pid);
        if self.started.elapsed() < EARLY {
            return Err(io::Error::other("the zygote does not stay up"));
        }
        self.replace_generation()
    }

    /// Starts a generation in place of one that failed.
    fn replace_generation(&mut self) -> io::Result<()> {
        let (config, identity) = (&self.config, self.identity.as_ref());
        let all: Vec<&Listener> = self.listeners.iter().collect();
        let generation = start_generation(config, identity, &mut self.memory, &self.sandbox, &all)
            .map_err(io::Error::other)?;
        self.take_on(generation);
        Ok(())
    }

    /// Takes leave of sessions and helpers that have ended. A keeper or authenticator
    /// that ended unasked takes its generation with it.
    pub(super) fn reap(&mut self) -> io::Result<()> {
        loop {
            let status = waitpid(None, Some(WaitPidFlag::WNOHANG));
            let Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _)) = status else {
                return Ok(());
            };
            if let Some(dialer) = &mut self.memory.dialer
                && dialer.reaped(pid)
            {
                log::error!("dialer ended unasked pid={pid}");
                continue;
            }
            if self.memory.helpers.reaped(pid) {
                self.protocol_helper_gone(pid)?;
                continue;
            }
            if self
                .memory
                .auditor
                .as_ref()
                .is_some_and(|auditor| auditor.pid == pid)
            {
                self.auditor_gone()?;
                continue;
            }
            let newest = self.generations.last();
            if newest.is_some_and(|newest| newest.helpers.contains(&pid)) && self.stop.is_none() {
                self.replace_failed("helper process", pid)?;
            }
        }
    }

    /// A process of the newest generation ended unasked: another generation
    /// takes its place, unless this one was of no use.
    pub(super) fn replace_failed(&mut self, what: &str, pid: Pid) -> io::Result<()> {
        log::error!("{what} ended unasked pid={pid}");
        if let Some(generation) = self.generations.last_mut() {
            generation.retire();
        }
        if self.started.elapsed() < EARLY {
            return Err(io::Error::other("a helper process does not stay up"));
        }
        self.replace_generation()
    }

    /// A helper process of a protocol ended unasked.
    fn protocol_helper_gone(&mut self, pid: Pid) -> io::Result<()> {
        if self.stop.is_some() {
            return Ok(());
        }
        log::error!("a helper process of a protocol ended unasked pid={pid}");
        if self.started.elapsed() < EARLY {
            return Err(io::Error::other("a helper process does not stay up"));
        }
        self.replace_protocol_helpers().map_err(io::Error::other)?;
        if let Some(generation) = self.generations.last_mut() {
            generation.retire();
        }
        self.replace_generation()
    }

    /// Restarts the helper processes of protocols for the present configuration
    /// and listeners.
    fn replace_protocol_helpers(&mut self) -> Result<(), String> {
        let all: Vec<&Listener> = self.listeners.iter().collect();
        let read = (self.registry.keys().as_fd(), self.memory.slots.as_fd());
        self.memory.helpers = start_helpers(
            &self.config,
            &all,
            read,
            self.identity.as_ref(),
            &self.sandbox,
            &self.memory.helpers,
        )?;
        Ok(())
    }

    /// The auditor ended unasked. Sessions that can't report to it
    /// end; new ones get a new one.
    fn auditor_gone(&mut self) -> io::Result<()> {
        if self.stop.is_some() {
            return Ok(());
        }
        log::error!("auditor ended unasked");
        let path = self.config.server.audit.clone().unwrap_or_default();
        let started = Auditor::start(&path, self.identity.as_ref(), &self.sandbox);
        self.memory.auditor = Some(started.map_err(io::Error::other)?);
        if let Some(generation) = self.generations.last_mut() {
            generation.retire();
        }
        self.replace_generation()
    }
}
