//! The broker's process: it takes what gates and sessions have sent, does all of it in
//! one change of the book, and sends the answers once that is on disk.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::figures::Publisher;
use super::gates::Gate;
use super::line::Line;
use super::message::{Admitted, Answer, FromRelay, NewCaller, ToRelay};
use super::{Broker, Terms};
use crate::hub::book::{Book, Result, Rules, Trouble};
use crate::hub::prober::{Job, Probed};
use crate::hub::room::Room;
use crate::hub::wire::User;
use crate::ipc::Pipe;
use crate::ipc::figures::Board;
use crate::session::audit::Record;
use crate::session::failure::Failure;
use crate::users::throttle::{Limits, Throttle};

/// The database beneath the store.
pub const FILE: &str = "hub.db";

/// What stands for the daemon and for the auditor among the callers.
const DAEMON: u64 = 0;
const AUDITOR: u64 = u64::MAX;

/// The most callers that are heard in a turn, and messages of one.
const AT_ONCE: usize = 64;
const OF_ONE: usize = 16;

/// How often the time is noted, and what is over is ended.
const TICK: Duration = Duration::from_secs(60);

/// What it follows of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What holds for all users.
    pub rules: Rules,
    /// How many files of a run may be on their way.
    pub window: u64,
    /// How long a holder may take to answer before another is asked.
    pub patience: Duration,
    /// Whether the book is written again from what holders have.
    pub is_rebuilt: bool,
    /// What becomes of copies without their owner.
    pub terms: Terms,
    /// How often it is looked whether a holder is reached; zero for never.
    pub probe_cycle: Duration,
    /// Where the relay is, if there is one, and how many lines it has at most.
    pub relay_port: Option<u16>,
    /// As above.
    pub relay_lines: usize,
    /// When failed logins are blocked.
    pub limits: Limits,
}

/// Who is let in, or why a login has failed: to the daemon.
pub type Outcome = std::result::Result<Admitted, Failure>;

/// The channel to the daemon.
pub type ToDaemon = Pipe<Outcome, Option<NewCaller>>;

/// What it has of the daemon.
#[derive(Debug)]
pub struct Channels {
    /// The channel to it.
    pub daemon: ToDaemon,
    /// Where it publishes.
    pub board: Board,
    /// The channel to the auditor, if there is one.
    pub(crate) auditor: Option<Pipe<Record, ()>>,
}

/// Serves gates and sessions until the daemon has ended, or has said that no more will
/// come.
///
/// # Errors
/// When the database can't be opened or changed.
pub fn run(store: &Path, settings: Settings, blocked: File, of: Channels) -> io::Result<()> {
    let now = jiff::Timestamp::now().as_second();
    let throttle = Throttle::new(settings.limits, Some(blocked));
    let broker = Broker::new(&settings, throttle, Room::of(store)?);
    let book = Book::open(&store.join(FILE), settings.rules, now).map_err(io::Error::other)?;
    book.resume(now).map_err(io::Error::other)?;
    let mut office = Office {
        poller: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        daemon: of.daemon,
        auditor: of.auditor,
        publisher: Publisher::new(of.board),
        broker,
        book,
        gates: HashMap::new(),
        prober: None,
        relays: HashMap::new(),
        next: DAEMON + 1,
        tick: Instant::now(),
        due: None,
        said: Vec::new(),
        waiting: Vec::new(),
    };
    office.watch_ours()?;
    while office.turn()? {}
    Ok(())
}

struct Office {
    poller: OwnedFd,
    daemon: ToDaemon,
    auditor: Option<Pipe<Record, ()>>,
    publisher: Publisher,
    broker: Broker,
    book: Book,
    gates: HashMap<u64, Gate>,
    /// The prober, and its number among the callers.
    prober: Option<(u64, Pipe<Job, Probed>)>,
    /// Sessions of relay lines, and whom they serve.
    relays: HashMap<u64, (User, Pipe<ToRelay, FromRelay>)>,
    /// The number of the next caller.
    next: u64,
    /// When what is due every minute is done.
    tick: Instant,
    /// When a wait for an answer is over.
    due: Option<Instant>,
    /// What gates are answered.
    said: Vec<(u64, Answer)>,
    /// Lines whose sessions take no more now.
    waiting: Vec<u64>,
}

impl Office {
    fn watch_ours(&self) -> io::Result<()> {
        let data = epoll::EventData::new_u64;
        let (poller, daemon) = (&self.poller, &self.daemon);
        epoll::add(poller, daemon, data(DAEMON), epoll::EventFlags::IN)?;
        // It sends nothing: one hears that it has ended.
        if let Some(auditor) = &self.auditor {
            epoll::add(poller, auditor, data(AUDITOR), epoll::EventFlags::empty())?;
        }
        Ok(())
    }

    /// Waits for callers, and serves them. Whether there may be more.
    fn turn(&mut self) -> io::Result<bool> {
        let events = self.wait()?;
        self.broker.now = jiff::Timestamp::now().as_second();
        let mut goes_on = true;
        let mut heard = Vec::new();
        for number in events {
            match number {
                DAEMON => goes_on &= self.take_callers()?,
                // Its successor has a channel to the next one.
                AUDITOR => return Err(io::Error::other("the auditor has ended")),
                number => heard.push(number),
            }
        }
        self.broker.room.keep()?;
        let ended = self.serve(&heard).map_err(io::Error::other)?;
        if !goes_on {
            self.broker.leave_all();
        }
        self.send(ended)?;
        self.report()?;
        Ok(goes_on)
    }

    /// Waits for callers that have said something or take more, or until something is
    /// due.
    fn wait(&self) -> io::Result<Vec<u64>> {
        let due = self.due.into_iter().chain(self.publisher.pace.due());
        let until = due.fold(self.tick, Instant::min);
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).ok();
        let mut events = Vec::with_capacity(AT_ONCE);
        match epoll::wait(&self.poller, spare_capacity(&mut events), left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        Ok(events.iter().map(|event| event.data.u64()).collect())
    }

    /// Takes in who is new. Whether more may come.
    fn take_callers(&mut self) -> io::Result<bool> {
        for _ in 0..AT_ONCE {
            let caller = match self.daemon.try_receive() {
                Ok(Some(Some(caller))) => caller,
                Ok(_) => return Ok(false),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            };
            let number = self.next;
            self.next += 1;
            let data = epoll::EventData::new_u64(number);
            match caller {
                NewCaller::Gate(gate) => {
                    let gate = Gate::from(gate);
                    epoll::add(&self.poller, &gate.channel, data, epoll::EventFlags::IN)?;
                    self.gates.insert(number, gate);
                }
                NewCaller::Session { card, channel } => {
                    epoll::add(&self.poller, &channel, data, epoll::EventFlags::IN)?;
                    let line = Line::new(number, card, channel, &self.broker.dirty);
                    self.broker.lines.insert(number, line);
                }
                NewCaller::Prober(channel) => {
                    epoll::add(&self.poller, &channel, data, epoll::EventFlags::IN)?;
                    self.prober = Some((number, channel));
                }
                NewCaller::Relay { user, channel } => {
                    epoll::add(&self.poller, &channel, data, epoll::EventFlags::IN)?;
                    self.relays.insert(number, (user, channel));
                }
            }
        }
        Ok(true)
    }

    /// Does all that these callers ask, and what is due, in one change; the callers that
    /// have ended.
    fn serve(&mut self, heard: &[u64]) -> Result<Vec<u64>> {
        let Office {
            broker,
            book,
            gates,
            prober,
            relays,
            said,
            ..
        } = self;
        let is_due = self.tick <= Instant::now();
        let (ended, due) = book.whole(|book| {
            let mut ended = Vec::new();
            for number in heard {
                let goes_on = match (gates.get_mut(number), &*prober) {
                    (Some(gate), _) => hear_gate(broker, book, gate, |answer| {
                        said.push((*number, answer));
                    })?,
                    (None, Some((of, prober))) if of == number => {
                        hear_prober(broker, book, prober)?
                    }
                    _ if relays.contains_key(number) => hear_relay(broker, relays, *number),
                    (None, _) => hear_line(broker, book, *number)?,
                };
                if !goes_on {
                    ended.push(*number);
                }
            }
            for number in &ended {
                broker.gone(book, *number)?;
            }
            if is_due {
                broker.tick(book)?;
            }
            let due = broker.look_after(book)?;
            let wait = broker.end_waits(book)?;
            Ok((ended, Some(wait.map_or(due, |wait| wait.min(due)))))
        })?;
        self.due = due;
        if is_due || !heard.is_empty() {
            self.publisher.pace.stir();
        }
        if is_due {
            self.tick = Instant::now() + TICK;
        }
        Ok(ended)
    }

    /// Sends what has come of it.
    fn send(&mut self, ended: Vec<u64>) -> io::Result<()> {
        for number in ended {
            self.gates.remove(&number);
            self.prober.take_if(|(of, _)| *of == number);
            self.end_relay(number);
        }
        self.have_probed();
        self.tell_relays();
        for failure in self.broker.failures.drain(..) {
            // Under a flood some stay uncounted.
            let _ = self.daemon.try_send(&Err(failure));
        }
        for (number, answer) in std::mem::take(&mut self.said) {
            self.answer_gate(number, &answer)?;
        }
        loop {
            let (waiting, over) = self.flush();
            self.watch(waiting)?;
            if over.is_empty() {
                return Ok(());
            }
            // Others hear of it.
            let Office { broker, book, .. } = self;
            let gone = book.whole(|book| over.iter().try_for_each(|line| broker.gone(book, *line)));
            gone.map_err(io::Error::other)?;
        }
    }

    /// Tells the prober for whom to look. What it does not take now it is told later.
    fn have_probed(&mut self) {
        let Some((_, prober)) = &self.prober else {
            return;
        };
        let jobs = &mut self.broker.probes;
        while jobs.front().is_some_and(|job| prober.try_send(job).is_ok()) {
            jobs.pop_front();
        }
    }

    /// Tells sessions of relay lines what has come of their peers, and ends those that are
    /// over.
    fn tell_relays(&mut self) {
        for (number, message) in std::mem::take(&mut self.broker.relays.said) {
            let relay = self.relays.get(&number);
            if relay.is_some_and(|(_, channel)| channel.try_send(&message).is_err()) {
                self.broker.relays.over.push(number);
            }
        }
        for number in std::mem::take(&mut self.broker.relays.over) {
            self.end_relay(number);
        }
    }

    fn end_relay(&mut self, number: u64) {
        if self.relays.remove(&number).is_some() {
            self.broker.relays.gone(number);
        }
    }

    /// Sends what sessions take: the lines that wait, and those that are over.
    fn flush(&mut self) -> (Vec<u64>, Vec<u64>) {
        let (mut waiting, mut over) = (Vec::new(), Vec::new());
        let mut dirty = self.broker.dirty.take();
        dirty.extend(&self.waiting);
        dirty.sort_unstable();
        dirty.dedup();
        for number in dirty {
            let Some(line) = self.broker.lines.get_mut(&number) else {
                continue;
            };
            match line.flush() {
                Ok(true) if !line.is_over => waiting.push(number),
                Ok(false) if !line.is_over => {}
                _ => over.push(number),
            }
        }
        (waiting, over)
    }

    /// Waits also until these lines take more, and no longer for others.
    fn watch(&mut self, waiting: Vec<u64>) -> io::Result<()> {
        let both = epoll::EventFlags::IN | epoll::EventFlags::OUT;
        let before = std::mem::replace(&mut self.waiting, waiting);
        let changed = before.iter().filter(|it| !self.waiting.contains(it));
        let changed = changed.map(|number| (number, epoll::EventFlags::IN));
        let added = self.waiting.iter().filter(|it| !before.contains(it));
        for (number, flags) in changed.chain(added.map(|number| (number, both))) {
            if let Some(line) = self.broker.lines.get(number) {
                let data = epoll::EventData::new_u64(*number);
                epoll::modify(&self.poller, line.channel.as_fd(), data, flags)?;
            }
        }
        Ok(())
    }

    /// Reports what has happened, and publishes what there is now.
    fn report(&mut self) -> io::Result<()> {
        for event in std::mem::take(&mut self.broker.events) {
            event.report(&self.publisher, self.auditor.as_ref())?;
        }
        let lines = self.broker.lines.len();
        let relays = self.broker.relays.busy();
        self.publisher
            .publish(&self.book, lines, relays)
            .map_err(io::Error::other)
    }

    fn answer_gate(&mut self, number: u64, answer: &Answer) -> io::Result<()> {
        let Some(gate) = self.gates.get(&number) else {
            return Ok(());
        };
        // One that leaves its answers unread is hostile.
        let is_taken = gate.channel.try_send(answer).is_ok();
        if is_taken && gate.admitted.is_none() {
            return Ok(());
        }
        epoll::delete(&self.poller, &gate.channel)?;
        let gate = self.gates.remove(&number).filter(|_| is_taken);
        let Some((gate, (user, role))) = gate.and_then(|mut gate| {
            let admitted = gate.admitted.take()?;
            Some((gate, admitted))
        }) else {
            return Ok(());
        };
        self.daemon.send(&Ok(Admitted {
            tag: gate.tag,
            user,
            role,
            gate: gate.channel.into_channel().into(),
        }))
    }
}

/// Answers what a gate has asked; whether it may ask more.
fn hear_gate(
    broker: &mut Broker,
    book: &Book,
    gate: &mut Gate,
    mut say: impl FnMut(Answer),
) -> Result<bool> {
    let ask = match gate.channel.try_receive() {
        Ok(Some(ask)) if gate.admitted.is_none() => ask,
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(true),
        _ => return Ok(false),
    };
    let answer = book.part(|book| broker.hear_gate(book, gate, ask, broker.now));
    match answer {
        Ok(answer) => say(answer),
        Err(trouble) => {
            log::error!(peer:% = gate.peer, error:% = trouble; "hub login");
            return Ok(false);
        }
    }
    Ok(true)
}

/// Takes what the prober has found; whether it goes on.
fn hear_prober(broker: &mut Broker, book: &Book, prober: &Pipe<Job, Probed>) -> Result<bool> {
    for _ in 0..OF_ONE {
        match prober.try_receive() {
            Ok(Some(probed)) => broker.probed(book, &probed)?,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// Takes note of who is here for the relay; whether its session goes on.
fn hear_relay(
    broker: &mut Broker,
    relays: &HashMap<u64, (User, Pipe<ToRelay, FromRelay>)>,
    number: u64,
) -> bool {
    let Some((user, channel)) = relays.get(&number) else {
        return false;
    };
    match channel.try_receive() {
        Ok(Some(it)) => {
            broker.relays.come(number, user, it);
            true
        }
        Err(e) => e.kind() == io::ErrorKind::WouldBlock,
        Ok(None) => false,
    }
}

/// Does what a session has sent; whether its line goes on.
fn hear_line(broker: &mut Broker, book: &Book, number: u64) -> Result<bool> {
    for _ in 0..OF_ONE {
        let Some(line) = broker.lines.get(&number).filter(|line| !line.is_over) else {
            return Ok(true);
        };
        let message = match line.channel.try_receive() {
            Ok(Some(message)) => message,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            _ => return Ok(false),
        };
        let before = broker.events.len();
        let done = book.part(|book| match broker.hear(book, number, message) {
            // Of what is refused nobody else hears.
            Err(Trouble::Refused(_)) => Ok(()),
            done => done,
        });
        if let Err(trouble) = done {
            broker.events.truncate(before);
            log::error!(line = number, error:% = trouble; "hub request");
            return Ok(false);
        }
    }
    Ok(true)
}
