//! A generation: the helper processes of one reading of the configuration,
//! and their reports to the daemon. A reload starts a new one; the old one ends
//! with its last gate.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::helpers::{
    Authenticator, Keeper, shared_login, start_authenticator, start_keeper, start_launcher,
    start_zygote,
};
use super::memory::Shared;
use crate::config::{Config, Mode as Users};
use crate::daemon::helpers::zygote::Arrival;
use crate::daemon::helpers::{authenticator, keeper};
use crate::daemon::protocols::Protocols;
use crate::ipc::Helper;
use crate::ipc::channel::{Channel, pair};
use crate::ipc::codec::Encode;
use crate::ipc::orders::{Ended, Order, Start};
use crate::ipc::tag::Tag;
use crate::proxy;
use crate::sandbox::Sandbox;
use crate::sandbox::confinement::Confinement;
use crate::session::login::Steps;
use crate::session::protocol::Protocol;
use crate::users::{Identity, Login};

/// The most keepers; more than this many RSA operations at once help nobody.
const MAX_KEEPERS: usize = 8;

/// The processes that serve one configuration.
#[derive(Debug)]
pub struct Generation {
    /// Forks the gates.
    pub zygote: Helper<Order, Ended>,
    /// Hold the key, asked in turn.
    pub keepers: Vec<Keeper>,
    /// Checks passwords, in multi-user mode.
    pub authenticator: Option<Authenticator>,
    /// The gates it serves, by slot.
    pub gates: HashMap<u32, Gate>,
    /// What clients speak.
    protocols: Protocols,
    /// Whether clients log in.
    pub multi_user: bool,
    /// The accounts, in the order of the users file; where nobody logs in, the
    /// one that all clients share.
    logins: Vec<Login>,
    /// Forks the sessions behind LOGIN or INJAIL, until the daemon takes it on.
    pub launcher: Option<Helper<Order, Ended>>,
    /// The process of that.
    pub launcher_pid: Option<Pid>,
    /// The most bytes beneath the root.
    pub quota: Option<u64>,
    /// Those beside the zygote, as long as they have not ended: the keepers and
    /// the authenticator, or a proxy's.
    pub helpers: Vec<Pid>,
    /// The processes of a proxy, which has relays in place of gates.
    proxy: Option<proxy::Helpers>,
    turn: usize,
}

/// A gate, as the daemon knows it.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    /// The mark of its connection.
    mark: u64,
    /// The number of its protocol.
    protocol: u8,
    /// Whether its client knows what everybody has to know.
    is_admitted: bool,
}

/// A channel to a gate whose client is to have a session.
pub struct Admission {
    /// The gate's slot.
    pub slot: u32,
    /// Whom the session is for.
    pub login: Login,
    /// The channel.
    pub gate: Channel,
    /// Whether a certificate has logged it in.
    pub certificate: bool,
    /// The number of its protocol.
    pub protocol: u8,
}

impl Generation {
    /// Starts the processes for a configuration. `identity` is taken by all
    /// of them; `None` when this process may not take another. A proxy relays
    /// what comes to the sockets `udp`, too.
    ///
    /// # Errors
    /// One line that says what could not be started and why; what had been
    /// started is ended.
    pub fn start(
        config: &Config,
        identity: Option<&Identity>,
        memory: &Shared<'_>,
        sandbox: &Sandbox,
        udp: &[BorrowedFd<'_>],
    ) -> Result<Generation, String> {
        let shared = shared_login(config, identity);
        if let Some(proxy) = &config.tf.proxy {
            let (forker, helpers) =
                proxy::start(config, proxy, identity, memory.slots.as_fd(), sandbox, udp)?;
            let mut generation = Generation::of(config, forker, shared);
            generation.helpers.clone_from(&helpers.pids);
            generation.proxy = Some(helpers);
            return Ok(generation);
        }
        let confinement = Confinement::new(identity, sandbox)?;
        let zygote = start_zygote(config, &confinement, memory, &shared.name)?;
        let mut generation = Generation::of(config, zygote, shared);
        if generation.multi_user {
            match start_authenticator(config, &confinement) {
                Ok((authenticator, logins)) => {
                    generation.authenticator = Some(authenticator);
                    generation.logins = logins;
                }
                Err(e) => {
                    generation.end();
                    return Err(e);
                }
            }
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..cores.min(MAX_KEEPERS) {
            match start_keeper(config, &confinement, memory) {
                Ok(keeper) => generation.keepers.push(keeper),
                Err(e) => {
                    generation.end();
                    return Err(e);
                }
            }
        }
        let keepers = generation.keepers.iter().map(|keeper| keeper.pid);
        let authenticator = generation.authenticator.iter().map(|helper| helper.pid);
        generation.helpers = keepers.chain(authenticator).collect();
        if Steps::of(config) != Steps::NONE {
            match start_launcher(config, &confinement, memory) {
                Ok(launcher) => {
                    generation.launcher_pid = Some(launcher.pid);
                    generation.launcher = Some(launcher);
                }
                Err(e) => {
                    generation.end();
                    return Err(e);
                }
            }
        }
        Ok(generation)
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
    fn of(config: &Config, zygote: Helper<Order, Ended>, shared: Login) -> Generation {
        Generation {
            zygote,
            keepers: Vec::new(),
            authenticator: None,
            gates: HashMap::new(),
            protocols: Protocols::of(config),
            multi_user: config.server.mode == Users::MultiUser,
            logins: vec![shared],
            launcher: None,
            launcher_pid: None,
            quota: config.server.quota,
            helpers: Vec::new(),
            proxy: None,
            turn: 0,
        }
    }

    /// Whether sessions of this protocol have data connections.
    pub fn has_data_connections(&self, protocol: u8) -> bool {
        let protocol = self.protocols.get(protocol);
        protocol.is_ok_and(Protocol::has_data_connections)
    }

    /// Whether anybody has a quota.
    pub fn has_quotas(&self) -> bool {
        self.quota.is_some() || self.logins.iter().any(|login| login.quota.is_some())
    }

    /// Passes a connection on to the zygote, with its socket and where it
    /// arrived, and with a channel to a keeper where a gate is to be forked.
    pub fn pass_on(
        &mut self,
        slot: u32,
        peer: SocketAddr,
        key: [u8; 16],
        (socket, arrival): (OwnedFd, Arrival),
    ) -> io::Result<()> {
        let tag = Tag::of(slot, key);
        let mut handles = vec![socket];
        if self.proxy.is_none() {
            let (ours, theirs) = pair()?;
            self.turn = self.turn.wrapping_add(1);
            let keeper = self.keepers.get(self.turn % self.keepers.len().max(1));
            let keeper = keeper.ok_or(io::ErrorKind::NotConnected)?;
            keeper.channel.send(&Some(keeper::NewGate {
                tag,
                tls: arrival.tls,
                is_open: !self.protocols.get(arrival.protocol)?.has_shared_secret(),
                channel: theirs.into(),
            }))?;
            handles.push(ours.into_handle());
        }
        self.zygote.channel.send(&Order::Start(Start {
            slot,
            peer,
            key,
            rest: arrival.to_bytes().to_vec(),
            handles,
        }))?;
        let gate = Gate {
            mark: tag.mark,
            protocol: arrival.protocol,
            is_admitted: false,
        };
        self.gates.insert(slot, gate);
        Ok(())
    }

    /// Gives the zygote an order. A zygote that is gone needs none.
    pub fn order(&self, order: &Order) {
        if let Err(e) = self.zygote.channel.send(order) {
            log::debug!("zygote out of reach pid={} error=\"{e}\"", self.zygote.pid);
        }
    }

    /// Hears from a keeper that the client of a gate has shown the hash. In
    /// multi-user mode the authenticator comes next, else a session.
    ///
    /// # Errors
    /// When the keeper is gone.
    pub fn hear_keeper(
        &mut self,
        index: usize,
        mut address_of: impl FnMut(u32) -> Option<IpAddr>,
    ) -> io::Result<Option<Admission>> {
        let keeper = self.keepers.get(index).ok_or(io::ErrorKind::WouldBlock)?;
        let admitted = keeper.channel.try_receive()?;
        let keeper::Admitted { tag, gate } = admitted.ok_or(io::ErrorKind::UnexpectedEof)?;
        let slot = tag.slot;
        let known = self
            .gates
            .get_mut(&slot)
            .filter(|gate| gate.mark == tag.mark);
        let Some(known) = known.filter(|gate| !gate.is_admitted) else {
            return Ok(None);
        };
        known.is_admitted = true;
        let protocol = known.protocol;
        if !self.multi_user {
            let login = self.logins[0].clone();
            return Ok(Some(Admission {
                slot,
                login,
                gate,
                certificate: false,
                protocol,
            }));
        }
        if let (Some(authenticator), Some(peer)) = (&self.authenticator, address_of(slot)) {
            let gate = authenticator::Gate {
                tag,
                peer,
                channel: gate,
            };
            if let Err(e) = authenticator.channel.send(&Some(gate)) {
                log::debug!(
                    "authenticator out of reach pid={} error=\"{e}\"",
                    authenticator.pid
                );
            }
        }
        Ok(None)
    }

    /// Hears from the authenticator that a password or a certificate has fitted.
    ///
    /// # Errors
    /// When the authenticator is gone.
    pub fn hear_authenticator(&self) -> io::Result<Option<Admission>> {
        let authenticator = self
            .authenticator
            .as_ref()
            .ok_or(io::ErrorKind::NotConnected)?;
        let admitted = authenticator.channel.try_receive()?;
        let authenticator::Admitted {
            tag,
            account,
            certificate,
            gate,
        } = admitted.ok_or(io::ErrorKind::UnexpectedEof)?;
        let known = self.gates.get(&tag.slot);
        let known = known.filter(|gate| gate.mark == tag.mark && gate.is_admitted);
        let login = usize::try_from(account)
            .ok()
            .and_then(|account| self.logins.get(account));
        Ok(known.zip(login).map(|(known, login)| Admission {
            slot: tag.slot,
            login: login.clone(),
            gate,
            certificate,
            protocol: known.protocol,
        }))
    }

    /// Forgets a gate that has ended; whether there was one.
    pub fn forget(&mut self, slot: u32) -> bool {
        self.gates.remove(&slot).is_some()
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
        let forkers = self.launcher.iter().chain([&self.zygote]);
        let forkers = forkers.map(|helper| helper.pid);
        for pid in keepers.chain(authenticator).chain(forkers) {
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
    use crate::ipc::Pipe;
    use crate::users::Rights;

    fn helper<S, R>() -> (Helper<S, R>, Pipe<R, S>) {
        let (channel, theirs) = crate::ipc::pipe::pair().expect("pair");
        let pid = Pid::from_raw(1);
        (Helper { pid, channel }, theirs)
    }

    type Keepers = Pipe<keeper::Admitted, Option<keeper::NewGate>>;
    type Authenticators = Pipe<authenticator::Admitted, Option<authenticator::Gate>>;

    /// One whose clients log in, with its keeper and its authenticator.
    fn generation(multi_user: bool) -> (Generation, Keepers, Authenticators) {
        let ((zygote, _), (keeper, keepers)) = (helper(), helper());
        let (authenticator, authenticators) = helper();
        let identity = Identity::own();
        let login = Login {
            name: "ann".to_owned(),
            identity,
            home: String::new(),
            rights: Rights::Full,
            max_sessions: None,
            rate: None,
            quota: None,
        };
        let generation = Generation {
            zygote,
            keepers: vec![keeper],
            authenticator: Some(authenticator),
            gates: HashMap::new(),
            protocols: Protocols::default(),
            multi_user,
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

    fn gate_of(tag: Tag) -> Gate {
        Gate {
            mark: tag.mark,
            protocol: 0,
            is_admitted: false,
        }
    }

    fn gate() -> Channel {
        pair().expect("pair").0
    }

    fn has_hash(keeper: &Keepers, tag: Tag) {
        let admitted = keeper::Admitted { tag, gate: gate() };
        keeper.send(&admitted).expect("send");
    }

    fn has_password(authenticator: &Authenticators, tag: Tag, account: u32) {
        let admitted = authenticator::Admitted {
            tag,
            account,
            certificate: false,
            gate: gate(),
        };
        authenticator.send(&admitted).expect("send");
    }

    #[test]
    fn what_comes_late_of_a_connection_does_not_count_for_the_next_in_its_slot() {
        let address = |_| Some(IpAddr::from([127, 0, 0, 1]));
        let (gone, here) = (Tag::of(3, [1; 16]), Tag::of(3, [2; 16]));
        let (mut single, keeper, _) = generation(false);
        single.gates.insert(here.slot, gate_of(here));
        has_hash(&keeper, gone);
        assert!(single.hear_keeper(0, address).expect("keeper").is_none());
        has_hash(&keeper, here);
        let admission = single
            .hear_keeper(0, address)
            .expect("keeper")
            .expect("a session");
        assert_eq!(admission.slot, 3);
        has_hash(&keeper, here);
        assert!(
            single.hear_keeper(0, address).expect("keeper").is_none(),
            "twice"
        );

        let (mut generation, keeper, authenticator) = generation(true);
        generation.gates.insert(here.slot, gate_of(here));
        has_password(&authenticator, here, 0);
        assert!(
            generation
                .hear_authenticator()
                .expect("authenticator")
                .is_none(),
            "before the hash"
        );
        has_hash(&keeper, here);
        assert!(
            generation
                .hear_keeper(0, address)
                .expect("keeper")
                .is_none()
        );
        for (tag, account, is_fine) in [(gone, 0, false), (here, 1, false), (here, 0, true)] {
            has_password(&authenticator, tag, account);
            assert_eq!(
                generation
                    .hear_authenticator()
                    .expect("authenticator")
                    .is_some(),
                is_fine
            );
        }
        assert!(generation.forget(3) && !generation.forget(3));
        has_password(&authenticator, here, 0);
        assert!(
            generation
                .hear_authenticator()
                .expect("authenticator")
                .is_none(),
            "it has ended"
        );
    }
}
