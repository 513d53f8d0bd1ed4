//! The table of connections: one entry for each, with all that the daemon knows
//! of it. Only the daemon has it. It learns from the daemon's own processes;
//! nothing that a gate or a session could write decides who is in it, as whom,
//! and in which process.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Instant;

use nix::unistd::Pid;

use super::admission::{Full, Limits, Occupancy};
use super::counters::Counters;
use crate::ipc::orders::{Ended, News, Tag, mark};
use crate::session::keys::{KEY, Keys};
use crate::session::slots::Page;
use crate::sys::memory::shared_pages;

/// The slots and their connections.
#[derive(Debug)]
pub struct Registry {
    free: Vec<u32>,
    connections: HashMap<u32, Connection>,
    occupancy: Occupancy,
    keys: Keys,
    /// What was counted.
    pub counters: Counters,
    /// The slots whose session has ended since somebody looked, if anybody does.
    pub ended: Option<Vec<u32>>,
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    /// What was known when it came.
    pub arrived: Arrived,
    /// The client, if a proxy brought the connection.
    client: Option<SocketAddr>,
    /// When it came.
    pub since: Instant,
    /// How far its login is.
    pub stage: Stage,
    /// Whom it is served as, once that is known.
    pub user: Option<String>,
    /// The gate or relay, until it has ended.
    pub gate: Option<Process>,
    /// The session.
    pub session: Option<Process>,
    /// What its processes publish.
    pub page: Page,
    /// The clock that its session shares with those of its account.
    clock: Option<Rc<OwnedFd>>,
}

/// Why a connection gets no slot.
#[derive(Debug, thiserror::Error)]
pub enum NoSlot {
    /// A limit is reached.
    #[error(transparent)]
    Full(#[from] Full),
    /// The system has no page for it.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// What is known of a connection when it comes.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// Where it comes from.
    pub peer: SocketAddr,
    /// The address of this machine that it has come to.
    pub local: SocketAddr,
    /// Its unguessable key.
    pub key: [u8; KEY],
    /// The number of its protocol, and the name.
    pub protocol: (u8, &'static str),
    /// The zygote that forks its gate or relay.
    pub zygote: Pid,
    /// The user of its relay, for a proxy.
    pub relay: Option<String>,
}

/// How far a login is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing is known of the client.
    Gate,
    /// It has shown what its protocol asks of everybody.
    Admitted,
    /// Its login is complete.
    Session,
}

/// A process that serves a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// The fork server that has forked it.
    pub parent: Pid,
    /// The process, once that is known.
    pub pid: Option<u32>,
}

impl Process {
    fn of(parent: Pid) -> Process {
        Process { parent, pid: None }
    }
}

impl Connection {
    /// The client: whom a trusted proxy has brought, else the peer.
    pub fn client(&self) -> SocketAddr {
        self.client.unwrap_or(self.arrived.peer)
    }

    /// The process that serves it.
    pub fn process(&self) -> Option<u32> {
        self.session.or(self.gate)?.pid
    }

    /// The fork servers of its processes.
    pub fn parents(&self) -> impl Iterator<Item = Pid> {
        let processes = [self.gate, self.session].into_iter().flatten();
        processes.map(|process| process.parent)
    }

    /// Whether its login is complete; a relay's is once it is connected.
    pub fn is_in(&self) -> bool {
        self.is_in_by(&self.page)
    }

    /// The same for a process that reads the page by another descriptor.
    pub fn is_in_by(&self, page: &Page) -> bool {
        self.stage == Stage::Session || self.arrived.relay.is_some() && page.is_connected()
    }
}

impl Registry {
    /// A table of `slots` free slots.
    pub fn new(slots: u32, limits: Limits) -> io::Result<Registry> {
        Ok(Registry {
            free: (0..slots).rev().collect(),
            connections: HashMap::new(),
            occupancy: Occupancy::new(limits),
            keys: Keys::new(slots)?,
            counters: Counters::default(),
            ended: None,
        })
    }

    /// The memory with the keys of connections.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Sets the limits from now on.
    pub fn limit(&mut self, limits: Limits) {
        self.occupancy.limit(limits);
    }

    /// Whether a connection from there may be refused, since so many are not
    /// authenticated.
    pub fn may_refuse(&self, address: IpAddr) -> bool {
        self.occupancy.may_refuse(address)
    }

    /// Takes a slot for a connection; `lot` is a random number.
    ///
    /// # Errors
    /// Which limit is reached, or the system's; nothing changes then.
    pub fn take(&mut self, arrived: Arrived, lot: u32) -> Result<u32, NoSlot> {
        let taken = self.try_take(arrived, lot);
        match taken {
            Ok(_) => self.counters.connections += 1,
            Err(NoSlot::Full(full)) => self.counters.refuse(full),
            Err(NoSlot::System(_)) => {}
        }
        taken
    }

    fn try_take(&mut self, arrived: Arrived, lot: u32) -> Result<u32, NoSlot> {
        let (address, key) = (arrived.peer.ip(), arrived.key);
        if self.occupancy.is_scan_due(address) {
            let slots: Vec<u32> = self.connections.keys().copied().collect();
            for slot in slots {
                if self.get(slot).is_some_and(Connection::is_in) {
                    self.move_to(slot, Stage::Session);
                }
            }
        }
        self.occupancy.check(address, lot)?;
        let page = Page::new()?;
        let slot = self.free.pop().ok_or(Full::InAll)?;
        self.occupancy.come(address);
        let connection = Connection {
            client: None,
            since: Instant::now(),
            stage: Stage::Gate,
            user: arrived.relay.clone(),
            gate: Some(Process::of(arrived.zygote)),
            session: None,
            page,
            clock: None,
            arrived,
        };
        self.connections.insert(slot, connection);
        self.publish(slot, key);
        Ok(slot)
    }

    /// Gives up the slot of a connection that gets no process.
    pub fn give_back(&mut self, slot: u32) {
        self.close(slot);
    }

    /// A keeper's word: this client has shown what its protocol asks of everybody.
    /// `client` counts if a proxy brought the connection. `None` for another
    /// connection than the slot's, and for one that was admitted before.
    pub fn admit(&mut self, tag: Tag, client: SocketAddr) -> Option<&Connection> {
        self.of(tag, Stage::Gate)?;
        let connection = self.connections.get_mut(&tag.slot)?;
        if self.occupancy.is_proxy(connection.arrived.peer.ip()) {
            connection.client = Some(client);
        }
        self.move_to(tag.slot, Stage::Admitted);
        self.get(tag.slot)
    }

    /// The connection of a message, if it is still the slot's and in this stage.
    pub fn of(&self, tag: Tag, stage: Stage) -> Option<&Connection> {
        let connection = self.get(tag.slot)?;
        let fits = connection.stage == stage && mark(connection.arrived.key) == tag.mark;
        fits.then_some(connection)
    }

    /// The clock by which the sessions of a user keep their rate together, for one
    /// more in this slot. It lasts as long as one of them does.
    ///
    /// # Errors
    /// The system's.
    pub fn clock(&mut self, slot: u32, user: &str) -> io::Result<OwnedFd> {
        let is_one = |of: &&Connection| of.session.is_some() && of.user.as_deref() == Some(user);
        let mut others = self.connections.values().filter(is_one);
        let clock = match others.find_map(|of| of.clock.clone()) {
            Some(clock) => clock,
            None => Rc::new(shared_pages("tfd-rate", 1)?),
        };
        let handle = clock.try_clone()?;
        if let Some(connection) = self.connections.get_mut(&slot) {
            connection.clock = Some(clock);
        }
        Ok(handle)
    }

    /// Takes note that a launcher starts the session of a connection. Unless the
    /// login is complete by that, it is once the gate has ended.
    pub fn launch(&mut self, slot: u32, launcher: Pid, user: &str, is_complete: bool) {
        self.counters.accounts.meet(user);
        if let Some(connection) = self.connections.get_mut(&slot) {
            connection.user = Some(user.to_owned());
            connection.session = Some(Process::of(launcher));
        }
        if is_complete {
            self.move_to(slot, Stage::Session);
        }
    }

    fn move_to(&mut self, slot: u32, stage: Stage) {
        let Some(connection) = self.connections.get_mut(&slot) else {
            return;
        };
        let address = connection.arrived.peer.ip();
        let before = std::mem::replace(&mut connection.stage, stage);
        match (before == Stage::Session, stage == Stage::Session) {
            (false, true) => self.occupancy.authenticated(address),
            (true, false) => self.occupancy.not_authenticated(address),
            _ => {}
        }
    }

    /// Takes news from a fork server.
    pub fn hear(&mut self, parent: Pid, news: News) {
        let slot = match news {
            News::Begun { slot, .. } | News::Ended(Ended { slot, .. }) => slot,
        };
        let Some(connection) = self.connections.get_mut(&slot) else {
            return;
        };
        let is_session = connection.session.is_some_and(|of| of.parent == parent);
        let processes = [&mut connection.gate, &mut connection.session];
        let is_its = |of: &&mut Option<Process>| of.is_some_and(|of| of.parent == parent);
        let Some(process) = processes.into_iter().find(is_its) else {
            return;
        };
        match news {
            News::Begun { pid, .. } => {
                *process = Some(Process {
                    parent,
                    pid: Some(pid),
                });
            }
            News::Ended(Ended { orderly, .. }) => {
                *process = None;
                self.counters.killed += u64::from(!orderly);
                if let Some(ended) = self.ended.as_mut().filter(|_| is_session) {
                    ended.push(slot);
                }
                self.ended(slot);
            }
        }
    }

    /// Takes note that a fork server has ended, and all its children.
    pub fn parent_gone(&mut self, parent: Pid) {
        let of = |connection: &Connection| connection.parents().any(|of| of == parent);
        let all = self.connections.iter().filter(|(_, one)| of(one));
        let slots: Vec<u32> = all.map(|(slot, _)| *slot).collect();
        for slot in slots {
            self.hear(
                parent,
                News::Ended(Ended {
                    slot,
                    orderly: false,
                    failed_forks: 0,
                }),
            );
        }
    }

    /// A process of a connection has ended.
    fn ended(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(&slot) else {
            return;
        };
        match (connection.gate.is_some(), connection.session.is_some()) {
            (false, false) => self.close(slot),
            (false, true) => self.move_to(slot, Stage::Session),
            // The gate may ask again for a login that came to nothing.
            _ => {
                connection.user = None;
                self.move_to(slot, Stage::Admitted);
            }
        }
    }

    fn close(&mut self, slot: u32) {
        let Some(connection) = self.connections.remove(&slot) else {
            return;
        };
        let is_in = connection.stage == Stage::Session;
        self.occupancy.go(connection.arrived.peer.ip(), !is_in);
        let activity = connection.page.activity();
        let (protocol, account) = (connection.arrived.protocol.1, connection.user.as_deref());
        self.counters.add(protocol, account, &activity, 0);
        self.free.push(slot);
        self.publish(slot, [0; KEY]);
    }

    /// Publishes the key that a slot has now.
    fn publish(&self, slot: u32, key: [u8; KEY]) {
        let published = self
            .keys
            .set(slot, key)
            .and_then(|()| self.keys.count(self.connections.len()));
        if let Err(e) = published {
            log::error!(slot, error:% = e; "key not published");
        }
    }

    /// All connections, by slot.
    pub fn all(&self) -> Vec<(u32, &Connection)> {
        let all = self.connections.iter();
        let mut all: Vec<_> = all.map(|(slot, of)| (*slot, of)).collect();
        all.sort_by_key(|(slot, _)| *slot);
        all
    }

    /// The connection in a slot.
    pub fn get(&self, slot: u32) -> Option<&Connection> {
        self.connections.get(&slot)
    }

    /// The page of the connection in a slot, for reading.
    pub fn page_reader(&self, slot: u32) -> Option<OwnedFd> {
        self.get(slot)?.page.reader().ok()
    }

    /// How many sessions of a user launchers have.
    pub fn sessions_of(&self, user: &str) -> usize {
        let is_one = |of: &&Connection| of.session.is_some() && of.user.as_deref() == Some(user);
        self.connections.values().filter(is_one).count()
    }

    /// How many there may be in all.
    pub fn slots(&self) -> u32 {
        u32::try_from(self.free.len() + self.connections.len()).unwrap_or(u32::MAX)
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZYGOTE: Pid = Pid::from_raw(10);
    const LAUNCHER: Pid = Pid::from_raw(20);

    fn registry(slots: u32) -> Registry {
        let proxies = vec!["127.0.0.1".parse().expect("network")];
        let limits = Limits {
            unauthenticated: 100,
            proxies,
            ..Limits::default()
        };
        Registry::new(slots, limits).expect("registry")
    }

    fn take(registry: &mut Registry, from: &str, key: u8) -> Result<u32, NoSlot> {
        let arrived = Arrived {
            peer: from.parse().expect("address"),
            local: "127.0.0.1:10345".parse().expect("address"),
            key: [key; KEY],
            protocol: (0, "tf"),
            zygote: ZYGOTE,
            relay: None,
        };
        registry.take(arrived, 0)
    }

    fn ended(slot: u32, orderly: bool) -> News {
        News::Ended(Ended {
            slot,
            orderly,
            failed_forks: 0,
        })
    }

    #[test]
    fn a_slot_is_one_connections_until_its_last_process_has_ended() {
        let mut all = registry(2);
        let first = take(&mut all, "127.0.0.1:1", 1).expect("slot");
        let second = take(&mut all, "127.0.0.1:2", 2).expect("slot");
        assert_ne!(first, second);
        let refused = take(&mut all, "127.0.0.1:3", 3);
        assert!(matches!(refused, Err(NoSlot::Full(Full::InAll))));
        let (slot, pid) = (first, 11);
        all.hear(ZYGOTE, News::Begun { slot, pid });
        assert_eq!(all.get(first).and_then(Connection::process), Some(11));
        all.launch(first, LAUNCHER, "ann", true);
        assert_eq!(all.get(first).and_then(Connection::process), None);
        let pid = 21;
        all.hear(LAUNCHER, News::Begun { slot, pid });
        all.hear(ZYGOTE, ended(first, true));
        all.hear(ZYGOTE, ended(first, true));
        let connection = all.get(first).expect("still there");
        assert_eq!(connection.process(), Some(21));
        assert_eq!(connection.parents().collect::<Vec<_>>(), [LAUNCHER]);
        assert_eq!((all.sessions_of("ann"), all.sessions_of("bob")), (1, 0));
        all.hear(LAUNCHER, ended(first, false));
        assert!(all.get(first).is_none() && all.len() == 1);
        let counted = &all.counters;
        assert_eq!((counted.connections, counted.killed), (2, 1));
        assert_eq!(counted.refused, [1, 0, 0, 0, 0]);
        assert_eq!(take(&mut all, "127.0.0.1:4", 4).expect("slot"), first);
        all.parent_gone(ZYGOTE);
        assert!(all.is_empty() && all.slots() == 2 && all.counters.killed == 3);
    }

    #[test]
    fn sessions_of_one_user_share_a_clock_as_long_as_one_lasts() {
        let mut all = registry(4);
        let begin = |all: &mut Registry, user: &str| {
            let slot = take(all, "127.0.0.1:1", 1).expect("slot");
            let clock = all.clock(slot, user).expect("clock");
            all.launch(slot, LAUNCHER, user, true);
            all.hear(ZYGOTE, ended(slot, true));
            (slot, rustix::fs::fstat(&clock).expect("stat").st_ino)
        };
        let (first, anns) = begin(&mut all, "ann");
        let (second, same) = begin(&mut all, "ann");
        let (_, bobs) = begin(&mut all, "bob");
        assert!(same == anns && bobs != anns);
        all.hear(LAUNCHER, ended(first, true));
        assert_eq!(begin(&mut all, "ann").1, anns);
        all.parent_gone(LAUNCHER);
        assert!(all.get(second).is_none() && begin(&mut all, "ann").1 != anns);
    }

    #[test]
    fn what_comes_late_of_a_connection_does_not_count_for_the_next_in_its_slot() {
        let client = "192.0.2.1:7".parse().expect("address");
        let mut all = registry(1);
        let slot = take(&mut all, "127.0.0.2:1", 2).expect("slot");
        let (gone, here) = (Tag::of(slot, [1; KEY]), Tag::of(slot, [2; KEY]));
        assert!(all.admit(gone, client).is_none());
        assert!(all.of(here, Stage::Admitted).is_none(), "before the hash");
        let admitted = all.admit(here, client).expect("admitted");
        assert_eq!(admitted.client(), admitted.arrived.peer, "not by a proxy");
        assert!(all.admit(here, client).is_none(), "twice");
        assert!(all.of(here, Stage::Admitted).is_some());
        assert!(all.of(gone, Stage::Admitted).is_none());
        all.hear(ZYGOTE, ended(slot, true));
        assert!(all.of(here, Stage::Admitted).is_none(), "it has ended");
        let slot = take(&mut all, "127.0.0.1:1", 3).expect("slot");
        let brought = all.admit(Tag::of(slot, [3; KEY]), client);
        assert_eq!(brought.map(Connection::client), Some(client));
    }

    #[test]
    fn a_login_is_complete_with_the_session_or_with_the_end_of_its_gate() {
        let client = "192.0.2.1:7".parse().expect("address");
        let mut all = registry(3);
        let stage = |all: &Registry, slot| all.get(slot).map(|of| of.stage);
        for is_complete in [true, false] {
            let slot = take(&mut all, "127.0.0.1:1", 1).expect("slot");
            all.admit(Tag::of(slot, [1; KEY]), client);
            all.launch(slot, LAUNCHER, "ann", is_complete);
            assert_eq!(stage(&all, slot) == Some(Stage::Session), is_complete);
            all.hear(ZYGOTE, ended(slot, true));
            assert_eq!(stage(&all, slot), Some(Stage::Session));
        }
        let slot = take(&mut all, "127.0.0.1:1", 1).expect("slot");
        all.admit(Tag::of(slot, [1; KEY]), client);
        all.launch(slot, LAUNCHER, "ann", true);
        all.hear(LAUNCHER, ended(slot, true));
        assert_eq!(stage(&all, slot), Some(Stage::Admitted), "another try");
        assert!(all.get(slot).is_some_and(|of| of.user.is_none()));
    }
}
