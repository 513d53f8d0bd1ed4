//! The transparent proxy (document, "Transparent Proxy System"): the processes
//! of a daemon that serves no file and relays every connection, and every
//! datagram, to the server behind it. None of them looks at the data.

mod connect;
mod datagrams;
mod relay;
mod resolve;
mod splice;

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::config::{Config, Proxy};
use crate::ipc::Helper;
use crate::ipc::fork_server;
use crate::ipc::orders::{Ended, Order};
use crate::proxy::relay::Relay;
use crate::sandbox::confinement::{Confinement, Duty};
use crate::sandbox::{Reach, Sandbox};
use crate::users::Identity;

/// The processes in addition to the zygote.
#[derive(Debug, Default)]
pub struct Helpers {
    /// Their processes.
    pub pids: Vec<Pid>,
    /// The one for datagrams, which runs while this is open.
    udp: Option<Helper>,
}

impl Helpers {
    /// Ends them, after the answers that UDP clients wait for.
    pub fn retire(&mut self) {
        if let Some(udp) = self.udp.take() {
            self.pids.retain(|pid| *pid != udp.pid);
        }
        self.end();
        self.pids.clear();
    }

    /// Ends them at once.
    pub fn end(&self) {
        for pid in &self.pids {
            let _ = kill(*pid, Signal::SIGKILL);
        }
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts the processes of a proxy: the zygote that forks a relay for each
/// connection, and its helpers. Datagrams that arrive on the sockets `udp` are
/// relayed.
///
/// # Errors
/// One line that says what could not be started and why; what had been
/// started is ended.
pub fn start(
    config: &Config,
    proxy: &Proxy,
    identity: Option<&Identity>,
    slots: BorrowedFd<'_>,
    sandbox: &Sandbox,
    udp: &[BorrowedFd<'_>],
) -> Result<(Helper<Order, Ended>, Helpers), String> {
    let mut helpers = Helpers::default();
    let (backend, resolver) = resolve::start(&proxy.backend, identity, sandbox)?;
    helpers.pids.extend(resolver);
    let udp = datagrams::start(proxy, &backend, identity, sandbox, udp)?;
    helpers.pids.push(udp.pid);
    helpers.udp = Some(udp);

    let reaching = sandbox.reaching(Reach::Tcp);
    let reaching = reaching.map_err(|e| format!("zygote: {e}"))?;
    let confinement = Confinement::new(identity, &reaching)?;
    let zygote = Helper::spawn("zygote", |child| {
        let backend = backend.reader()?;
        let mut handles = vec![slots];
        handles.extend(backend.handle().map(AsFd::as_fd));
        let confined = confinement.with(Duty::Connecting(proxy.backend.port));
        child.enter(c"tfd-zygote", &confined, &handles)?;
        let relay = Relay {
            proxy,
            backend,
            limit: config.server.handshake_limit,
            accept_from: &config.server.accept_proxy_from,
            slots,
            connecting: &reaching,
            connected: sandbox,
        };
        fork_server::run(&child.channel, &relay)
    })?;
    Ok((zygote, helpers))
}
