//! The launchers, and how the daemon has them start sessions.

use std::io;

use nix::unistd::Pid;
use std::os::fd::{BorrowedFd, OwnedFd};

use super::generation::{Admission, Generation};
use super::registry::{Connection, Registry};
use crate::daemon::helpers::launcher::SessionOrder;
use crate::ipc::codec::{Encode, Writer};
use crate::ipc::orders::{MAX_FAILED_FORKS, News, Order, Start};
use crate::ipc::{Helper, Pipe};
use crate::session::login::{GatePipe, Why};
use crate::store::quota::Limits;

/// What a session is given besides its connection.
pub struct SessionHandles {
    /// Its limits, and the counter that they are held to.
    pub quota: Option<(Limits, OwnedFd)>,
    /// Its channel to the service of its protocol.
    pub service: Option<OwnedFd>,
    /// Its channel to the dialer.
    pub dialer: Option<OwnedFd>,
    /// Its channel to the process that keeps jobs for uploads.
    pub uploads: Option<OwnedFd>,
}

/// The launchers that run.
#[derive(Debug, Default)]
pub struct Sessions(Vec<Helper<Order, News>>);

impl Sessions {
    /// Takes a launcher on.
    pub fn adopt(&mut self, launcher: Helper<Order, News>) {
        self.0.push(launcher);
    }

    /// The channels of the launchers, for waiting.
    pub fn channels(&self) -> impl Iterator<Item = &Pipe<Order, News>> {
        self.0.iter().map(|launcher| &launcher.channel)
    }

    /// Has the launcher of a generation start the session of a client. The gate
    /// of a client that gets none gets a refusal.
    pub fn start(
        &mut self,
        registry: &mut Registry,
        generation: &Generation,
        admission: Admission,
        handles: SessionHandles,
    ) {
        let Admission {
            slot,
            login,
            gate,
            certificate,
            protocol,
        } = admission;
        let Some(connection) = registry.get(slot) else {
            return;
        };
        let peer = connection.client();
        let name = login.name.clone();
        let refuse = |gate: &GatePipe, why: Why, reason: &str| {
            log::warn!(peer:%, user:% = name, reason; "login refused");
            let _ = gate.try_send(&Err(why));
        };
        let running = registry.sessions_of(&name);
        if login
            .max_sessions
            .is_some_and(|max| running >= max as usize)
        {
            return refuse(&gate, Why::TooMany, "too many sessions of this user");
        }
        let mut launchers = self.0.iter();
        let launcher = launchers.find(|of| Some(of.pid) == generation.launcher_pid);
        let Some(launcher) = launcher else {
            return refuse(&gate, Why::Internal, "no launcher");
        };
        let clock = login.rate.map(|_| registry.clock(slot, &name)).transpose();
        let clock = match clock {
            Ok(clock) => clock,
            Err(e) => return refuse(&gate, Why::Internal, &format!("no clock: {e}")),
        };
        let Some(connection) = registry.get(slot) else {
            return;
        };
        let order = SessionOrder {
            gate,
            login,
            quota: handles.quota,
            clock,
            certificate,
            protocol,
            service: handles.service,
            dialer: handles.dialer,
            uploads: handles.uploads,
        };
        let start = start_of(slot, connection, &order);
        let sent = start.and_then(|start| launcher.channel.send(&Order::Start(start)));
        match sent {
            Ok(()) => registry.launch(slot, launcher.pid, &name, !generation.jail),
            Err(e) => refuse(&order.gate, Why::Internal, &e.to_string()),
        }
    }

    /// Takes news from a launcher. One that has ended itself or can no longer fork
    /// is given back.
    pub fn hear(&mut self, registry: &mut Registry, index: usize) -> Option<Pid> {
        let launcher = self.0.get(index)?;
        let mut is_useless = false;
        loop {
            match launcher.channel.try_receive() {
                Ok(Some(news)) => {
                    is_useless |= news.failed_forks() >= MAX_FAILED_FORKS;
                    registry.hear(launcher.pid, news);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    return is_useless.then_some(launcher.pid);
                }
                _ => break,
            }
        }
        let launcher = self.0.remove(index);
        registry.parent_gone(launcher.pid);
        Some(launcher.pid)
    }

    /// Gives a launcher an order. One that is gone needs none.
    pub fn order(&self, launcher: Pid, order: &Order) {
        for launcher in self.0.iter().filter(|of| of.pid == launcher) {
            let _ = launcher.channel.send(order);
        }
    }

    /// Gives all of them an order.
    pub fn order_all(&self, order: &Order) {
        for launcher in &self.0 {
            let _ = launcher.channel.send(order);
        }
    }
}

/// What a launcher needs to start the session of a connection.
fn start_of(slot: u32, connection: &Connection, order: &SessionOrder) -> io::Result<Start> {
    let mut message = Writer::default();
    order.encode(&mut message);
    let handles = message.handles.iter();
    let handles = handles.map(BorrowedFd::try_clone_to_owned);
    Ok(Start {
        slot,
        peer: connection.client(),
        key: connection.arrived.key,
        page: connection.page.try_clone()?,
        rest: message.bytes.to_vec(),
        handles: handles.collect::<io::Result<_>>()?,
    })
}
