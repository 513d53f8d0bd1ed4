//! The daemon's end of the state that several servers share: which sessions run, what is
//! stored, and whose sessions are to end, to and from the process at the store. What has
//! no room in its queue waits here; the daemon never does.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use crate::config::Config;
use crate::fleet::asker::ToStore;
use crate::fleet::message::{Answer, FromState, MOST_COUNTERS, Question, ToState};
use crate::fleet::process::{FIGURES, Start, spawn};
use crate::ipc::figures::Figures;
use crate::ipc::orders::Tag;
use crate::ipc::{Pipe, Service, pipe};
use crate::sandbox::Sandbox;
use crate::store::usage::{Counter, Usage};
use crate::text::hex;
use crate::users::Identity;

/// How soon to try again where the queue was full.
const RETRY: Duration = Duration::from_millis(20);

/// How often what is stored is published.
const PUBLISH: Duration = Duration::from_millis(500);

/// Messages that wait, at most: a process that takes none for so long is ended.
const MOST_WAITING: usize = 1 << 20;

/// The process at the store, and what it is to know.
#[derive(Debug)]
pub struct SharedState {
    /// The process.
    pub service: Service<ToState, FromState>,
    /// What it publishes.
    pub figures: Figures,
    /// What distinguishes this server from the others.
    server: String,
    /// Its ends of the channels to authenticators: they outlive it.
    callers: Vec<Pipe<Answer, Question>>,
    /// The sessions that count, by slot.
    sessions: HashMap<u32, (Tag, String)>,
    waiting: VecDeque<ToState>,
    retry_at: Option<Instant>,
    publish_at: Option<Instant>,
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
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|e| format!("shared state: {e}"))?;
        SharedState::start_as(hex(&random), config, identity, sandbox).map(Some)
    }

    fn start_as(
        server: String,
        config: &Config,
        identity: Option<&Identity>,
        sandbox: &Sandbox,
    ) -> Result<SharedState, String> {
        let figures = Figures::new(&FIGURES)?;
        let helper = start(config, &server, identity, sandbox, &figures)?;
        Ok(SharedState {
            service: Service::new(helper),
            figures,
            server,
            callers: Vec::new(),
            sessions: HashMap::new(),
            waiting: VecDeque::new(),
            retry_at: None,
            publish_at: Some(Instant::now()),
        })
    }

    /// The process of another configuration, which is to know what this one knows.
    ///
    /// # Errors
    /// As at the start.
    pub fn instead(
        &self,
        config: &Config,
        identity: Option<&Identity>,
        sandbox: &Sandbox,
    ) -> Result<SharedState, String> {
        let mut next = SharedState::start_as(self.server.clone(), config, identity, sandbox)?;
        let callers = self.callers.iter();
        next.callers = callers
            .filter_map(|caller| caller.try_clone().ok())
            .collect();
        next.sessions.clone_from(&self.sessions);
        next.repeat();
        Ok(next)
    }

    /// Starts the process again once that is due, and repeats what it is to know.
    pub fn restart_if_due(
        &mut self,
        config: &Config,
        identity: Option<&Identity>,
        sandbox: &Sandbox,
    ) {
        let before = self.service.restarts;
        let (server, figures) = (&self.server, &self.figures);
        self.service
            .restart_if_due(|| start(config, server, identity, sandbox, figures));
        if self.service.restarts != before {
            self.repeat();
        }
    }

    /// Says all that a process is to know that has just begun.
    fn repeat(&mut self) {
        self.waiting.clear();
        self.callers.retain(|caller| !caller.channel().is_over());
        let callers = self.callers.iter();
        let callers = callers.filter_map(|caller| caller.try_clone().ok());
        self.waiting.extend(callers.map(ToState::Caller));
        let sessions = self.sessions.values().cloned();
        let began = |(tag, account)| ToState::Began { tag, account };
        self.waiting.extend(sessions.map(began));
        self.publish_at = Some(Instant::now());
        self.flush();
    }

    /// Takes note that a process has ended; whether it was this one. What is on its way
    /// to it is lost.
    pub fn reaped(&mut self, pid: Pid) -> bool {
        self.service.reaped(pid)
    }

    /// A channel for an authenticator.
    pub fn open(&mut self) -> io::Result<ToStore> {
        let (ours, theirs) = pipe::pair()?;
        self.say(ToState::Caller(theirs.try_clone()?));
        self.callers.retain(|caller| !caller.channel().is_over());
        self.callers.push(theirs);
        Ok(ours)
    }

    /// A session of an account is started.
    pub fn began(&mut self, tag: Tag, account: &str) {
        let account = account.to_owned();
        self.sessions.insert(tag.slot, (tag, account.clone()));
        self.say(ToState::Began { tag, account });
    }

    /// A session is not started, after the store may have given it a place.
    pub fn not_begun(&mut self, tag: Tag, account: &str) {
        let account = account.to_owned();
        self.say(ToState::Ended { tag, account });
    }

    /// Sessions in these slots have ended.
    pub fn ended(&mut self, slots: Vec<u32>) {
        for slot in slots {
            if let Some((tag, account)) = self.sessions.remove(&slot) {
                self.say(ToState::Ended { tag, account });
            }
        }
    }

    /// Says what this server has counted on disk.
    pub fn say_counted(&mut self, counted: &[(Counter, u64)]) {
        let mut parts = counted.chunks(MOST_COUNTERS).peekable();
        while let Some(part) = parts.next() {
            self.say(ToState::Counted {
                counts: part.to_vec(),
                is_last: parts.peek().is_none(),
            });
        }
    }

    /// Says something to the process, or once it has room.
    pub fn say(&mut self, message: ToState) {
        self.waiting.push_back(message);
        self.flush();
    }

    /// The channel on which it says something, while it runs.
    pub fn channel(&self) -> Option<BorrowedFd<'_>> {
        self.service.channel()
    }

    /// Whether the store is reached now, as far as its process says.
    pub fn is_reached(&self) -> bool {
        self.figures
            .read()
            .first()
            .is_some_and(|(_, value)| *value == 1)
    }

    /// When [`SharedState::act_if_due`] or [`SharedState::restart_if_due`] has something
    /// to do.
    pub fn due(&self, publishes: bool) -> Option<Instant> {
        let publish_at = self.publish_at.filter(|_| publishes);
        let due = [self.service.due(), self.retry_at, publish_at];
        due.into_iter().flatten().min()
    }

    /// Publishes what is stored, and says what waits, once that is due.
    pub fn act_if_due(&mut self, usage: Option<&Usage>) {
        let now = Instant::now();
        if let Some(usage) = usage.filter(|_| self.publish_at.is_none_or(|at| now >= at)) {
            self.publish_at = Some(now + PUBLISH);
            for part in usage.used().chunks(MOST_COUNTERS) {
                self.say(ToState::Usage(part.to_vec()));
            }
        }
        if self.retry_at.is_some_and(|at| now >= at) {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.retry_at = None;
        while let Some(message) = self.waiting.pop_front() {
            match self.service.send(&message) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.waiting.push_front(message);
                    self.retry_at = Some(Instant::now() + RETRY);
                    break;
                }
                // One that has ended hears all of it again.
                _ => {}
            }
        }
        if self.waiting.len() > MOST_WAITING {
            log::error!("the process at the shared state takes nothing: it is started again");
            self.waiting.clear();
            self.service.kill();
        }
    }
}

fn start(
    config: &Config,
    server: &str,
    identity: Option<&Identity>,
    sandbox: &Sandbox,
    figures: &Figures,
) -> Result<crate::ipc::Helper<ToState, FromState>, String> {
    let settings = config.server.shared_state.as_ref();
    let settings = settings.ok_or("server.shared_state is missing")?;
    let limits = config.server.login_limits;
    let start = Start {
        settings,
        server,
        limits,
    };
    spawn(start, identity, sandbox, figures)
}
