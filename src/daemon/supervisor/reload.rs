//! The daemon at a reload: a new reading of the configuration in place of the
//! old one, as a whole or not at all.

use super::super::audit::Auditor;
use super::super::listen::Listener;
use super::super::start::{
    bind_all, limits, sandbox_for, start_generation, start_udp, tables_for, users_stamp,
};
use super::super::udp::Udp;
use super::{SERVING, Supervisor};
use std::os::fd::AsFd;

use crate::config::Config;
use crate::users::Identity;

impl Supervisor {
    /// Reads the configuration again. New clients get the new one; sessions
    /// that run keep theirs. With a problem everything stays as it is.
    pub(super) fn reload(&mut self) {
        if self.stop.is_some() {
            return;
        }
        self.notifier.reloading();
        match self.try_reload() {
            Ok(()) => {
                log::info!("configuration read again");
                self.notifier.ready(SERVING);
            }
            Err(text) => {
                log::error!("configuration not taken over: {text}");
                self.notifier.ready("serving clients by the old configuration: see the log");
            }
        }
    }

    fn try_reload(&mut self) -> Result<(), String> {
        self.users = users_stamp(&self.config);
        let (config, identity) = super::super::load(&self.path)?;
        let fresh = bind_all(&config, self.listeners.iter().map(|l| l.address).collect())?;
        if let Some(path) = &config.server.log_file {
            crate::logging::go_on_in(path).map_err(|e| format!("server.log_file: {e}"))?;
        }
        self.desk.follow(&config)?;
        if config.tf.keystream_memory != self.config.tf.keystream_memory {
            self.memory.tables = tables_for(&config, identity.as_ref(), &self.sandbox);
        }
        self.sandbox = sandbox_for(&config)?;
        self.reload_audit(&config, identity.as_ref())?;
        let stays =
            |listener: &&Listener| config.tf.tls_on(listener.address, listener.tls).is_some();
        let all: Vec<&Listener> = self.listeners.iter().filter(stays).chain(&fresh).collect();
        let read = (self.registry.keys().as_fd(), self.memory.slots.as_fd());
        let user = identity.as_ref();
        let udp = start_udp(&config, &all, read, user, &self.sandbox)?;
        let before = std::mem::replace(&mut self.memory.udp, udp);
        let started = start_generation(&config, user, &mut self.memory, &self.sandbox, &all);
        // Of the two UDP processes the one stays that belongs to the rest.
        let ended =
            if started.is_ok() { before } else { std::mem::replace(&mut self.memory.udp, before) };
        ended.inspect(Udp::end);
        let generation = started?;
        self.recount.reset(generation.has_quotas());
        self.listeners
            .retain(|listener| config.tf.tls_on(listener.address, listener.tls).is_some());
        for listener in &mut self.listeners {
            listener.tls = config.tf.tls_on(listener.address, listener.tls) == Some(true);
        }
        fresh.iter().for_each(Listener::announce);
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
