//! The process at the store, `tfd-state`: it has the password and the one connection, no
//! file, and no other secret. Lost, the connection is made again, later each time.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::keys::Keys;
use super::message::{Answer, FromState, Question, ToState};
use super::model::Model;
use super::store::{Access, Store, StoreError};
use crate::config::SharedState;
use crate::ipc::figures::{Board, Figure, Figures};
use crate::ipc::poll::{Poll, left};
use crate::ipc::service::Callers;
use crate::ipc::{Helper, Pipe};
use crate::sandbox::confinement::{Confinement, Duty};
use crate::sandbox::{Reach, Sandbox, lookup_directories, place};
use crate::users::Identity;
use crate::users::throttle::{self, Limits};

/// How often the store is asked what others have said.
const TICK: Duration = Duration::from_millis(500);

/// The first pause before a new connection, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What it publishes.
pub static FIGURES: [Figure; 4] = [
    Figure::gauge(
        "reachable",
        "Whether the store of several servers is reached.",
    ),
    Figure::gauge(
        "last_contact_timestamp_seconds",
        "When the store has answered last.",
    ),
    Figure::counter("lost", "Connections to the store that were lost."),
    Figure::counter("refused", "Exchanges in which the store refused something."),
];
const REACHABLE: usize = 0;
const CONTACT: usize = 1;
const LOST: usize = 2;
const REFUSED: usize = 3;

/// What the process is started with.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// The store.
    pub settings: &'a SharedState,
    /// What distinguishes this server from the others.
    pub server: &'a str,
    /// When failed logins block.
    pub limits: Limits,
}

/// Whether all that the process reads at its start is right.
///
/// # Errors
/// One line that says what is not.
pub fn check(settings: &SharedState) -> Result<(), String> {
    Access::read(settings).map(drop)
}

/// Starts the process.
///
/// # Errors
/// One line that says what could not be started.
pub fn spawn(
    start: Start<'_>,
    identity: Option<&Identity>,
    sandbox: &Sandbox,
    figures: &Figures,
) -> Result<Helper<ToState, FromState>, String> {
    let Start { settings, .. } = start;
    let is_name = settings.host.parse::<IpAddr>().is_err();
    let reach = if is_name { Reach::Names } else { Reach::Tcp };
    let sandbox = sandbox.reaching(reach);
    let sandbox = sandbox.map_err(|e| format!("shared state: {e}"))?;
    let mut confinement = Confinement::new(identity, &sandbox)?;
    if is_name {
        // Lookups need the files of the real root.
        confinement.empty_root = None;
    }
    Helper::spawn_ready("state", |child| {
        let access = Access::read(settings).map_err(io::Error::other)?;
        let board = figures.board()?;
        let files: Vec<OwnedFd> = match is_name {
            true => lookup_directories().collect(),
            false => Vec::new(),
        };
        let handles: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        let duty = Duty::Mailing {
            port: settings.port,
            files: &handles,
        };
        child.enter(c"tfd-state", &confinement.with(duty), &handles)?;
        drop(files);
        place::reached(place::Place::Helper("state"), place::NOBODY, None);
        child.ready()?;
        let keys = Keys::of(&settings.name);
        let model = Model::new(keys, start.server.to_owned(), start.limits);
        Worker::new(&access, settings.to_string(), model, board)?.serve(&child.channel)
    })
}

/// What it waits for.
enum Source {
    Daemon,
    Callers,
}

/// The process.
struct Worker<'a> {
    access: &'a Access,
    /// What the log calls the store.
    name: String,
    model: Model,
    store: Option<Store>,
    callers: Callers<Answer, Question>,
    board: Board,
    pause: Duration,
    connect_at: Instant,
    exchange_at: Instant,
    /// Whether the store was reached, and whether it has refused something, as the log
    /// has it.
    is_reached: Option<bool>,
    is_refused: bool,
}

impl<'a> Worker<'a> {
    fn new(access: &'a Access, name: String, model: Model, board: Board) -> io::Result<Worker<'a>> {
        board.set(REACHABLE, 0);
        Ok(Worker {
            access,
            name,
            model,
            store: None,
            callers: Callers::new()?,
            board,
            pause: FIRST_PAUSE,
            connect_at: Instant::now(),
            exchange_at: Instant::now(),
            is_reached: None,
            is_refused: false,
        })
    }

    /// Serves until the daemon has no use for it.
    fn serve(&mut self, daemon: &Pipe<FromState, ToState>) -> io::Result<()> {
        loop {
            let due = match self.store {
                Some(_) => self.exchange_at,
                None => self.connect_at,
            };
            let mut poll = Poll::default();
            poll.read(Source::Daemon, daemon);
            poll.add(Source::Callers, self.callers.as_fd(), PollFlags::IN);
            for (source, _) in poll.wait(Some(left(due)))? {
                match source {
                    Source::Daemon if !self.hear(daemon)? => return Ok(()),
                    Source::Daemon => {}
                    Source::Callers => self.answer()?,
                }
            }
            self.act(daemon)?;
        }
    }

    /// Takes all that the daemon has said; whether it goes on.
    fn hear(&mut self, daemon: &Pipe<FromState, ToState>) -> io::Result<bool> {
        loop {
            match daemon.try_receive() {
                Ok(None) => return Ok(false),
                Ok(Some(ToState::Caller(caller))) => self.callers.add(caller)?,
                Ok(Some(ToState::Began { tag, account })) => self.model.begin(tag, account),
                Ok(Some(ToState::Ended { tag, account })) => self.model.end(tag, account),
                Ok(Some(ToState::Kick(whom))) => self.model.kick(&whom),
                Ok(Some(ToState::Free(target))) => self.model.free(target),
                Ok(Some(ToState::Usage(used))) => self.model.usage.update(used),
                Ok(Some(ToState::MayCount)) => self.model.usage.may_count(),
                Ok(Some(ToState::Counted { counts, is_last })) => {
                    self.model.usage.counted(counts, is_last);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(e) => return Err(e),
            }
        }
    }

    /// Answers those who ask: at once, if the store is gone.
    fn answer(&mut self) -> io::Result<()> {
        let (model, store) = (&mut self.model, &mut self.store);
        let mut lost = None;
        self.callers.answer(|Question { number, what }| {
            let said = store.as_mut().map(|store| model.ask(&what, store));
            let said = match said {
                Some(Ok(said)) => Some(said),
                other => {
                    model.remember(what);
                    let failed = other.and_then(Result::err);
                    if let Some(e) = failed.filter(|e| !e.is_refusal()) {
                        *store = None;
                        lost = Some(e);
                    }
                    None
                }
            };
            Answer { number, said }
        })?;
        lost.into_iter().for_each(|e| self.lose(&e));
        Ok(())
    }

    /// Connects, or says and hears what there is, if that is due.
    fn act(&mut self, daemon: &Pipe<FromState, ToState>) -> io::Result<()> {
        if self.store.is_none() && Instant::now() >= self.connect_at {
            self.connect();
        }
        let mut heard = Vec::new();
        let mut hear = |news| heard.push(news);
        match &mut self.store {
            None => self.model.usage.decide_alone(&mut hear),
            Some(store) => {
                let is_due = Instant::now() >= self.exchange_at;
                // Where the store refuses something, it is asked again later.
                if is_due || self.model.is_stale() && !self.is_refused {
                    self.exchange_at = Instant::now() + TICK;
                    let exchanged = self.model.exchange(store, &mut hear);
                    self.note(exchanged);
                }
            }
        }
        heard.iter().try_for_each(|news| daemon.send(news))
    }

    fn connect(&mut self) {
        match self.access.connect() {
            Ok(store) => {
                self.store = Some(store);
                self.model.is_connected();
                self.exchange_at = Instant::now();
            }
            Err(e) => self.lose(&e),
        }
    }

    /// Takes note of what has come of an exchange.
    fn note(&mut self, exchanged: Result<(), StoreError>) {
        let refused = match exchanged {
            Err(e) if !e.is_refusal() => return self.lose(&e),
            other => other.err(),
        };
        if self.is_reached.replace(true) != Some(true) {
            log::info!(store = self.name.as_str(); "shared state reached");
        }
        self.pause = FIRST_PAUSE;
        self.board.set(REACHABLE, 1);
        self.board.set(CONTACT, throttle::now());
        if let Some(e) = &refused {
            self.board.count(REFUSED);
            if !self.is_refused {
                log::error!(store = self.name.as_str(), reason:% = e; "shared state not written");
            }
        } else if self.is_refused {
            log::info!(store = self.name.as_str(); "shared state written again");
        }
        self.is_refused = refused.is_some();
    }

    /// The connection is of no use any more, or has not come about.
    fn lose(&mut self, e: &StoreError) {
        if self.is_reached.replace(false) != Some(false) {
            let store = self.name.as_str();
            log::error!(store, reason:% = e; "shared state lost, every server decides for itself");
            self.board.count(LOST);
        }
        self.store = None;
        self.board.set(REACHABLE, 0);
        self.connect_at = Instant::now() + self.pause;
        self.pause = (2 * self.pause).min(LONGEST_PAUSE);
    }
}
