//! The daemon's end of the state that several servers share: the process at the store.

use nix::unistd::Pid;

use crate::config::Config;
use crate::fleet::process::{FIGURES, spawn};
use crate::ipc::figures::Figures;
use crate::ipc::{Helper, Service};
use crate::sandbox::Sandbox;
use crate::users::Identity;

/// The process at the store.
#[derive(Debug)]
pub struct SharedState {
    /// The process.
    pub service: Service<()>,
    /// What it publishes.
    pub figures: Figures,
}

impl SharedState {
    /// Starts the process, if there is to be one.
    ///
    /// # Errors
    /// One line that says what could not be started.
    pub fn start(
        config: &Config,
        identity: Option<&Identity>,
        sandbox: &Sandbox,
    ) -> Result<Option<SharedState>, String> {
        if config.server.shared_state.is_none() {
            return Ok(None);
        }
        let figures = Figures::new(&FIGURES)?;
        let helper = start(config, identity, sandbox, &figures)?;
        let service = Service::new(helper);
        Ok(Some(SharedState { service, figures }))
    }

    /// Starts the process again once that is due.
    pub fn restart_if_due(
        &mut self,
        config: &Config,
        identity: Option<&Identity>,
        sandbox: &Sandbox,
    ) {
        let figures = &self.figures;
        self.service
            .restart_if_due(|| start(config, identity, sandbox, figures));
    }

    /// Takes note that a process has ended; whether it was this one.
    pub fn reaped(&mut self, pid: Pid) -> bool {
        self.service.reaped(pid)
    }
}

fn start(
    config: &Config,
    identity: Option<&Identity>,
    sandbox: &Sandbox,
    figures: &Figures,
) -> Result<Helper<()>, String> {
    let settings = config.server.shared_state.as_ref();
    let settings = settings.ok_or("server.shared_state is missing")?;
    spawn(settings, identity, sandbox, figures)
}
