//! The loop of the processes that answer gates, such as keeper and authenticator: one
//! thread takes the channels of new gates from the daemon, others answer. So the
//! daemon never waits for such a process, even if an answer takes long.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::io::Errno;

use super::Pipe;
use super::codec::Decode;
use crate::sys::process::{PANICKED, exit};

/// How long a delayed answer takes.
pub const DELAY: Duration = Duration::from_secs(2);

/// How many of them may wait to be put in their order.
const MOST_DELAYED: usize = 4096;

/// What comes of a gate that has asked something.
pub enum Next<G> {
    /// It may ask more.
    Again(G),
    /// It may not.
    Done,
    /// It gets its answer, which this gives, at that time. No thread waits for that.
    Delayed(Instant, Answer<G>),
}

/// Gives an answer; the gate, if it may ask more.
pub type Answer<G> = Box<dyn FnOnce() -> Option<G> + Send>;

impl<G> From<Option<G>> for Next<G> {
    fn from(gate: Option<G>) -> Next<G> {
        gate.map_or(Next::Done, Next::Again)
    }
}

/// Answers gates until the daemon has ended, or has said by `None` that no more
/// will come and the last may ask nothing more. `answer` gets a gate that has
/// asked something or has ended.
pub fn serve<S, R: Decode, G: From<R> + AsFd + Send + 'static, N: Into<Next<G>>>(
    daemon: &Pipe<S, Option<R>>,
    workers: usize,
    answer: impl Fn(G) -> N + Send + Sync + 'static,
) -> io::Result<()> {
    let gates = Arc::new(Gates::new()?);
    let answer = Arc::new(answer);
    let (late, delayed) = sync_channel(MOST_DELAYED);
    let all = Arc::clone(&gates);
    spawn(move || answer_late(&all, &delayed))?;
    for _ in 0..workers {
        let (gates, answer, late) = (Arc::clone(&gates), Arc::clone(&answer), late.clone());
        spawn(move || answer_all(&gates, &*answer, &late).map(drop))?;
    }
    while let Some(message) = daemon.receive()? {
        match message {
            Some(gate) => gates.add(G::from(gate))?,
            None => {
                gates.wait_until_empty();
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Ends the process with a thread that answers: the daemon starts another.
struct EndsAll;

impl Drop for EndsAll {
    fn drop(&mut self) {
        exit(PANICKED);
    }
}

/// Runs a thread without which the process is of no use.
pub fn spawn(body: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    let ended = std::thread::Builder::new().spawn(move || {
        let _all = EndsAll;
        if let Err(e) = body() {
            log::error!(error:% = e; "gates are not answered");
        }
    });
    ended.map(drop)
}

fn answer_all<G: AsFd, N: Into<Next<G>>>(
    gates: &Gates<G>,
    answer: &impl Fn(G) -> N,
    late: &SyncSender<(Instant, Answer<G>)>,
) -> io::Result<Infallible> {
    loop {
        let Some(gate) = gates.next()? else { continue };
        match answer(gate).into() {
            Next::Again(gate) => gates.put_back(gate)?,
            Next::Done => gates.forget(),
            Next::Delayed(due, answer) => late
                .send((due, answer))
                .map_err(|_| io::ErrorKind::BrokenPipe)?,
        }
    }
}

/// Gives the delayed answers, each at its time.
fn answer_late<G: AsFd>(
    gates: &Gates<G>,
    delayed: &Receiver<(Instant, Answer<G>)>,
) -> io::Result<()> {
    let mut waiting: BTreeMap<(Instant, u64), Answer<G>> = BTreeMap::new();
    for number in 0_u64.. {
        let due = waiting.first_key_value().map(|((due, _), _)| *due);
        let received = match due {
            Some(due) => delayed.recv_timeout(due.saturating_duration_since(Instant::now())),
            None => delayed.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match received {
            Ok((due, answer)) => {
                waiting.insert((due, number), answer);
                continue;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        let Some((_, answer)) = waiting.pop_first() else {
            continue;
        };
        match answer() {
            Some(gate) => gates.put_back(gate)?,
            None => gates.forget(),
        }
    }
    Ok(())
}

/// The gates that may ask.
struct Gates<G> {
    poller: OwnedFd,
    waiting: Mutex<Waiting<G>>,
    emptied: Condvar,
}

struct Waiting<G> {
    /// The number of the next one.
    next: u64,
    gates: HashMap<u64, G>,
    /// How many there are, with those that are being answered.
    open: usize,
}

impl<G: AsFd> Gates<G> {
    fn new() -> io::Result<Gates<G>> {
        Ok(Gates {
            poller: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            waiting: Mutex::new(Waiting {
                next: 0,
                gates: HashMap::new(),
                open: 0,
            }),
            emptied: Condvar::new(),
        })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<G>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a gate in.
    fn add(&self, gate: G) -> io::Result<()> {
        self.waiting().open += 1;
        self.put_back(gate)
    }

    /// Wakes one thread when this gate asks.
    fn put_back(&self, gate: G) -> io::Result<()> {
        let mut waiting = self.waiting();
        let Waiting { next, gates, .. } = &mut *waiting;
        let data = epoll::EventData::new_u64(*next);
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
        epoll::add(&self.poller, gate.as_fd(), data, flags)?;
        gates.insert(*next, gate);
        *next += 1;
        Ok(())
    }

    /// Takes note that a gate may ask nothing more.
    fn forget(&self) {
        self.waiting().open -= 1;
        self.emptied.notify_all();
    }

    fn wait_until_empty(&self) {
        let is_open = |waiting: &mut Waiting<G>| waiting.open > 0;
        drop(self.emptied.wait_while(self.waiting(), is_open));
    }

    /// Waits for a gate that asks or has ended.
    fn next(&self) -> io::Result<Option<G>> {
        let mut events = Vec::with_capacity(1);
        let room = rustix::buffer::spare_capacity(&mut events);
        match epoll::wait(&self.poller, room, None) {
            Err(Errno::INTR) => return Ok(None),
            other => other?,
        };
        let asking = events.first().map(|event| event.data.u64());
        let gate = asking.and_then(|id| self.waiting().gates.remove(&id));
        if let Some(gate) = &gate {
            epoll::delete(&self.poller, gate.as_fd())?;
        }
        Ok(gate)
    }
}
