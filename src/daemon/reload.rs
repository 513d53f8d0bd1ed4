//! Reading the configuration again while clients are served.

use std::os::fd::AsFd;

use super::audit::Auditor;
use super::listen::Listener;
use super::start::{
    bind_all, limits, sandbox_for, start_generation, start_udp, tables_for, users_stamp,
};
use super::supervisor::Supervisor;
use super::udp::Udp;
use crate::config::Config;
use crate::users::Identity;

impl Supervisor {
    /// Reads the configuration again. New clients get the new one; sessions
    /// that run keep theirs. With a problem everything stays as it is.
    pub(super) fn reload(&mut self) {
        if self.stop.is_some() {
            return;
        }
        match self.try_reload() {
            Ok(()) => log::info!("configuration read again"),
            Err(text) => log::error!("configuration not taken over: {text}"),
        }
    }

    fn try_reload(&mut self) -> Result<(), String> {
        self.users = users_stamp(&self.config);
        let (config, identity) = super::load(&self.path)?;
        let fresh = bind_all(&config, self.listeners.iter().map(|l| l.address).collect())?;
        if config.tf.keystream_memory != self.config.tf.keystream_memory {
            self.memory.tables = tables_for(&config, identity.as_ref(), &self.sandbox);
        }
        self.sandbox = sandbox_for(&config)?;
        self.reload_audit(&config, identity.as_ref())?;
        let stays = |listener: &Listener| config.tf.listen.contains(&listener.address);
        let all = self.listeners.iter().filter(|listener| stays(listener)).chain(&fresh);
        let all: Vec<&Listener> = all.collect();
        let (user, memory) = (identity.as_ref(), &mut self.memory);
        let read = (self.registry.keys().as_fd(), memory.slots.as_fd());
        let udp = start_udp(&config, &all, read, user, &self.sandbox)?;
        let before = std::mem::replace(&mut memory.udp, udp);
        let started = start_generation(&config, user, memory, &self.sandbox, &all);
        // Of the two UDP processes the one stays that belongs to the rest.
        let ended =
            if started.is_ok() { before } else { std::mem::replace(&mut memory.udp, before) };
        ended.inspect(Udp::end);
        let generation = started?;
        self.recount.reset(generation.has_quotas());
        self.listeners.retain(stays);
        self.listeners.extend(fresh);
        if let Some(old) = self.generations.last_mut() {
            old.retire();
        }
        self.take_on(generation);
        self.registry.limit(limits(&config));
        if config.server.max_sessions != self.config.server.max_sessions {
            log::warn!("max_sessions takes effect at the next start");
        }
        self.config = config;
        self.identity = identity;
        Ok(())
    }

    /// Lets the audit log go on in the file that has its name now, after the
    /// old one was moved away, or begins or ends it.
    fn reload_audit(&mut self, config: &Config, identity: Option<&Identity>) -> Result<(), String> {
        let auditor = &mut self.memory.auditor;
        match (&config.server.audit, &*auditor) {
            (None, _) => *auditor = None,
            (Some(path), Some(running)) => {
                running
                    .reopen(path)
                    .map_err(|e| format!("server.audit {}: {e}", path.display()))?;
            }
            (Some(path), None) => {
                *auditor = Some(Auditor::start(path, identity, &self.sandbox)?);
            }
        }
        Ok(())
    }
}
