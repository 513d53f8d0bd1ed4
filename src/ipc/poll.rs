//! What a loop waits for: descriptors, each with the name of its source, so
//! that no order of two lists has to agree.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Descriptors to wait for, and what each is for.
#[derive(Debug)]
pub struct Poll<'a, T> {
    fds: Vec<PollFd<'a>>,
    sources: Vec<T>,
}

impl<T> Default for Poll<'_, T> {
    fn default() -> Self {
        Poll {
            fds: Vec::new(),
            sources: Vec::new(),
        }
    }
}

impl<'a, T> Poll<'a, T> {
    /// Waits until there is something to read, too.
    pub fn read(&mut self, source: T, handle: &'a impl AsFd) {
        self.add(source, handle.as_fd(), PollFlags::IN);
    }

    /// Waits for these events, too. Errors and a hang-up are always reported.
    pub fn add(&mut self, source: T, handle: BorrowedFd<'a>, events: PollFlags) {
        self.fds.push(PollFd::from_borrowed_fd(handle, events));
        self.sources.push(source);
    }

    /// Waits for the first events, and returns the sources that have some, in
    /// the order in which they were added; none when the time is up or a
    /// signal came.
    pub fn wait(mut self, timeout: Option<Duration>) -> io::Result<Vec<(T, PollFlags)>> {
        // One that is longer than a Timespec holds never ends.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(&mut self.fds, timeout.as_ref()) {
            Err(Errno::INTR) => return Ok(Vec::new()),
            other => other?,
        };
        let events = self.fds.iter().map(PollFd::revents);
        let ready = self.sources.into_iter().zip(events);
        Ok(ready.filter(|(_, events)| !events.is_empty()).collect())
    }
}

/// The time left until `end`.
pub fn left(end: Instant) -> Duration {
    end.saturating_duration_since(Instant::now())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::channel::pair;

    #[test]
    fn sources_are_reported_by_name_and_only_when_ready() {
        let (a, b) = pair().expect("pair");
        let (c, d) = pair().expect("pair");
        let wait = |timeout| {
            let mut poll = Poll::default();
            poll.read("b", &b);
            poll.read("d", &d);
            let ready = poll.wait(timeout).expect("poll").into_iter();
            ready.map(|(source, _)| source).collect::<Vec<_>>()
        };
        assert!(wait(Some(Duration::ZERO)).is_empty());
        c.send(&[1], &[]).expect("send");
        assert_eq!(wait(None), ["d"]);
        drop(a);
        assert_eq!(wait(None), ["b", "d"]);
    }
}
