//! A generation: the helper processes of one reading of the configuration,
//! and their reports to the daemon. A reload starts a new one; the old one ends
//! with its last gate.

use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::helpers::{
    Authenticator, Keeper, shared_login, start_authenticator, start_keeper, start_launcher,
    start_zygote,
};
use super::memory::Memory;
use super::registry::{Arrived, Connection, Registry, Stage};
use crate::config::{Config, Mode as Users};
use crate::daemon::helpers::zygote::Arrival;
use crate::daemon::helpers::{authenticator, keeper, pam};
use crate::daemon::protocols::Protocols;
use crate::daemon::shared::SharedState;
use crate::ipc::Helper;
use crate::ipc::channel::pair;
use crate::ipc::codec::Encode;
use crate::ipc::orders::{News, Order, Start, Tag};
use crate::proxy;
use crate::sandbox::Sandbox;
use crate::sandbox::confinement::Confinement;
use crate::session::keys::KEY;
use crate::session::login::{AskingGate, GatePipe};
use crate::session::protocol::Protocol;
use crate::users::{Identities, Login};

/// The most keepers; more than this many RSA operations at once help nobody.
const MAX_KEEPERS: usize = 8;

/// The processes that serve one configuration.
#[derive(Debug)]
pub struct Generation {
    /// Forks the gates.
    pub zygote: Helper<Order, News>,
    /// Hold the key, asked in turn.
    pub keepers: Vec<Keeper>,
    /// Checks passwords, in multi-user mode.
    pub authenticator: Option<Authenticator>,
    /// What clients speak.
    protocols: Protocols,
    /// Whether clients log in.
    pub multi_user: bool,
    /// Whether INJAIL is the last login step.
    pub jail: bool,
    /// The accounts, in the order of the users file; where nobody logs in, the
    /// one that all clients share.
    logins: Vec<Login>,
    /// Forks the sessions, until the daemon takes it on.
    pub launcher: Option<Helper<Order, News>>,
    /// The process of that.
    pub launcher_pid: Option<Pid>,
    /// The most bytes beneath the root.
    pub quota: Option<u64>,
    /// Those beside the zygote, as long as they have not ended: the keepers, the
    /// authenticator and what calls PAM, or a proxy's.
    helpers: Vec<(Pid, &'static str)>,
    /// The processes of a proxy, which has relays in place of gates.
    proxy: Option<proxy::Helpers>,
    turn: usize,
}

/// A channel to a gate whose client is to have a session.
pub struct Admission {
    /// The gate's slot.
    pub slot: u32,
    /// Whom the session is for.
    pub login: Login,
    /// The channel.
    pub gate: GatePipe,
    /// Whether a certificate has logged it in.
    pub certificate: bool,
    /// The number of its protocol.
    pub protocol: u8,
}

/// What comes of a client that a keeper has let in.
pub enum Entered {
    /// A session.
    Session(Admission),
    /// The helpers of its protocol, of this number, decide about its login.
    Elsewhere(u8, AskingGate),
}

impl Generation {
    /// Starts the processes for a configuration. They take `identities`; `None`
    /// when this process may not take another. A proxy relays
    /// what comes to the sockets `udp`, too.
    ///
    /// # Errors
    /// One line that says what could not be started and why; what had been
    /// started is ended.
    pub fn start(
        config: &Config,
        identities: Option<&Identities>,
        memory: &mut Memory,
        sandbox: &Sandbox,
        udp: &[BorrowedFd<'_>],
    ) -> Result<Generation, String> {
        let shared = shared_login(config, identities.map(|who| &who.clients));
        if let Some(proxy) = config.proxy() {
            let (forker, helpers) = proxy::start(config, proxy, identities, sandbox, udp)?;
            let mut generation = Generation::of(config, forker, shared);
            generation.helpers = helpers.pids.iter().map(|pid| (*pid, "proxy")).collect();
            generation.proxy = Some(helpers);
            return Ok(generation);
        }
        let clients = Confinement::new(identities.map(|who| &who.clients), sandbox)?;
        let helpers = Confinement::new(identities.map(|who| &who.helpers), sandbox)?;
        let zygote = start_zygote(config, &clients, &memory.share())?;
        let mut generation = Generation::of(config, zygote, shared);
        match generation.start_rest(config, (&clients, &helpers), memory, sandbox) {
            Ok(()) => Ok(generation),
            Err(e) => {
                generation.end();
                Err(e)
            }
        }
    }

    /// Starts all but the zygote, with what clients and helpers are confined to.
    fn start_rest(
        &mut self,
        config: &Config,
        (clients, helpers): (&Confinement<'_>, &Confinement<'_>),
        memory: &mut Memory,
        sandbox: &Sandbox,
    ) -> Result<(), String> {
        let mut by_pam = None;
        if let Some(settings) = &config.server.pam {
            let (helper, pam) = pam::start(settings, sandbox)?;
            self.helpers.push((helper.pid, "pam"));
            by_pam = Some(pam);
        }
        if self.multi_user {
            let shared = memory.shared.as_mut();
            let shared = shared.map(SharedState::open).transpose();
            let shared = shared.map_err(|e| format!("shared state: {e}"))?;
            let (authenticator, logins) = start_authenticator(config, helpers, by_pam, shared)?;
            self.authenticator = Some(authenticator);
            self.logins = logins;
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..cores.min(MAX_KEEPERS) {
            self.keepers.push(start_keeper(config, helpers)?);
        }
        let keepers = self.keepers.iter().map(|keeper| (keeper.pid, "keeper"));
        let authenticator = self.authenticator.iter();
        let authenticator = authenticator.map(|helper| (helper.pid, "authenticator"));
        self.helpers.extend(keepers.chain(authenticator));
        if config.server.quota.is_some() {
            let uids = self.logins.iter().map(|login| login.identity.uid.as_raw());
            let prepared = memory.usage.prepare(uids);
            prepared.map_err(|e| format!("quota: {e}"))?;
        }
        let launcher = start_launcher(config, clients, &memory.share())?;
        self.launcher_pid = Some(launcher.pid);
        self.launcher = Some(launcher);
        Ok(())
    }

    /// The user of all clients, where nobody logs in.
    pub fn shared_user(&self) -> &str {
        if self.multi_user {
            ""
        } else {
            &self.logins[0].name
        }
    }

    /// With a zygote and nothing else yet.
    fn of(config: &Config, zygote: Helper<Order, News>, shared: Login) -> Generation {
        Generation {
            zygote,
            keepers: Vec::new(),
            authenticator: None,
            protocols: Protocols::of(config),
            multi_user: config.server.mode == Users::MultiUser,
            jail: config.server.jail,
            logins: vec![shared],
            launcher: None,
            launcher_pid: None,
            quota: config.server.quota,
            helpers: Vec::new(),
            proxy: None,
            turn: 0,
        }
    }

    /// The ports for data connections of this protocol's sessions, if they have
    /// any.
    pub fn data_ports(&self, protocol: u8) -> Option<RangeInclusive<u16>> {
        self.protocols.get(protocol).ok()?.data_ports()
    }

    /// What a process is called that is one of those beside the zygote.
    pub fn helper(&self, pid: Pid) -> Option<&'static str> {
        let found = self.helpers.iter().find(|(of, _)| *of == pid);
        found.map(|(_, name)| *name)
    }

    /// Whether clients of this protocol log in to those.
    pub fn logs_in(&self, protocol: u8) -> bool {
        let has_own = |of: &dyn Protocol| of.has_own_accounts();
        self.multi_user && !self.protocols.get(protocol).is_ok_and(has_own)
    }

    /// The accounts that clients log in to.
    pub fn logins(&self) -> &[Login] {
        if self.multi_user { &self.logins } else { &[] }
    }

    /// Whether anybody has a quota.
    pub fn has_quotas(&self) -> bool {
        self.quota.is_some() || self.logins.iter().any(|login| login.quota.is_some())
    }

    /// What is known of a connection that has come to a listener.
    pub fn arrived(
        &self,
        (socket, at): &(OwnedFd, Arrival),
        peer: SocketAddr,
        key: [u8; KEY],
    ) -> io::Result<Arrived> {
        let name = self.protocols.get(at.protocol)?.name();
        Ok(Arrived {
            peer,
            local: rustix::net::getsockname(socket)?.try_into()?,
            key,
            protocol: (at.protocol, name),
            zygote: self.zygote.pid,
            relay: self.proxy.is_some().then(|| self.shared_user().to_owned()),
        })
    }

    /// Passes a connection on to the zygote, with its socket and where it
    /// arrived, and with a channel to a keeper where a gate is to be forked.
    pub fn pass_on(
        &mut self,
        slot: u32,
        connection: &Connection,
        (socket, arrival): (OwnedFd, Arrival),
    ) -> io::Result<()> {
        let Arrived { peer, key, .. } = connection.arrived;
        let mut handles = vec![socket];
        if self.proxy.is_none() {
            let (ours, theirs) = pair()?;
            self.turn = self.turn.wrapping_add(1);
            let keeper = self.keepers.get(self.turn % self.keepers.len().max(1));
            let keeper = keeper.ok_or(io::ErrorKind::NotConnected)?;
            let protocol = self.protocols.get(arrival.protocol)?;
            keeper.channel.send(&Some(keeper::NewGate {
                tag: Tag::of(slot, key),
                tls: arrival.tls,
                protocol: arrival.protocol,
                is_open: !protocol.has_shared_secret(),
                has_login_key: protocol.has_login_keys(),
                channel: theirs.into(),
            }))?;
            handles.push(ours.into_handle());
        }
        self.zygote.channel.send(&Order::Start(Start {
            slot,
            peer,
            key,
            page: connection.page.try_clone()?,
            rest: arrival.to_bytes().to_vec(),
            handles,
        }))
    }

    /// Gives the zygote an order. A zygote that is gone needs none.
    pub fn order(&self, order: &Order) {
        if let Err(e) = self.zygote.channel.send(order) {
            log::debug!(pid:% = self.zygote.pid, error:% = e; "zygote out of reach");
        }
    }

    /// Hears from a keeper that the client of a gate has shown the hash. In
    /// multi-user mode the authenticator comes next, else a session.
    ///
    /// # Errors
    /// When the keeper is gone.
    pub fn hear_keeper(
        &self,
        index: usize,
        registry: &mut Registry,
    ) -> io::Result<Option<Entered>> {
        let keeper = self.keepers.get(index).ok_or(io::ErrorKind::WouldBlock)?;
        let admitted = keeper.channel.try_receive()?;
        let keeper::Admitted { tag, client, gate } =
            match admitted.ok_or(io::ErrorKind::UnexpectedEof)? {
                Ok(admitted) => admitted,
                Err(refusal) => {
                    registry.counters.refuse_handshake(refusal);
                    return Ok(None);
                }
            };
        let Some(connection) = registry.admit(tag, client) else {
            return Ok(None);
        };
        let peer = connection.client().ip();
        let protocol = connection.arrived.protocol.0;
        let channel = gate;
        if self
            .protocols
            .get(protocol)
            .is_ok_and(Protocol::has_own_accounts)
        {
            let gate = AskingGate { tag, peer, channel };
            return Ok(Some(Entered::Elsewhere(protocol, gate)));
        }
        if !self.multi_user {
            return Ok(Some(Entered::Session(Admission {
                slot: tag.slot,
                login: self.logins[0].clone(),
                gate: channel,
                certificate: false,
                protocol,
            })));
        }
        if let Some(authenticator) = &self.authenticator {
            let gate = AskingGate { tag, peer, channel };
            if let Err(e) = authenticator.channel.send(&Some(gate)) {
                log::debug!(pid:% = authenticator.pid, error:% = e; "authenticator out of reach");
            }
        }
        Ok(None)
    }

    /// Hears from the authenticator that a password or a certificate has fitted.
    ///
    /// # Errors
    /// When the authenticator is gone.
    pub fn hear_authenticator(&self, registry: &mut Registry) -> io::Result<Option<Admission>> {
        let authenticator = self
            .authenticator
            .as_ref()
            .ok_or(io::ErrorKind::NotConnected)?;
        let outcome = authenticator.channel.try_receive()?;
        let authenticator::Admitted {
            tag,
            account,
            certificate,
            gate,
        } = match outcome.ok_or(io::ErrorKind::UnexpectedEof)? {
            Ok(admitted) => admitted,
            Err(failure) => {
                registry.counters.fail_login(failure);
                return Ok(None);
            }
        };
        let known = registry.of(tag, Stage::Admitted);
        let known = known.filter(|connection| connection.session.is_none());
        let login = usize::try_from(account)
            .ok()
            .and_then(|account| self.logins.get(account));
        Ok(known.zip(login).map(|(known, login)| Admission {
            slot: tag.slot,
            login: login.clone(),
            gate,
            certificate,
            protocol: known.arrived.protocol.0,
        }))
    }

    /// Takes no more connections; the processes end with the last gate.
    pub fn retire(&mut self) {
        self.order(&Order::Retire);
        if let Some(helpers) = &mut self.proxy {
            helpers.retire();
        }
        for keeper in &self.keepers {
            let _ = keeper.channel.send(&None);
        }
    }

    /// Ends its processes at once.
    pub fn end(&self) {
        self.order(&Order::Kill);
        let keepers = self.keepers.iter().map(|keeper| keeper.pid);
        let authenticator = self.authenticator.iter().map(|helper| helper.pid);
        // It ends with the authenticator, which may not have started.
        let pam = self.helpers.iter().filter(|(_, name)| *name == "pam");
        let pam = pam.map(|(pid, _)| *pid);
        let forkers = self.launcher.iter().chain([&self.zygote]);
        let forkers = forkers.map(|helper| helper.pid);
        for pid in keepers.chain(authenticator).chain(pam).chain(forkers) {
            let _ = kill(pid, Signal::SIGKILL);
        }
        if let Some(helpers) = &self.proxy {
            helpers.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::admission::Limits;
    use crate::ipc::Pipe;
    use crate::users::Identity;

    fn helper<S, R>() -> (Helper<S, R>, Pipe<R, S>) {
        let (channel, theirs) = crate::ipc::pipe::pair().expect("pair");
        let pid = Pid::from_raw(1);
        (Helper { pid, channel }, theirs)
    }

    type Keepers = Pipe<keeper::Outcome, Option<keeper::NewGate>>;
    type Authenticators = Pipe<authenticator::Outcome, Option<authenticator::Gate>>;

    /// One whose clients log in, with its keeper and its authenticator.
    fn generation(multi_user: bool) -> (Generation, Keepers, Authenticators) {
        let ((zygote, _), (keeper, keepers)) = (helper(), helper());
        let (authenticator, authenticators) = helper();
        let identity = Identity::own();
        let login = Login::unlimited("ann".to_owned(), identity, String::new());
        let generation = Generation {
            zygote,
            keepers: vec![keeper],
            authenticator: Some(authenticator),
            protocols: Protocols::default(),
            multi_user,
            jail: false,
            logins: vec![login],
            launcher: None,
            launcher_pid: None,
            quota: None,
            helpers: Vec::new(),
            proxy: None,
            turn: 0,
        };
        (generation, keepers, authenticators)
    }

    fn gate() -> GatePipe {
        crate::ipc::pipe::pair().expect("pair").0
    }

    fn has_hash(keeper: &Keepers, tag: Tag) {
        let client = "192.0.2.1:7".parse().expect("address");
        let gate = gate();
        let admitted = keeper::Admitted { tag, client, gate };
        keeper.send(&Ok(admitted)).expect("send");
    }

    fn has_password(authenticator: &Authenticators, tag: Tag, account: u32) {
        let admitted = authenticator::Admitted {
            tag,
            account,
            certificate: false,
            gate: gate(),
        };
        authenticator.send(&Ok(admitted)).expect("send");
    }

    #[test]
    fn a_session_needs_the_hash_and_where_clients_log_in_a_password_of_an_account() {
        let limits = Limits {
            unauthenticated: 9,
            ..Limits::default()
        };
        let mut registry = Registry::new(2, limits).expect("registry");
        let mut take = |key| {
            let arrived = Arrived {
                peer: "127.0.0.1:1".parse().expect("address"),
                local: "127.0.0.1:10345".parse().expect("address"),
                key,
                protocol: (0, "tf"),
                zygote: Pid::from_raw(1),
                relay: None,
            };
            Tag::of(registry.take(arrived, 0).expect("slot"), key)
        };
        let (first, second) = (take([1; 16]), take([2; 16]));
        let (single, keeper, _) = generation(false);
        has_hash(&keeper, first);
        let admission = single.hear_keeper(0, &mut registry).expect("keeper");
        let Some(Entered::Session(admission)) = admission else {
            panic!("a session");
        };
        assert_eq!(admission.slot, first.slot);
        has_hash(&keeper, first);
        let again = single.hear_keeper(0, &mut registry).expect("keeper");
        assert!(again.is_none(), "twice");

        let (multi, keeper, authenticator) = generation(true);
        has_password(&authenticator, second, 0);
        let early = multi
            .hear_authenticator(&mut registry)
            .expect("authenticator");
        assert!(early.is_none(), "before the hash");
        has_hash(&keeper, second);
        let admission = multi.hear_keeper(0, &mut registry).expect("keeper");
        assert!(admission.is_none(), "no password yet");
        for (account, is_fine) in [(1, false), (0, true)] {
            has_password(&authenticator, second, account);
            let heard = multi
                .hear_authenticator(&mut registry)
                .expect("authenticator");
            assert_eq!(heard.is_some(), is_fine);
        }
        registry.launch(second.slot, Pid::from_raw(2), "ann", false);
        has_password(&authenticator, second, 0);
        let heard = multi
            .hear_authenticator(&mut registry)
            .expect("authenticator");
        assert!(heard.is_none(), "it has a session");
    }
}
