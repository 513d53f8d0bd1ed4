//! The daemon at a reload: a new reading of the configuration in place of the
//! old one, as a whole or not at all.

use std::fs::File;
use std::mem::replace;
use std::os::fd::AsFd;
use std::path::PathBuf;

use super::super::generation::Generation;
use super::super::start::{
    bind_all, dialer_settings, limits, listed, sandbox_for, set_purpose, start_dialer,
    start_generation, start_helpers, users_stamp,
};
use super::{SERVING, Supervisor};
use crate::config::Config;
use crate::daemon::helpers::auditor::Auditor;
use crate::daemon::helpers::uploads::Uploads;
use crate::daemon::shared::SharedState;
use crate::net::listen::Listener;
use crate::sandbox::Sandbox;
use crate::trusted;
use crate::users::{Identities, Identity};

impl Supervisor<'_> {
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
                log::error!(error = text.as_str(); "configuration not taken over");
                self.notifier
                    .ready("serving clients by the old configuration: see the log");
            }
        }
    }

    fn try_reload(&mut self) -> Result<(), String> {
        self.users = users_stamp(&self.config);
        let (config, identities) = super::super::load(&self.path)?;
        let has_data_connections = dialer_settings(&config).is_some();
        let open: Vec<_> = self.listeners.iter().map(|l| l.address).collect();
        let fresh = bind_all(&config, &open)?;
        let doors = self.control.endpoints_for(&config)?;
        let audit = self.next_audit_log(&config)?;
        let log = self.log.next_output(&config)?;
        let uploads = self.next_uploads(&config, identities.as_ref())?;
        let generation = self.start_helpers(&config, identities.as_ref(), &fresh)?;
        if let Some(uploads) = uploads {
            self.memory.uploads = uploads;
        }
        self.log.write_to(log);
        self.control.take(doors);
        if let (Some(auditor), Some(log)) = (&self.memory.auditor, audit)
            && let Err(e) = auditor.go_on_in(log)
        {
            log::error!(error:% = e; "the audit log stays where it was");
        }
        self.recount.reset(&config, generation.has_quotas());
        self.listeners
            .retain_mut(|listener| match listed(&config, listener) {
                Some(wanted) => {
                    set_purpose(listener, &wanted);
                    true
                }
                None => false,
            });
        fresh.iter().for_each(Listener::announce);
        self.listeners.extend(fresh);
        if let Some(old) = self.generations.last_mut() {
            old.retire();
        }
        self.take_on(generation);
        if !has_data_connections {
            self.memory.dialer = None;
        }
        self.registry.limit(limits(&config));
        let apart = config.server.metrics_accounts;
        self.registry.counters.accounts.limit(apart);
        if config.server.max_sessions != self.config.server.max_sessions {
            log::warn!("max_sessions takes effect at the next start");
        }
        self.config = config;
        self.identities = identities;
        Ok(())
    }

    /// The process for uploads that a configuration asks for: the outer `None` if
    /// the one that runs is right.
    fn next_uploads(
        &self,
        config: &Config,
        identities: Option<&Identities>,
    ) -> Result<Option<Option<Uploads>>, String> {
        let is_right = match &self.memory.uploads {
            Some(running) => running.fits(config),
            None => config.server.on_upload.is_none(),
        };
        if is_right {
            return Ok(None);
        }
        Uploads::start(config, identities.map(|who| &who.clients)).map(Some)
    }

    /// The process at the store that a configuration asks for: the outer `None` if the
    /// one that runs is right.
    fn next_shared(
        &self,
        config: &Config,
        identity: Option<&Identity>,
        sandbox: &Sandbox,
    ) -> Result<Option<Option<SharedState>>, String> {
        let of = |config: &Config| {
            (
                config.server.shared_state.clone(),
                config.server.login_limits,
            )
        };
        if of(config) == of(&self.config) {
            return Ok(None);
        }
        let started = match (&self.memory.shared, &config.server.shared_state) {
            (Some(running), Some(_)) => running.instead(config, identity, sandbox).map(Some),
            _ => SharedState::start(config, identity, sandbox),
        };
        started.map(Some)
    }

    /// The file that the running auditor is to go on in: the one that has the
    /// log's name now, perhaps after the old one was moved away.
    fn next_audit_log(&self, config: &Config) -> Result<Option<File>, String> {
        let path = config
            .server
            .audit
            .as_ref()
            .filter(|_| self.memory.auditor.is_some());
        let open = |path: &PathBuf| {
            trusted::open_log(path).map_err(|e| format!("server.audit: {}: {e}", path.display()))
        };
        path.map(open).transpose()
    }

    /// Starts the processes of a configuration, which listens where this one
    /// does and at the fresh ones. When it fails those of before go on.
    fn start_helpers(
        &mut self,
        config: &Config,
        identities: Option<&Identities>,
        fresh: &[Listener],
    ) -> Result<Generation, String> {
        let sandbox = sandbox_for(config)?;
        let helper = identities.map(|who| &who.helpers);
        let audit = config.server.audit.as_ref();
        let begins = audit.filter(|_| self.memory.auditor.is_none());
        let begins = begins
            .map(|path| Auditor::start(path, helper, &sandbox))
            .transpose()?;
        let stays = |listener: &&Listener| listed(config, listener).is_some();
        let all: Vec<&Listener> = self.listeners.iter().filter(stays).chain(fresh).collect();
        let keys = self.registry.keys().as_fd();
        let before = &self.memory.helpers;
        let auditor = audit.and(begins.as_ref().or(self.memory.auditor.as_ref()));
        let records = auditor.map(AsFd::as_fd);
        let helpers = start_helpers(config, &all, keys, records, helper, &sandbox, before)?;
        let helpers = replace(&mut self.memory.helpers, helpers);
        let auditor = (audit.is_none() || begins.is_some())
            .then(|| replace(&mut self.memory.auditor, begins));
        let shared = match self.next_shared(config, helper, &sandbox) {
            Ok(shared) => shared.map(|next| replace(&mut self.memory.shared, next)),
            Err(e) => {
                self.memory.helpers = helpers;
                if let Some(auditor) = auditor {
                    self.memory.auditor = auditor;
                }
                return Err(e);
            }
        };
        let dialer = start_dialer(config, helper, &sandbox, self.memory.dialer.as_ref());
        let started = dialer.and_then(|dialer| {
            let memory = &mut self.memory;
            let started = start_generation(config, identities, memory, &sandbox, &all)?;
            memory.dialer = dialer.or(memory.dialer.take());
            Ok(started)
        });
        if started.is_ok() {
            self.sandbox = sandbox;
            let shares = self.memory.shared.is_some();
            let ended = self.registry.ended.take().unwrap_or_default();
            self.registry.ended = shares.then_some(ended);
        } else {
            if let Some(shared) = shared {
                self.memory.shared = shared;
            }
            self.memory.helpers = helpers;
            if let Some(auditor) = auditor {
                self.memory.auditor = auditor;
            }
        }
        started
    }
}
