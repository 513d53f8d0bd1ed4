//! Services: helper processes that keep state and that sessions speak to. Here
//! are a service's ends of that, in the daemon and in its own process.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use super::Helper;
use super::backoff::Backoff;
use super::codec::{Decode, Encode};
use super::pipe::{Pipe, pair};

/// How often to look whether one has ended.
const LOOK: Duration = Duration::from_millis(10);

/// Callers answered before a service looks elsewhere.
const AT_ONCE: usize = 64;

/// A helper process that keeps state and that sessions speak to: each has a channel
/// of its own to it, made by the daemon, whose word it is whom the channel is for. A
/// service that ended is started again, later each time. Once this is dropped, it
/// serves the sessions that it has, and ends with the last of them.
#[derive(Debug)]
pub struct Service<S, R = ()> {
    helper: Option<Helper<S, R>>,
    backoff: Backoff,
    /// How often it was started again.
    pub restarts: u64,
}

impl<S: Encode, R> Service<S, R> {
    /// A service that runs.
    pub fn new(helper: Helper<S, R>) -> Service<S, R> {
        Service {
            helper: Some(helper),
            backoff: Backoff::default(),
            restarts: 0,
        }
    }

    /// A service that can't be started yet, and is when that is due.
    pub fn later() -> Service<S, R> {
        let mut backoff = Backoff::default();
        backoff.failed();
        Service {
            helper: None,
            backoff,
            restarts: 0,
        }
    }

    /// A channel to the service for a session, which `introduce` puts into the
    /// message that says whom it is for. Fails at once while the service does
    /// not run, and with `WouldBlock` while its queue is full.
    pub fn open<A, B>(&self, introduce: impl FnOnce(Pipe<B, A>) -> S) -> io::Result<Pipe<A, B>> {
        let helper = self.helper.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let (ours, theirs) = pair()?;
        helper.channel.try_send(&introduce(theirs))?;
        Ok(ours)
    }

    /// Sends it a message, or fails with `WouldBlock` while its queue is full; if it
    /// does not run, nobody gets it.
    pub fn send(&self, message: &S) -> io::Result<()> {
        let send = |helper: &Helper<S, R>| helper.channel.try_send(message);
        self.helper.as_ref().map_or(Ok(()), send)
    }

    /// Takes note that a process has ended; whether it was the service's.
    pub fn reaped(&mut self, pid: Pid) -> bool {
        let is_ours = |helper: &mut Helper<S, R>| helper.pid == pid;
        let is_gone = self.helper.take_if(is_ours).is_some();
        if is_gone {
            self.backoff.failed();
        }
        is_gone
    }

    /// When [`Service::restart_if_due`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        self.backoff.due()
    }

    /// Starts the service again once that is due.
    pub fn restart_if_due(&mut self, start: impl FnOnce() -> Result<Helper<S, R>, String>) {
        if !self.backoff.is_due() {
            return;
        }
        self.restarts += 1;
        match start() {
            Ok(helper) => {
                self.helper = Some(helper);
                self.backoff.started();
            }
            Err(e) => {
                log::error!(error:% = e; "service not started");
                self.backoff.failed();
            }
        }
    }

    /// Lets it end, and waits for that for so long.
    pub fn end(mut self, patience: Duration) {
        let Some(Helper { pid, channel }) = self.helper.take() else {
            return;
        };
        drop(channel);
        let until = Instant::now() + patience;
        let runs = || waitpid(pid, Some(WaitPidFlag::WNOHANG)) == Ok(WaitStatus::StillAlive);
        while runs() && Instant::now() < until {
            std::thread::sleep(LOOK);
        }
    }

    /// The channel on which it says something, while it runs.
    pub fn channel(&self) -> Option<BorrowedFd<'_>> {
        self.helper.as_ref().map(|helper| helper.channel.as_fd())
    }

    /// That channel once more, for who waits without the service at hand.
    pub fn cloned_channel(&self) -> Option<OwnedFd> {
        self.channel()?.try_clone_to_owned().ok()
    }

    /// The next that it has said, if there is anything.
    pub fn news(&self) -> Option<R>
    where
        R: Decode,
    {
        let helper = self.helper.as_ref()?;
        helper.channel.try_receive().ok().flatten()
    }

    /// Ends it at once, to be started again.
    pub fn kill(&self) {
        self.helper.iter().for_each(Helper::kill);
    }
}

/// The sessions that a service answers, in its process: `S` to questions `R`. Each
/// gets one answer a turn, so that none keeps another waiting.
#[derive(Debug)]
pub struct Callers<S, R> {
    poller: OwnedFd,
    pipes: HashMap<u64, Pipe<S, R>>,
    /// The number of the next one.
    next: u64,
}

impl<S: Encode, R: Decode> Callers<S, R> {
    /// None yet.
    pub fn new() -> io::Result<Callers<S, R>> {
        Ok(Callers {
            poller: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            pipes: HashMap::new(),
            next: 0,
        })
    }

    /// Takes one in.
    pub fn add(&mut self, pipe: Pipe<S, R>) -> io::Result<()> {
        let data = epoll::EventData::new_u64(self.next);
        epoll::add(&self.poller, &pipe, data, epoll::EventFlags::IN)?;
        self.pipes.insert(self.next, pipe);
        self.next += 1;
        Ok(())
    }

    /// Whether all have ended.
    pub fn is_empty(&self) -> bool {
        self.pipes.is_empty()
    }

    /// Answers those who have asked. Who sends anything else or leaves its answers
    /// unread is cut off.
    pub fn answer(&mut self, mut answer: impl FnMut(R) -> S) -> io::Result<()> {
        let mut events = Vec::with_capacity(AT_ONCE);
        let at_once = Timespec::default();
        epoll::wait(&self.poller, spare_capacity(&mut events), Some(&at_once))?;
        for event in events {
            let id = event.data.u64();
            let Some(pipe) = self.pipes.get(&id) else {
                continue;
            };
            let goes_on = match pipe.try_receive() {
                Ok(Some(question)) => pipe.try_send(&answer(question)).is_ok(),
                Err(e) => e.kind() == io::ErrorKind::WouldBlock,
                Ok(None) => false,
            };
            if !goes_on {
                epoll::delete(&self.poller, pipe)?;
                self.pipes.remove(&id);
            }
        }
        Ok(())
    }
}

impl<S, R> AsFd for Callers<S, R> {
    /// Readable when one of them has asked or ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Caller = Pipe<u32, u32>;

    fn callers(count: usize) -> (Callers<u32, u32>, Vec<Caller>) {
        let mut callers = Callers::new().expect("callers");
        let mut add = |_| {
            let (ours, theirs) = pair().expect("pair");
            callers.add(theirs).expect("add");
            ours
        };
        let pipes = (0..count).map(&mut add).collect();
        (callers, pipes)
    }

    #[test]
    fn a_flood_of_one_leaves_the_others_their_turn_and_their_answers() {
        let (mut callers, pipes) = callers(3);
        let [flood, one, other] = pipes.as_slice() else {
            panic!("three")
        };
        let flooded = (0..).take_while(|_| flood.try_send(&7).is_ok()).count();
        one.send(&1).expect("send");
        other.send(&2).expect("send");
        callers.answer(|number| number + 100).expect("answer");
        assert_eq!(one.try_receive().expect("answer"), Some(101));
        assert_eq!(other.try_receive().expect("answer"), Some(102));
        assert_eq!(flood.try_receive().expect("answer"), Some(107));
        assert!(flood.try_receive().is_err(), "one a turn");
        assert!(flooded > 1);
    }

    #[test]
    fn many_that_flood_are_answered_in_turn() {
        let (mut callers, pipes) = callers(2 * AT_ONCE);
        for pipe in &pipes {
            (0..3).for_each(|number| pipe.send(&number).expect("send"));
        }
        for _ in 0..2 {
            callers.answer(|number| number).expect("answer");
        }
        for pipe in &pipes {
            assert_eq!(pipe.try_receive().expect("answer"), Some(0));
        }
    }

    #[test]
    fn who_ends_sends_nonsense_or_reads_no_answer_is_cut_off() {
        let (mut callers, mut pipes) = callers(3);
        pipes.remove(0);
        let raw = pipes.remove(0).into_channel();
        raw.send(b"nonsense", &[]).expect("send");
        callers.answer(|number| number).expect("answer");
        assert!(raw.is_over() && !callers.is_empty());
        let mut turns = 0;
        while !callers.is_empty() {
            let _ = pipes[0].try_send(&1);
            callers.answer(|number| number).expect("answer");
            turns += 1;
        }
        assert!(turns > 1, "some answers may wait");
    }
}
