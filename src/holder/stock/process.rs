//! The stock's process: it takes what gates, sessions and the hub's line have sent,
//! does all of it in one change of the database, and answers once that is on disk.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::figures::Publisher;
use super::gates::Gate;
pub use super::gates::Shown;
use super::message::{
    Admitted, Answer, Done, FromCarrier, FromLine, FromSession, Job, NewCaller, ToCarrier,
    ToDaemon, ToLine, ToSession,
};
use super::slow::{self, Waiting};
use super::{Result, Settings, Stock, Trouble};
use crate::holder::store::catalog::Catalog;
use crate::holder::store::shelves::Shelves;
use crate::hub::peer::signer::Keys;
use crate::hub::wire::{NotStored, User};
use crate::ipc::Pipe;
use crate::ipc::figures::Board;

/// The database beneath the store.
pub const FILE: &str = "stock.db";

/// What stands for the daemon and for the slow thread among the callers.
const DAEMON: u64 = 0;
const SLOW: u64 = 1;

/// The most callers that are heard in a turn, and messages of one.
const AT_ONCE: usize = 64;
const OF_ONE: usize = 16;

/// How often what is over is ended.
const TICK: Duration = Duration::from_secs(60);

/// The channel to the daemon.
pub type Daemon = Pipe<ToDaemon, Option<NewCaller>>;

/// A session.
struct Session {
    user: User,
    channel: Pipe<ToSession, FromSession>,
}

/// Serves until the daemon has ended, or has said that no more will come.
///
/// # Errors
/// When the store can't be opened, read or changed.
pub fn run(
    store: &Path,
    settings: Settings,
    keys: Keys,
    shown: Shown,
    daemon: Daemon,
    board: Board,
) -> io::Result<()> {
    let catalog = Catalog::open(&store.join(FILE)).map_err(io::Error::other)?;
    let shelves = Shelves::of(store);
    let mut stock = Stock::new(settings, keys, catalog, shelves);
    stock.reconcile().map_err(io::Error::other)?;
    let mut house = House {
        poller: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        daemon,
        slow: slow::start()?,
        working: None,
        stock,
        publisher: Publisher::new(board),
        shown,
        gates: HashMap::new(),
        sessions: HashMap::new(),
        carriers: HashMap::new(),
        line: None,
        next: SLOW + 1,
        tick: Instant::now(),
        said: Vec::new(),
        answered: Vec::new(),
        told: Vec::new(),
    };
    house.watch(DAEMON, house.daemon.as_fd())?;
    house.watch(SLOW, house.slow.as_fd())?;
    while house.turn()? {}
    Ok(())
}

/// A carrier, with the number of its dial.
struct Carrier {
    dial: u64,
    channel: Pipe<ToCarrier, FromCarrier>,
}

struct House {
    poller: OwnedFd,
    daemon: Daemon,
    slow: Pipe<Job, Done>,
    /// What the slow thread works on.
    working: Option<Waiting>,
    stock: Stock,
    publisher: Publisher,
    shown: Shown,
    gates: HashMap<u64, Gate>,
    sessions: HashMap<u64, Session>,
    carriers: HashMap<u64, Carrier>,
    /// The line to the hub, with its number.
    line: Option<(u64, Pipe<ToLine, FromLine>)>,
    /// The number of the next caller.
    next: u64,
    tick: Instant,
    /// What gates, sessions and carriers are answered.
    said: Vec<(u64, Answer)>,
    answered: Vec<(u64, ToSession)>,
    told: Vec<(u64, ToCarrier)>,
}

impl House {
    fn watch(&self, number: u64, channel: BorrowedFd<'_>) -> io::Result<()> {
        let data = epoll::EventData::new_u64(number);
        Ok(epoll::add(
            &self.poller,
            channel,
            data,
            epoll::EventFlags::IN,
        )?)
    }

    /// Waits for callers, and serves them. Whether there may be more.
    fn turn(&mut self) -> io::Result<bool> {
        let events = self.wait()?;
        self.stock.now = jiff::Timestamp::now().as_second();
        let mut goes_on = true;
        if events.contains(&DAEMON) {
            goes_on = self.take_callers()?;
        }
        self.stock.catalog.begin().map_err(io::Error::other)?;
        let ended = self.serve(&events).map_err(io::Error::other)?;
        self.stock.catalog.commit().map_err(io::Error::other)?;
        for number in ended {
            self.end(number);
        }
        self.publish(!events.is_empty()).map_err(io::Error::other)?;
        self.send()?;
        Ok(goes_on)
    }

    /// Publishes what there is now, and counts what is about to be sent.
    fn publish(&mut self, is_changed: bool) -> Result<()> {
        let answers = self.answered.iter();
        answers.for_each(|(_, answer)| self.publisher.answered(answer));
        let to_hub = self.stock.to_hub.iter();
        to_hub.for_each(|message| self.publisher.told(message));
        if is_changed {
            self.publisher.pace.stir();
        }
        self.publisher.publish(&self.stock, self.sessions.len())
    }

    fn wait(&self) -> io::Result<Vec<u64>> {
        let due = self.publisher.pace.due();
        let until = due.map_or(self.tick, |due| due.min(self.tick));
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
            match caller {
                NewCaller::Gate(gate) => {
                    let gate = Gate::from(gate);
                    self.watch(number, gate.channel.as_fd())?;
                    self.gates.insert(number, gate);
                }
                NewCaller::Session { user, channel } => {
                    self.watch(number, channel.as_fd())?;
                    self.sessions.insert(number, Session { user, channel });
                }
                NewCaller::Carrier {
                    number: dial,
                    channel,
                } => {
                    if self.stock.has_carrier(dial) {
                        self.watch(number, channel.as_fd())?;
                        self.carriers.insert(number, Carrier { dial, channel });
                    }
                }
                NewCaller::Line(channel) => {
                    self.watch(number, channel.as_fd())?;
                    self.line = Some((number, channel));
                    self.stock.offline();
                }
            }
        }
        Ok(true)
    }

    /// Does all that these callers ask, and what is due; the callers that have ended.
    fn serve(&mut self, events: &[u64]) -> Result<Vec<u64>> {
        let mut ended = Vec::new();
        for number in events.iter().copied() {
            let goes_on = if let Some(mut gate) = self.gates.remove(&number) {
                let goes_on = self.hear_gate(number, &mut gate)?;
                self.gates.insert(number, gate);
                goes_on
            } else if self.sessions.contains_key(&number) {
                self.hear_session(number)?
            } else if self.line.as_ref().is_some_and(|(line, _)| *line == number) {
                self.hear_line()?
            } else if self.carriers.contains_key(&number) {
                self.hear_carrier(number)?
            } else if number == SLOW {
                self.hear_slow()?;
                true
            } else {
                true
            };
            if !goes_on {
                ended.push(number);
            }
        }
        if self.tick <= Instant::now() {
            match self.stock.tick() {
                Err(Trouble::Io(e)) => log::error!(error:% = e; "store"),
                done => done?,
            }
            let late = self.stock.late_carriers();
            let carriers = self.carriers.iter();
            let carriers = carriers.filter(|(_, it)| late.contains(&it.dial));
            ended.extend(carriers.map(|(number, _)| *number));
            self.tick = Instant::now() + TICK;
        }
        self.give_work()?;
        self.stock.mourn()?;
        Ok(ended)
    }

    fn hear_gate(&mut self, number: u64, gate: &mut Gate) -> Result<bool> {
        let ask = match gate.channel.try_receive() {
            Ok(Some(ask)) if !gate.is_over => ask,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            _ => return Ok(false),
        };
        match self.stock.hear_gate(gate, &self.shown, ask) {
            Ok(Some(answer)) => {
                self.said.push((number, answer));
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(e) if e.is_fatal() => Err(e),
            Err(e) => {
                log::error!(peer:% = gate.peer, error:% = e; "gate of a peer");
                Ok(false)
            }
        }
    }

    fn hear_session(&mut self, number: u64) -> Result<bool> {
        let Some(session) = self.sessions.get(&number) else {
            return Ok(false);
        };
        let ask = match session.channel.try_receive() {
            Ok(Some(ask)) => ask,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            _ => return Ok(false),
        };
        if !self.stock.peers.contains_key(&number) {
            let FromSession::Enter(pass) = ask else {
                return Ok(false);
            };
            let is_in = self.stock.enter(number, &session.user, &pass);
            self.answered.push((number, ToSession::Entered));
            return Ok(is_in);
        }
        let House {
            stock, answered, ..
        } = self;
        let answer = stock.whole(|stock| stock.hear_session(number, ask))?;
        answered.push((number, answer));
        Ok(true)
    }

    fn hear_carrier(&mut self, number: u64) -> Result<bool> {
        let Some(Carrier { dial, channel }) = self.carriers.get(&number) else {
            return Ok(false);
        };
        let dial = *dial;
        let said = match channel.try_receive() {
            Ok(Some(said)) => said,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            _ => return Ok(false),
        };
        let told = self.stock.whole(|stock| stock.hear_carrier(dial, said))?;
        let goes_on = told.is_some();
        self.told.extend(told.map(|message| (number, message)));
        Ok(goes_on)
    }

    fn hear_line(&mut self) -> Result<bool> {
        for _ in 0..OF_ONE {
            let Some((_, line)) = &self.line else {
                return Ok(false);
            };
            let said = match line.try_receive() {
                Ok(Some(said)) => said,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                _ => return Ok(false),
            };
            self.stock.whole(|stock| stock.hear_line(said))?;
        }
        Ok(true)
    }

    fn hear_slow(&mut self) -> Result<()> {
        let done = match self.slow.try_receive() {
            Ok(Some(done)) => done,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Ok(None) => return Err(io::Error::other("the slow thread has ended").into()),
            Err(e) => return Err(e.into()),
        };
        match self.working.take() {
            Some(waiting) => self.stock.done(&waiting, &done),
            None => Ok(()),
        }
    }

    /// Gives the slow thread its next job, if it has none.
    fn give_work(&mut self) -> Result<()> {
        if self.working.is_some() {
            return Ok(());
        }
        if let Some((waiting, job)) = self.stock.next_job()? {
            self.slow.send(&job)?;
            self.working = Some(waiting);
        }
        Ok(())
    }

    fn end(&mut self, number: u64) {
        self.gates.remove(&number);
        self.sessions.remove(&number);
        self.stock.peers.remove(&number);
        if let Some(Carrier { dial, .. }) = self.carriers.remove(&number) {
            self.stock.carrier_ended(dial);
        }
        if self.line.take_if(|(line, _)| *line == number).is_some() {
            self.stock.offline();
        }
    }

    /// Sends what has come of it. Who leaves its answers unread is cut off.
    fn send(&mut self) -> io::Result<()> {
        for (number, answer) in std::mem::take(&mut self.said) {
            self.answer_gate(number, &answer)?;
        }
        let stopped = std::mem::take(&mut self.stock.stopped);
        let stops = stopped.into_iter().map(|number| (number, ToSession::Stop));
        let answers = std::mem::take(&mut self.answered).into_iter();
        for (number, message) in answers.chain(stops) {
            let session = self.sessions.get(&number);
            if session.is_some_and(|it| it.channel.try_send(&message).is_err()) {
                self.end(number);
            }
        }
        for (number, message) in std::mem::take(&mut self.told) {
            let carrier = self.carriers.get(&number);
            if carrier.is_some_and(|it| it.channel.try_send(&message).is_err()) {
                self.end(number);
            }
        }
        for dial in self.stock.dials() {
            if self.daemon.try_send(&ToDaemon::Dial(dial)).is_err() {
                self.stock.lost_carrier(dial.number, NotStored::Refused);
            }
        }
        for call in self.stock.calls.take() {
            // Its peer asks the hub again.
            let _ = self.daemon.try_send(&ToDaemon::Call(call));
        }
        let to_hub = std::mem::take(&mut self.stock.to_hub);
        if let Some((number, line)) = &self.line
            && to_hub.iter().any(|message| line.try_send(message).is_err())
        {
            let number = *number;
            self.end(number);
        }
        Ok(())
    }

    fn answer_gate(&mut self, number: u64, answer: &Answer) -> io::Result<()> {
        let Some(gate) = self.gates.get(&number) else {
            return Ok(());
        };
        let is_taken = gate.channel.try_send(answer).is_ok();
        let Answer::Entered(pass) = answer else {
            if !is_taken {
                self.gates.remove(&number);
            }
            return Ok(());
        };
        epoll::delete(&self.poller, &gate.channel)?;
        let user = self
            .stock
            .passes
            .get(pass)
            .map(|(peer, _)| peer.user.clone());
        let gate = self.gates.remove(&number).filter(|_| is_taken);
        match gate.zip(user) {
            Some((gate, user)) => self.daemon.send(&ToDaemon::Admitted(Admitted {
                tag: gate.tag,
                user,
                gate: gate.channel.into_channel().into(),
            })),
            None => Ok(()),
        }
    }
}
