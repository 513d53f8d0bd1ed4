//! The daemon when a helper process has ended unasked: it is replaced, later each
//! time that happens soon after a start. Clients wait until then.

use std::time::Instant;

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::super::start::start_generation;
use super::Supervisor;
use crate::daemon::helpers::auditor::Auditor;
use crate::ipc::backoff::Backoff;
use crate::ipc::orders::Order;
use crate::net::listen::Listener;

/// Which helper processes have to be started again, and when.
#[derive(Debug, Default)]
pub(super) struct Repair {
    backoff: Backoff,
}

impl Repair {
    /// Whether clients have to wait.
    pub(super) fn is_pending(&self) -> bool {
        self.backoff.due().is_some()
    }

    /// When to start the processes.
    pub(super) fn due(&self) -> Option<Instant> {
        self.backoff.due()
    }

    /// Takes note that all run.
    pub(super) fn done(&mut self) {
        self.backoff.started();
    }
}

impl Supervisor<'_> {
    /// A zygote ended, and with it all its children.
    pub(super) fn zygote_gone(&mut self, index: usize) {
        let (pid, is_newest) = (
            self.generations[index].zygote.pid,
            index + 1 == self.generations.len(),
        );
        let is_retired = !is_newest || self.repair.is_pending() || self.stop.is_some();
        let generation = self.generations.remove(index);
        generation.end();
        if let Some(launcher) = generation.launcher_pid {
            self.sessions.order(launcher, &Order::Retire);
        }
        self.registry.parent_gone(generation.zygote.pid);
        if !is_retired {
            self.failed("zygote", "zygote ended unasked", pid);
        }
    }

    /// Takes leave of sessions and helpers that have ended.
    pub(super) fn reap(&mut self) {
        loop {
            let status = waitpid(None, Some(WaitPidFlag::WNOHANG));
            let Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _)) = status else {
                return;
            };
            let memory = &mut self.memory;
            let newest = self.generations.last();
            if let Some(dialer) = &mut memory.dialer
                && dialer.service.reaped(pid)
            {
                self.registry.counters.restart("dialer");
                log::error!(pid:%; "dialer ended unasked");
            } else if let Some(uploads) = &mut memory.uploads
                && uploads.service.reaped(pid)
            {
                self.registry.counters.restart("uploads");
                log::error!(pid:%; "process for uploads ended unasked");
            } else if let Some(shared) = &mut memory.shared
                && shared.reaped(pid)
            {
                self.registry.counters.restart("state");
                log::error!(pid:%; "process at the shared state ended unasked");
            } else if self.log.reaped(pid) {
                self.registry.counters.restart("logger");
                log::error!(pid:%; "logger ended unasked");
            } else if memory.helpers.reaped(pid) {
                self.registry.counters.restart("protocol");
                log::error!(pid:%; "a helper process of a protocol ended unasked");
            } else if memory.auditor.take_if(|of| of.pid == pid).is_some() {
                // Sessions that can't report to it end; new ones get a new one.
                self.failed("auditor", "auditor ended unasked", pid);
            } else if let Some(helper) = newest.and_then(|newest| newest.helper(pid)) {
                self.failed(helper, "helper process ended unasked", pid);
            }
        }
    }

    /// A process of a generation is of no use any more: if that takes clients,
    /// another takes its place.
    pub(super) fn failed_in(&mut self, index: usize, helper: &str, what: &str, pid: Pid) {
        if index + 1 == self.generations.len() {
            self.failed(helper, what, pid);
        }
    }

    /// Something has failed that clients need. The newest generation takes no more
    /// of them, and another one follows after a pause.
    fn failed(&mut self, helper: &str, what: &str, pid: Pid) {
        if self.stop.is_some() || self.repair.is_pending() {
            return;
        }
        log::error!(pid:%; "{what}");
        self.registry.counters.restart(helper);
        if let Some(generation) = self.generations.last_mut() {
            generation.retire();
        }
        self.repair.backoff.failed();
    }

    /// Starts again what has failed, once that is due.
    pub(super) fn repair_if_due(&mut self) {
        if self.stop.is_some() || !self.repair.backoff.is_due() {
            return;
        }
        if let Err(e) = self.repair() {
            self.repair.backoff.failed();
            log::error!(error:% = e; "helper processes not started, clients wait");
        }
    }

    fn repair(&mut self) -> Result<(), String> {
        let (config, identities) = (&self.config, self.identities.as_ref());
        let identity = identities.map(|who| &who.helpers);
        let memory = &mut self.memory;
        if let (Some(path), None) = (&config.server.audit, &memory.auditor) {
            memory.auditor = Some(Auditor::start(path, identity, &self.sandbox)?);
        }
        let all: Vec<&Listener> = self.listeners.iter().collect();
        let generation = start_generation(config, identities, memory, &self.sandbox, &all)?;
        self.take_on(generation);
        Ok(())
    }
}
