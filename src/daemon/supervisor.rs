//! The daemon's loop: one poll over listeners, signals and helper processes.

mod control;
mod losses;
mod reload;
mod shared;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use rustix::event::PollFlags;

use super::generation::{Admission, Entered, Generation};
use super::memory::Memory;
use super::notify::Notifier;
use super::registry::{Connection, NoSlot, Registry, Stage};
use super::sessions::{SessionHandles, Sessions};
use super::start::{
    FileStamp, limits, listen_on, raise_descriptor_limit, sandbox_for, say_ready, start_generation,
    start_memory, take_signals, udp_sockets, users_stamp,
};
use crate::config::Config;
use crate::daemon::helpers::control as counter;
use crate::daemon::helpers::control::Control;
use crate::daemon::helpers::dialer::{self, Dialer, NewSession};
use crate::daemon::helpers::logger::Log;
use crate::daemon::helpers::recount::Recount;
use crate::daemon::helpers::zygote::Arrival;
use crate::daemon::protocols::ProtocolHelpers;
use crate::daemon::shared::SharedState;
use crate::daemon::supervisor::losses::Repair;
use crate::ipc::Pipe;
use crate::ipc::orders::{Ended, MAX_FAILED_FORKS, News, Order};
use crate::ipc::poll::{Poll, left};
use crate::net::listen::Listener;
use crate::sandbox::Sandbox;
use crate::sandbox::confinement::spare_daemon;
use crate::session::dialer::{Answer, Request};
use crate::session::protocol::{Called, HelperContext, OwnLogin};
use crate::users::{Identities, Identity, Login};

/// Clients taken from one listener before the daemon looks elsewhere.
const ACCEPT_AT_ONCE: usize = 64;

/// How long the daemon accepts nobody after the system ran out of something.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// How long the process for uploads may take to end: its programs get 3 seconds.
const UPLOADS_END: Duration = Duration::from_secs(5);

/// The status for systemd while the daemon serves.
const SERVING: &str = "serving clients";

/// The same while helper processes that failed are not running again.
const REPAIRING: &str = "clients wait for helper processes: see the log,";

/// The daemon's state.
pub struct Supervisor<'a> {
    pub(super) path: PathBuf,
    pub(super) config: Config,
    pub(super) identities: Option<Identities>,
    signals: SignalFd,
    listeners: Vec<Listener>,
    control: Control,
    notifier: Notifier,
    log: &'a mut Log,
    registry: Registry,
    memory: Memory,
    recount: Recount,
    sandbox: Sandbox,
    /// The newest last.
    pub(super) generations: Vec<Generation>,
    sessions: Sessions,
    repair: Repair,
    accept_from: Instant,
    pub(super) stop: Option<Stop>,
    /// The users file as it was when it was last read.
    pub(super) users: Option<FileStamp>,
}

/// What the daemon waits for.
#[derive(Clone, Copy)]
enum Source {
    Signals,
    Control(counter::Source),
    /// A helper of a protocol.
    Pages(usize),
    Recount,
    /// The process at the store that several servers share.
    Shared,
    /// A generation's keeper.
    Keeper(usize, usize),
    Authenticator(usize),
    Zygote(usize),
    Launcher(usize),
    Listener(usize),
}

/// The daemon's end.
pub(super) struct Stop {
    kill_at: Instant,
    killed: bool,
}

impl<'a> Supervisor<'a> {
    /// Listens, on these sockets where they fit, and starts the helper
    /// processes.
    ///
    /// # Errors
    /// One line that says what could not be started and why; nothing runs
    /// then.
    pub fn start(
        path: &Path,
        config: Config,
        identities: Option<Identities>,
        passed: Vec<OwnedFd>,
        log: &'a mut Log,
    ) -> Result<Supervisor<'a>, String> {
        let signals = take_signals().map_err(|e| format!("signals: {e}"))?;
        let notifier = Notifier::from_environment();
        raise_descriptor_limit(&config);
        if identities.is_some() {
            spare_daemon();
        }
        let sandbox = sandbox_for(&config)?;
        log.start(identities.as_ref().map(|who| &who.helpers), &sandbox)?;
        let listeners = listen_on(&config, passed)?;
        let control = Control::open(&config)?;
        let users = users_stamp(&config);
        let mut registry = Registry::new(config.server.max_sessions, limits(&config))
            .map_err(|e| format!("shared memory: {e}"))?;
        let apart = config.server.metrics_accounts;
        registry.counters.accounts.limit(apart);
        registry.ended = config.server.shared_state.as_ref().map(|_| Vec::new());
        let all: Vec<&Listener> = listeners.iter().collect();
        let helper = identities.as_ref().map(|who| &who.helpers);
        let keys = registry.keys().as_fd();
        let clients = identities.as_ref().map(|who| &who.clients);
        let mut memory = start_memory(&config, &all, keys, (helper, clients), &sandbox)?;
        let generation =
            start_generation(&config, identities.as_ref(), &mut memory, &sandbox, &all)?;
        let (usage, wanted) = (&mut memory.usage, generation.has_quotas());
        let recount = Recount::start(&config, identities.as_ref(), &sandbox, usage, wanted)?;
        log_identities(identities.as_ref());
        listeners.iter().for_each(Listener::announce);
        say_ready(&config);
        let mut supervisor = Supervisor {
            path: path.to_owned(),
            config,
            identities,
            signals,
            listeners,
            control,
            notifier,
            log,
            registry,
            memory,
            recount,
            sandbox,
            generations: Vec::new(),
            sessions: Sessions::default(),
            repair: Repair::default(),
            accept_from: Instant::now(),
            stop: None,
            users,
        };
        supervisor.take_on(generation);
        supervisor.notifier.ready(SERVING);
        Ok(supervisor)
    }

    /// Serves until a signal ends the daemon and no client is left. The processes
    /// are ended then.
    ///
    /// # Errors
    /// The system's, when the daemon can't go on.
    pub fn run(mut self) -> io::Result<()> {
        let result = self.serve();
        for generation in &self.generations {
            generation.end();
        }
        self.sessions.order_all(&Order::Kill);
        // With the last way to it gone, the auditor writes what is left.
        self.memory.auditor = None;
        self.memory.helpers = ProtocolHelpers::default();
        self.memory.dialer = None;
        self.memory.shared = None;
        if let Some(uploads) = self.memory.uploads.take() {
            // It may be killed with the daemon once that has ended.
            uploads.service.end(UPLOADS_END);
        }
        log::info!("ended");
        result
    }

    fn serve(&mut self) -> io::Result<()> {
        loop {
            if let Some(stop) = &mut self.stop {
                if self.registry.is_empty() || stop.killed {
                    return Ok(());
                }
                if Instant::now() >= stop.kill_at {
                    log::warn!(count = self.registry.len(); "ending sessions that still run");
                    stop.killed = true;
                    self.order_all(&Order::Kill);
                    self.sessions.order_all(&Order::Kill);
                    continue;
                }
            }
            self.wait_and_act()?;
        }
    }

    /// One wait and what it brings.
    fn wait_and_act(&mut self) -> io::Result<()> {
        if self.stop.is_none() {
            self.count_if_due();
            let (config, identities) = (&self.config, self.identities.as_ref());
            let killed = self.registry.counters.killed;
            self.recount
                .sweep_if_due(config, identities, &self.sandbox, killed);
        }
        self.restart_services_if_due();
        self.share_if_due();
        self.restart_helpers_if_due();
        let helper = self.identities.as_ref().map(|who| &who.helpers);
        self.log.restart_if_due(helper, &self.sandbox);
        self.repair_if_due();
        let is_well =
            self.stop.is_some() || self.repair.is_pending() || !self.generations.is_empty();
        let clients = self.registry.len();
        let serving = if self.repair.is_pending() {
            REPAIRING
        } else {
            SERVING
        };
        self.notifier
            .alive(is_well, || format!("{serving} connections={clients}"));
        let ready = self.sources().wait(self.due().map(left))?;
        // From the last to the first: hearing a zygote or the signals may
        // take a generation out.
        for (source, _) in ready.into_iter().rev() {
            match source {
                Source::Listener(index) => self.accept_from(index),
                Source::Keeper(index, keeper) => self.hear_keeper(index, keeper),
                Source::Authenticator(index) => self.hear_authenticator(index),
                Source::Zygote(index) => self.hear_zygote(index),
                Source::Launcher(index) => self.hear_launcher(index),
                Source::Control(source) => self.hear_control(source),
                Source::Pages(index) => {
                    let page = |slot| self.registry.page_reader(slot);
                    self.memory.helpers.hear(index, &page);
                    self.hear_own_logins(index);
                    self.take_calls(index);
                }
                Source::Recount => self.hear_count(),
                Source::Shared => self.hear_shared(),
                Source::Signals => self.hear_signals()?,
            }
        }
        Ok(())
    }

    /// When something is to be done at the latest.
    fn due(&self) -> Option<Instant> {
        let until = match &self.stop {
            Some(stop) => Some(stop.kill_at),
            None if Instant::now() < self.accept_from => Some(self.accept_from),
            None => self.recount.due(),
        };
        let dialer = self.memory.dialer.as_ref();
        let dialer = dialer.and_then(|dialer| dialer.service.due());
        let uploads = self.memory.uploads.as_ref();
        let uploads = uploads.and_then(|uploads| uploads.service.due());
        let shared = self.memory.shared.as_ref();
        let shared = shared.and_then(|shared| shared.due(self.recount.counts()));
        let helpers = self.memory.helpers.due();
        let killed = self.registry.counters.killed;
        let sweep = self.recount.sweep_due(killed);
        let sweep = sweep.filter(|_| self.stop.is_none());
        let repair = self.repair.due().filter(|_| self.stop.is_none());
        [
            until,
            self.notifier.due(),
            dialer,
            uploads,
            shared,
            helpers,
            self.log.due(),
            sweep,
            repair,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// All that is waited for.
    fn sources(&self) -> Poll<'_, Source> {
        let mut poll = Poll::default();
        poll.read(Source::Signals, &self.signals);
        // Heard after the news, which it asks for.
        for (source, handle) in self.control.sources() {
            poll.add(Source::Control(source), handle, PollFlags::IN);
        }
        for (index, channel) in self.memory.helpers.channels() {
            poll.add(Source::Pages(index), channel, PollFlags::IN);
        }
        if let Some(channel) = self.memory.shared.as_ref().and_then(SharedState::channel) {
            poll.add(Source::Shared, channel, PollFlags::IN);
        }
        for (index, generation) in self.generations.iter().enumerate() {
            for (keeper, helper) in generation.keepers.iter().enumerate() {
                poll.read(Source::Keeper(index, keeper), &helper.channel);
            }
            if let Some(authenticator) = &generation.authenticator {
                poll.read(Source::Authenticator(index), &authenticator.channel);
            }
            poll.read(Source::Zygote(index), &generation.zygote.channel);
        }
        for (index, channel) in self.sessions.channels().enumerate() {
            poll.read(Source::Launcher(index), channel);
        }
        if let Some(channel) = self.recount.channel() {
            poll.read(Source::Recount, channel);
        }
        let serves = self.stop.is_none() && !self.repair.is_pending();
        if serves && Instant::now() >= self.accept_from {
            for (index, listener) in self.listeners.iter().enumerate() {
                poll.read(Source::Listener(index), listener);
            }
        }
        poll
    }

    /// Takes news of clients that have shown the hash.
    fn hear_keeper(&mut self, index: usize, keeper: usize) {
        loop {
            let Some(generation) = self.generations.get_mut(index) else {
                return;
            };
            match generation.hear_keeper(keeper, &mut self.registry) {
                Ok(Some(Entered::Session(admission))) => self.start_session(index, admission),
                Ok(Some(Entered::Elsewhere(protocol, gate))) => {
                    // A gate whose channel is dropped gives up.
                    if let Err(e) = self.memory.helpers.admit(protocol, gate) {
                        log::error!(error:% = e; "nobody decides about a login");
                    }
                }
                Ok(None) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                // A keeper that ended unasked is dealt with when it is reaped.
                Err(_) => return drop(generation.keepers.remove(keeper)),
            }
        }
    }

    /// Takes news of clients whose password has fitted.
    fn hear_authenticator(&mut self, index: usize) {
        loop {
            let Some(generation) = self.generations.get_mut(index) else {
                return;
            };
            match generation.hear_authenticator(&mut self.registry) {
                Ok(Some(admission)) => self.start_session(index, admission),
                Ok(None) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                // As for a keeper.
                Err(_) => return generation.authenticator = None,
            }
        }
    }

    /// Starts the sessions of clients that the helpers of a protocol have let in.
    fn hear_own_logins(&mut self, protocol: usize) {
        while let Some(admitted) = self.memory.helpers.admitted(protocol) {
            let OwnLogin { tag, login, gate } = match admitted {
                Ok(login) => login,
                Err(failure) => {
                    self.registry.counters.fail_login(failure);
                    continue;
                }
            };
            let known = self.registry.of(tag, Stage::Admitted);
            let known = known.filter(|of| of.session.is_none());
            let is_of_it = |of: &&Connection| usize::from(of.arrived.protocol.0) == protocol;
            let (Some(known), Some(index)) = (
                known.filter(is_of_it),
                self.generations.len().checked_sub(1),
            ) else {
                continue;
            };
            let admission = Admission {
                slot: tag.slot,
                login,
                gate,
                certificate: false,
                protocol: known.arrived.protocol.0,
            };
            self.start_session(index, admission);
        }
    }

    fn start_session(&mut self, index: usize, admission: Admission) {
        let Login {
            identity, quota, ..
        } = &admission.login;
        let all = self.generations[index].quota;
        let usage = &mut self.memory.usage;
        let limits = usage.limits(identity.uid.as_raw(), *quota, all);
        let quota = match limits.and_then(|limits| {
            let page = limits.map(|limits| Ok((limits, usage.page(&limits)?)));
            page.transpose()
        }) {
            Ok(quota) => quota,
            Err(e) => {
                return log::error!(slot = admission.slot, error:% = e; "no session: no quota");
            }
        };
        let slot = admission.slot;
        let uploads = match self.upload_channel(&admission) {
            Ok(uploads) => uploads,
            Err(e) => return log::error!(slot, error:% = e; "no session: no jobs for uploads"),
        };
        let Some(peer) = self.registry.get(slot).map(|of| of.client().ip()) else {
            return;
        };
        let (protocol, helpers) = (admission.protocol, &self.memory.helpers);
        let service = helpers.open(protocol, &admission.login, peer);
        let service = service.unwrap_or_else(|e| {
            log::error!(slot, error:% = e; "no service for a session");
            None
        });
        let dialer = self.data_channel(index, &admission);
        let dialer = dialer.unwrap_or_else(|e| {
            log::error!(slot, error:% = e; "no data connections for a session");
            None
        });
        let account = admission.login.name.clone();
        let (registry, generation) = (&mut self.registry, &self.generations[index]);
        let handles = SessionHandles {
            quota,
            service,
            dialer,
            uploads,
        };
        self.sessions
            .start(registry, generation, admission, handles);
        self.share_session(index, slot, &account);
    }

    /// The channel to the dialer for a session, if its protocol has data
    /// connections: between the addresses of its connection.
    fn data_channel(&self, index: usize, admission: &Admission) -> io::Result<Option<OwnedFd>> {
        let Some(dialer) = &self.memory.dialer else {
            return Ok(None);
        };
        let Some(ports) = self.generations[index].data_ports(admission.protocol) else {
            return Ok(None);
        };
        let ports = (*ports.start(), *ports.end());
        let connection = self.registry.get(admission.slot);
        let connection = connection.ok_or(io::ErrorKind::NotConnected)?;
        let (peer, local) = (connection.arrived.peer.ip(), connection.arrived.local);
        let introduce = |channel| NewSession {
            peer,
            local,
            ports,
            channel,
        };
        let channel: Pipe<Request, Answer> = dialer.service.open(introduce)?;
        Ok(Some(channel.into_channel().into_handle()))
    }

    /// The channel on which a session reports uploads, if a program is to run for
    /// them.
    fn upload_channel(&self, admission: &Admission) -> io::Result<Option<OwnedFd>> {
        let Some(uploads) = &self.memory.uploads else {
            return Ok(None);
        };
        let connection = self.registry.get(admission.slot);
        let connection = connection.ok_or(io::ErrorKind::NotConnected)?;
        let protocol = connection.arrived.protocol.1;
        let peer = connection.client().to_string();
        uploads
            .open(&admission.login.name, protocol, peer)
            .map(Some)
    }

    /// Starts the dialer and the process for uploads again once that is due.
    fn restart_services_if_due(&mut self) {
        let identity = self.identities.as_ref().map(|who| &who.helpers);
        let sandbox = &self.sandbox;
        if let Some(Dialer { settings, service }) = &mut self.memory.dialer {
            service.restart_if_due(|| dialer::start(settings, identity, sandbox));
        }
        let clients = self.identities.as_ref().map(|who| &who.clients);
        if let Some(uploads) = &mut self.memory.uploads {
            uploads.restart_if_due(&self.config, clients);
        }
    }

    /// Starts helpers of protocols again once that is due.
    fn restart_helpers_if_due(&mut self) {
        let is_due = |due| due <= Instant::now();
        if !self.memory.helpers.due().is_some_and(is_due) {
            return;
        }
        let listeners: Vec<&Listener> = self.listeners.iter().collect();
        let context = HelperContext {
            config: &self.config,
            listeners: &listeners,
            udp: &udp_sockets(&listeners),
            keys: self.registry.keys().as_fd(),
            identity: self.identities.as_ref().map(|who| &who.helpers),
            sandbox: &self.sandbox,
            records: self.memory.auditor.as_ref().map(AsFd::as_fd),
        };
        self.memory.helpers.restart_if_due(&context);
    }

    /// Takes the clients that wait at a listener.
    fn accept_from(&mut self, index: usize) {
        if self.users != users_stamp(&self.config) {
            log::info!("the users file has changed");
            self.reload();
        }
        for _ in 0..ACCEPT_AT_ONCE {
            let Some(listener) = self.listeners.get(index) else {
                return;
            };
            match listener.accept() {
                Ok((socket, peer)) => {
                    let arrival = Arrival {
                        listener: listener.id,
                        protocol: listener.protocol,
                        tls: listener.tls,
                    };
                    self.connect((socket, arrival), peer);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(e) => {
                    log::error!(error:% = e; "can't accept");
                    self.accept_from = Instant::now() + ACCEPT_BACKOFF;
                    return;
                }
            }
        }
    }

    /// Takes the connections that the helpers of a protocol have made, as if they had come
    /// to its listener.
    fn take_calls(&mut self, protocol: usize) {
        while let Some(Called { socket, peer }) = self.memory.helpers.called(protocol) {
            let mut listeners = self.listeners.iter();
            let listener = listeners.find(|it| usize::from(it.protocol) == protocol);
            let Some(listener) = listener.filter(|_| self.stop.is_none()) else {
                continue;
            };
            let arrival = Arrival {
                listener: listener.id,
                protocol: listener.protocol,
                tls: listener.tls,
            };
            self.connect((socket, arrival), peer);
        }
    }

    /// Has a process serve a connection: its socket, and where it arrived.
    fn connect(&mut self, socket: (OwnedFd, Arrival), peer: std::net::SocketAddr) {
        let mut random = [0; 20];
        if let Err(e) = getrandom::fill(&mut random) {
            return log::error!(peer:%, error:% = e; "can't serve");
        }
        let [a, b, c, d, key @ ..] = random;
        let lot = u32::from_ne_bytes([a, b, c, d]);
        if self.registry.may_refuse(peer.ip()) {
            self.hear_admissions();
        }
        let Some(generation) = self.generations.last_mut() else {
            return log::error!(peer:%, error:% = "no processes"; "can't serve");
        };
        let arrived = match generation.arrived(&socket, peer, key) {
            Ok(arrived) => arrived,
            Err(e) => return log::error!(peer:%, error:% = e; "can't serve"),
        };
        let slot = match self.registry.take(arrived, lot) {
            Ok(slot) => slot,
            Err(NoSlot::Full(full)) => {
                log::warn!(peer:%, stage:% = "accept", reason:% = full; "refused");
                return;
            }
            Err(NoSlot::System(e)) => return log::error!(peer:%, error:% = e; "can't serve"),
        };
        let connection = self.registry.get(slot);
        let passed = connection.map_or(Ok(()), |of| generation.pass_on(slot, of, socket));
        match passed {
            Ok(()) => log::debug!(peer:%, slot; "connection"),
            Err(e) => {
                log::error!(peer:%, error:% = e; "can't serve");
                self.registry.give_back(slot);
                self.accept_from = Instant::now() + ACCEPT_BACKOFF;
            }
        }
    }

    /// Takes all news of clients that have been let in: who knows that it is in may
    /// come again, and those who are in are not counted.
    fn hear_admissions(&mut self) {
        for index in (0..self.generations.len()).rev() {
            self.hear_keepers(index);
            self.hear_authenticator(index);
        }
    }

    /// Takes news of ended processes from a zygote, or its own end.
    fn hear_zygote(&mut self, index: usize) {
        loop {
            let generation = &mut self.generations[index];
            match generation.zygote.channel.try_receive() {
                Ok(Some(news)) => {
                    let pid = generation.zygote.pid;
                    if let News::Ended(Ended { slot, .. }) = news {
                        self.hear_keepers_of(index, slot);
                    }
                    self.registry.hear(pid, news);
                    if news.failed_forks() >= MAX_FAILED_FORKS {
                        self.failed_in(index, "zygote", "zygote can't fork", pid);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                _ => return self.zygote_gone(index),
            }
        }
    }

    /// A gate that has handed its client over ends at once. What its keeper has said
    /// before that is heard first: there is to be a session.
    fn hear_keepers_of(&mut self, index: usize, slot: u32) {
        let is_known = |of: &Connection| of.stage != Stage::Gate;
        if self.registry.get(slot).is_none_or(is_known) {
            return;
        }
        self.hear_keepers(index);
    }

    /// Takes the news of all keepers of a generation.
    fn hear_keepers(&mut self, index: usize) {
        // From the last to the first: one that has ended is taken out.
        for keeper in (0..self.generations[index].keepers.len()).rev() {
            self.hear_keeper(index, keeper);
        }
    }

    /// Takes news of ended sessions from a launcher. A generation that takes
    /// clients is of no use without one that forks.
    fn hear_launcher(&mut self, index: usize) {
        if let Some(pid) = self.sessions.hear(&mut self.registry, index) {
            let launched = |of: &Generation| of.launcher_pid == Some(pid);
            if let Some(index) = self.generations.iter().position(launched) {
                self.failed_in(
                    index,
                    "launcher",
                    "launcher ended unasked or can't fork",
                    pid,
                );
            }
        }
    }

    /// Lets a generation serve from now on.
    pub(super) fn take_on(&mut self, mut generation: Generation) {
        if let Some(launcher) = generation.launcher.take() {
            self.sessions.adopt(launcher);
        }
        self.generations.push(generation);
        self.registry.counters.generations += 1;
        self.repair.done();
    }

    fn hear_signals(&mut self) -> io::Result<()> {
        while let Some(signal) = self.signals.read_signal()? {
            match i32::try_from(signal.ssi_signo).map(Signal::try_from) {
                Ok(Ok(Signal::SIGHUP | Signal::SIGUSR1)) => self.reload(),
                Ok(Ok(Signal::SIGTERM | Signal::SIGINT)) => self.begin_stop(),
                _ => self.reap(),
            }
        }
        Ok(())
    }

    /// Stops accepting and asks all sessions to end; asked twice, ends them.
    fn begin_stop(&mut self) {
        let again = self.stop.is_some();
        log::info!(sessions = self.registry.len(), at_once = again; "stopping");
        let grace = if again {
            Duration::ZERO
        } else {
            self.config.server.stop_grace
        };
        self.notifier.stopping(grace);
        self.stop = Some(Stop {
            kill_at: Instant::now() + grace,
            killed: false,
        });
        self.listeners.clear();
        let _ = self.registry.keys().drain();
        self.order_all(&Order::Stop);
        self.sessions.order_all(&Order::Stop);
    }

    fn order_all(&self, order: &Order) {
        for generation in &self.generations {
            generation.order(order);
        }
    }
}

/// Logs who clients are served as.
fn log_identities(identities: Option<&Identities>) {
    match identities {
        Some(Identities { clients, helpers }) => {
            log::info!(user:% = clients.name; "clients are served as");
            log::info!(user:% = helpers.name; "helpers run as");
        }
        None => log::warn!(
            user:% = Identity::own().name;
            "not started by root: every client is served by this user, without chroot"
        ),
    }
}
