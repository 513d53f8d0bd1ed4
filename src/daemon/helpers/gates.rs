//! The loop of the processes that answer gates, keeper and authenticator: one
//! thread takes the channels of new gates from the daemon, others answer. So the
//! daemon never waits for such a process, even if an answer takes long.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::epoll;
use rustix::io::Errno;

use crate::ipc::Pipe;
use crate::ipc::codec::Decode;
use crate::sys::process::{PANICKED, exit};

/// Answers gates until the daemon has ended. `answer` gets a gate that has asked
/// something or has ended, and returns it if it may ask more.
pub(super) fn serve<S, R: Decode, G: From<R> + AsFd + Send + 'static>(
    daemon: &Pipe<S, R>,
    workers: usize,
    answer: impl Fn(G) -> Option<G> + Send + Sync + 'static,
) -> io::Result<()> {
    let gates = Arc::new(Gates::new()?);
    let answer = Arc::new(answer);
    for _ in 0..workers {
        let (gates, answer) = (Arc::clone(&gates), Arc::clone(&answer));
        std::thread::Builder::new().spawn(move || {
            let _all = EndsAll;
            let Err(e) = answer_all(&gates, &*answer);
            log::error!("gates are not answered error=\"{e}\"");
        })?;
    }
    while let Some(gate) = daemon.receive()? {
        gates.add(G::from(gate))?;
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

fn answer_all<G: AsFd>(
    gates: &Gates<G>,
    answer: &impl Fn(G) -> Option<G>,
) -> io::Result<Infallible> {
    loop {
        if let Some(gate) = gates.next()?.and_then(answer) {
            gates.add(gate)?;
        }
    }
}

/// The gates that may ask.
struct Gates<G> {
    poller: OwnedFd,
    /// The next number, and the gates to wait for.
    waiting: Mutex<(u64, HashMap<u64, G>)>,
}

impl<G: AsFd> Gates<G> {
    fn new() -> io::Result<Gates<G>> {
        Ok(Gates {
            poller: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            waiting: Mutex::new((0, HashMap::new())),
        })
    }

    /// Wakes one thread when this gate asks.
    fn add(&self, gate: G) -> io::Result<()> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, gates) = &mut *waiting;
        let data = epoll::EventData::new_u64(*next);
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
        epoll::add(&self.poller, gate.as_fd(), data, flags)?;
        gates.insert(*next, gate);
        *next += 1;
        Ok(())
    }

    /// Waits for a gate that asks or has ended.
    fn next(&self) -> io::Result<Option<G>> {
        let mut events = Vec::with_capacity(1);
        let room = rustix::buffer::spare_capacity(&mut events);
        match epoll::wait(&self.poller, room, None) {
            Err(Errno::INTR) => return Ok(None),
            other => other?,
        };
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let asking = events.first().map(|event| event.data.u64());
        let gate = asking.and_then(|id| waiting.1.remove(&id));
        if let Some(gate) = &gate {
            epoll::delete(&self.poller, gate.as_fd())?;
        }
        Ok(gate)
    }
}
