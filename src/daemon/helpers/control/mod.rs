//! The control socket and the metrics. The daemon accepts each client and forks a
//! responder for it, which sees the daemon's tables as they are at that moment.
//! All that the daemon ever hears from a responder is whose session to end, here and at
//! the servers that share its state, whom an operator has freed, and to whom the holder is
//! to connect; and only from one that answers an operator.

mod endpoint;
pub mod metrics;
pub mod report;
pub mod request;
mod responder;
pub mod view;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use crate::config::{Config, DEFAULT_CONTROL, Local};
use crate::daemon::helpers::control::endpoint::Endpoint;
use crate::daemon::helpers::control::view::{Live, View};
use crate::fleet::message::Kicked;
use crate::ipc::Helper;
use crate::ipc::codec::codec;
use crate::sandbox::Sandbox;
use crate::sandbox::confinement::{Confinement, Duty};
use crate::trusted::is_our_uid;
use crate::users::throttle::Target;
use crate::users::{Identity, throttle};

/// The most responders of one kind at once, and of one collector.
const MAX_RESPONDERS: usize = 8;
const MAX_OF_COLLECTOR: usize = 2;

/// How long a responder lives, in seconds.
const LIFE: u32 = 5;

/// The client of a responder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An operator, on the control socket.
    Operator,
    /// A collector of metrics.
    Collector,
}

/// The sources of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A client connects.
    Endpoint(Kind),
    /// A responder sends an order, or has ended.
    Responder(usize),
}

/// Who a collector is: a user by a Unix socket, else an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    User(u32),
    Address(IpAddr),
}

impl Peer {
    fn of(client: &OwnedFd) -> Option<Peer> {
        let address = rustix::net::getpeername(client).ok().flatten();
        if let Some(Ok(address)) = address.map(SocketAddr::try_from) {
            return Some(Peer::Address(address.ip().to_canonical()));
        }
        let credentials = rustix::net::sockopt::socket_peercred(client).ok()?;
        Some(Peer::User(credentials.uid.as_raw()))
    }
}

/// A responder at work.
#[derive(Debug)]
struct Responder {
    kind: Kind,
    peer: Option<Peer>,
    helper: Helper<(), Asked>,
}

/// The order to end a session, from a responder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Its slot.
    pub slot: u32,
    /// Its process key: another may have the slot by now.
    pub key: [u8; 16],
}

codec!(struct End { slot, key });

/// What a responder asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The end of a session.
    End(End),
    /// The end of sessions at the other servers.
    Elsewhere(Kicked),
    /// That the other servers free somebody.
    Free(Target),
    /// That the holder connects to an owner who waits at this address.
    Call(SocketAddr),
}

codec!(enum Asked { 1 => End(end), 2 => Elsewhere(whom), 3 => Free(target), 4 => Call(address) });

/// What another configuration changes: a new endpoint, or none; the outer `None`
/// if the open one stays.
#[derive(Debug)]
pub struct Endpoints {
    control: Option<Option<Endpoint>>,
    metrics: Option<Option<Endpoint>>,
}

/// The endpoints that are open, and the responders at work.
#[derive(Debug)]
pub struct Control {
    control: Option<Endpoint>,
    metrics: Option<Endpoint>,
    /// The oldest first.
    responders: Vec<Responder>,
    /// When the daemon was started.
    pub born: Instant,
}

impl Control {
    /// Opens the endpoints of the configuration.
    ///
    /// # Errors
    /// One line: which could not be opened, and why.
    pub fn open(config: &Config) -> Result<Control, String> {
        let responders = Vec::new();
        let mut control = Control {
            control: None,
            metrics: None,
            responders,
            born: Instant::now(),
        };
        let endpoints = control.endpoints_for(config)?;
        control.take(endpoints);
        Ok(control)
    }

    /// Opens the endpoints of a configuration that are not open yet.
    pub fn endpoints_for(&self, config: &Config) -> Result<Endpoints, String> {
        let wanted = config.server.control.clone().map(Local::Path);
        let control = match Endpoint::instead_of(self.control.as_ref(), wanted.as_ref(), 0o600) {
            // The default path may belong to another tfd.
            Err(e) if wanted == Some(Local::Path(DEFAULT_CONTROL.into())) => {
                log::warn!(error:% = e; "no control socket");
                Some(None)
            }
            other => other.map_err(|e| format!("server.control: {e}"))?,
        };
        let wanted = config.server.metrics.as_ref();
        let metrics = Endpoint::instead_of(self.metrics.as_ref(), wanted, 0o666)
            .map_err(|e| format!("server.metrics: {e}"))?;
        Ok(Endpoints { control, metrics })
    }

    /// Switches to the endpoints of another configuration.
    pub fn take(&mut self, endpoints: Endpoints) {
        self.control = endpoints.control.unwrap_or_else(|| self.control.take());
        self.metrics = endpoints.metrics.unwrap_or_else(|| self.metrics.take());
    }

    /// The address of the metrics, if they have one.
    pub fn address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().and_then(Endpoint::address)
    }

    /// All that is waited for.
    pub fn sources(&self) -> impl Iterator<Item = (Source, BorrowedFd<'_>)> {
        let endpoints = [
            (Kind::Operator, &self.control),
            (Kind::Collector, &self.metrics),
        ];
        let is_busy = |kind| {
            let same = self.responders.iter().filter(|of| of.kind == kind);
            same.count() >= MAX_RESPONDERS
        };
        let endpoints = endpoints
            .into_iter()
            .filter(move |(kind, _)| !is_busy(*kind));
        let responders = self.responders.iter().enumerate();
        endpoints
            .filter_map(|(kind, endpoint)| {
                Some((Source::Endpoint(kind), endpoint.as_ref()?.as_fd()))
            })
            .chain(responders.map(|(index, of)| {
                let channel = of.helper.channel.as_fd();
                (Source::Responder(index), channel)
            }))
    }

    /// Accepts the next client of an endpoint, and returns it with its kind.
    pub fn accept(&self, kind: Kind) -> Option<OwnedFd> {
        match kind {
            Kind::Operator => self.control.as_ref()?.accept().filter(is_operator),
            Kind::Collector => self.metrics.as_ref()?.accept(),
        }
    }

    /// Forks a responder for a client.
    ///
    /// # Errors
    /// One line with the reason.
    pub fn answer(
        &mut self,
        kind: Kind,
        client: &OwnedFd,
        view: &View<'_>,
        identity: Option<&Identity>,
        sandbox: &Sandbox,
    ) -> Result<(), String> {
        let confinement = Confinement::new(identity, sandbox)?;
        let peer = (kind == Kind::Collector).then(|| Peer::of(client));
        let peer = peer.flatten();
        self.make_room(peer);
        let helper = Helper::spawn("responder", |child| {
            nix::unistd::alarm::set(LIFE);
            // A collector's responder needs no table after this, and has read
            // no byte of its client before.
            let text = (kind == Kind::Collector).then(|| metrics::text(view));
            let blocked = view.blocked.filter(|_| kind == Kind::Collector);
            let blocked = blocked.and_then(copy_of_blocks);
            let live = match kind {
                Kind::Operator => Some(Live::of(view.registry)?),
                Kind::Collector => None,
            };
            let mut handles = vec![client.as_fd()];
            handles.extend(live.iter().flat_map(Live::handles));
            let view = &View {
                live: live.as_ref(),
                ..*view
            };
            let confined = confinement.with(Duty::Alone(None));
            child.enter(c"tfd-responder", &confined, &handles)?;
            let stream = client.try_clone()?.into();
            let answered = match text {
                Some(mut text) => {
                    text.extend(blocked.as_deref().map(metrics::blocks));
                    metrics::answer(stream, &text)
                }
                None => responder::answer(stream, view, &child.channel),
            };
            // What a client does wrong is not a failure of ours.
            if let Err(e) = answered {
                log::debug!(error:% = e; "responder");
            }
            Ok(())
        })?;
        self.responders.push(Responder { kind, peer, helper });
        Ok(())
    }

    /// Ends the oldest responders of a collector that has too many. A collector
    /// asks at once: who has waited longest is none, or has its answer.
    fn make_room(&mut self, peer: Option<Peer>) {
        let is_same = |of: &&Responder| peer.is_some() && of.peer == peer;
        while self.responders.iter().filter(is_same).count() >= MAX_OF_COLLECTOR {
            let Some(oldest) = self.responders.iter().position(|of| is_same(&of)) else {
                return;
            };
            self.responders.remove(oldest).helper.kill();
        }
    }

    /// Reads from a responder what it asks for. Forgets one that has ended.
    pub fn hear(&mut self, index: usize) -> Option<Asked> {
        let Responder { kind, helper, .. } = self.responders.get(index)?;
        match helper.channel.try_receive() {
            Ok(asked @ Some(_)) if *kind == Kind::Operator => asked,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => None,
            _ => {
                self.responders.remove(index);
                None
            }
        }
    }
}

/// The file of blocked logins, to be read in the sandbox: it has names from clients.
fn copy_of_blocks(beside: &Path) -> Option<Vec<u8>> {
    match throttle::copy_of_file(beside) {
        Ok(copy) => Some(copy),
        // Nobody may log in.
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => {
            log::warn!(error:% = e; "no metrics of blocked logins");
            None
        }
    }
}

/// Whether the client is root or the daemon's own user, according to the kernel.
fn is_operator(client: &OwnedFd) -> bool {
    let Ok(credentials) = rustix::net::sockopt::socket_peercred(client) else {
        return false;
    };
    let uid = credentials.uid.as_raw();
    let fine = is_our_uid(uid);
    if !fine {
        log::warn!(stage:% = "control", uid; "refused");
    }
    fine
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::codec::{Decode, Encode};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn orders_arrive_as_sent_and_nothing_else_is_one(
            bytes in proptest::collection::vec(any::<u8>(), 0..32)
        ) {
            match Asked::from_bytes(&bytes) {
                Some(asked) => prop_assert_eq!(asked.to_bytes().to_vec(), bytes),
                None => prop_assert!(bytes.first() != Some(&1) || bytes.len() != 1 + 4 + 16),
            }
        }
    }
}
