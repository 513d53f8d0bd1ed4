//! Reading, and waiting for the peer or for something else.

use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_quickack;

use super::{DEADLINE_SLACK, Link, LinkError, Result};

/// The most bytes read ahead of their use.
pub(super) const READ_AHEAD_BYTES: usize = 4 * 1024;

/// Of more bytes than this the system acknowledges the last ones by itself.
const FEW_BYTES: usize = 16 * 1024;

/// Bytes that came with others and are not used yet.
#[derive(Default)]
pub(super) struct ReadAhead {
    buffer: Box<[u8]>,
    used: usize,
    filled: usize,
}

impl ReadAhead {
    /// `None` for more bytes than are ever read ahead.
    pub(super) fn holding(bytes: &[u8]) -> Option<ReadAhead> {
        let mut ahead = ReadAhead::default();
        if !bytes.is_empty() {
            ahead.room().get_mut(..bytes.len())?.copy_from_slice(bytes);
            ahead.filled = bytes.len();
        }
        Some(ahead)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.used..self.filled]
    }

    /// Room behind the bytes, which move to the front.
    fn room(&mut self) -> &mut [u8] {
        if self.buffer.is_empty() {
            self.buffer = vec![0; READ_AHEAD_BYTES].into_boxed_slice();
        }
        self.buffer.copy_within(self.used..self.filled, 0);
        self.filled -= self.used;
        self.used = 0;
        &mut self.buffer[self.filled..]
    }

    fn take(&mut self, to: &mut [u8]) -> usize {
        let n = to.len().min(self.filled - self.used);
        to[..n].copy_from_slice(&self.buffer[self.used..self.used + n]);
        self.used += n;
        n
    }
}

/// What a wait has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// Something of the peer, or its end.
    Input,
    /// The other descriptor is readable.
    Other,
    /// The moment came before.
    Nothing,
}

impl Link {
    /// Reads some bytes, at least one, into `to`, which is not empty.
    pub fn read(&mut self, to: &mut [u8]) -> Result<usize> {
        if !self.has_read_ahead() {
            if to.len() >= READ_AHEAD_BYTES {
                // What has filled the buffer has more behind it.
                self.unacknowledged &= self.ahead.filled < READ_AHEAD_BYTES;
                return self.receive(to, false);
            }
            self.fill(1, false)?;
        }
        Ok(self.ahead.take(to))
    }

    /// Reads until `to` is full.
    pub fn read_exact(&mut self, to: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < to.len() {
            done += self.read(&mut to[done..])?;
        }
        Ok(())
    }

    /// Waits until there is a byte to read. With `may_stop` a request to stop
    /// ends the wait.
    pub fn wait_for_input(&mut self, may_stop: bool) -> Result<()> {
        self.fill(1, may_stop)
    }

    /// The next bytes, at least `n`, left where they are; `n` is at most 4,096.
    pub fn peek(&mut self, n: usize) -> Result<&[u8]> {
        self.fill(n, false)?;
        Ok(self.ahead.bytes())
    }

    /// Whether bytes of the peer are read already and not yet used.
    pub fn has_read_ahead(&self) -> bool {
        !self.ahead.bytes().is_empty()
    }

    /// Whether there is something to read without waiting, were it the end.
    pub fn has_input(&mut self) -> bool {
        if self.has_read_ahead() {
            return true;
        }
        if self.is_over_tls() {
            return self.has_record();
        }
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN | PollFlags::HUP)];
        matches!(poll(&mut fds, Some(&Timespec::default())), Ok(n) if n > 0)
    }

    /// Reads ahead until at least `n` bytes are there.
    fn fill(&mut self, n: usize, may_stop: bool) -> Result<()> {
        if self.ahead.bytes().len() >= n {
            return Ok(());
        }
        let mut ahead = std::mem::take(&mut self.ahead);
        let mut filled = Ok(());
        while ahead.bytes().len() < n && filled.is_ok() {
            let got = self.receive(ahead.room(), may_stop);
            filled = got.map(|got| ahead.filled += got);
        }
        self.ahead = ahead;
        filled
    }

    /// One read that gave something: of TLS's content where TLS is spoken.
    fn receive(&mut self, to: &mut [u8], may_stop: bool) -> Result<usize> {
        if self.owes && !self.has_input() {
            self.flush()?;
        }
        match self.records.take() {
            None => self.read_socket(to, may_stop),
            Some(mut records) => {
                let got = self.read_records(&mut records, to, may_stop);
                self.records = Some(records);
                got
            }
        }
    }

    /// One read of the socket that gave something.
    pub(super) fn read_socket(&mut self, to: &mut [u8], may_stop: bool) -> Result<usize> {
        self.acknowledge();
        loop {
            if may_stop {
                self.check_stop()?;
            }
            if let Some(deadline) = self.deadline {
                self.arm(deadline)?;
            }
            if self.answer_urgent.is_some() && !self.wait_past_urgent()? {
                continue;
            }
            match (&self.socket).read(to) {
                Ok(0) => return Err(LinkError::Closed),
                Ok(n) => {
                    self.keep_pace(n);
                    self.note_received(n);
                    return Ok(n);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Counts bytes read.
    pub(super) fn note_received(&mut self, bytes: usize) {
        self.count_received(bytes);
        self.unacknowledged = bytes < FEW_BYTES;
    }

    /// Before a wait in which nothing is sent: acknowledges what came. A peer
    /// with Nagle's algorithm that sends a message by several writes would
    /// otherwise wait for the system's delayed acknowledgement, some 40 ms. The
    /// option does not last, and after an answer it is not needed.
    fn acknowledge(&mut self) {
        if std::mem::take(&mut self.unacknowledged)
            && let Err(e) = set_tcp_quickack(&self.socket, true)
        {
            log::debug!(error:% = e; "not acknowledged at once");
        }
    }

    fn check_stop(&self) -> Result<()> {
        if self.stop.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
            return Err(LinkError::Stopped);
        }
        Ok(())
    }

    /// Gives the system the time limit of the next read.
    fn arm(&mut self, deadline: Instant) -> Result<()> {
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        if left.is_zero() {
            return Err(LinkError::TimedOut);
        }
        if self.armed.is_none_or(|armed| now - armed > DEADLINE_SLACK) {
            self.socket.set_read_timeout(Some(left))?;
            self.armed = Some(now);
        }
        Ok(())
    }

    /// Waits until there is something to read and no out-of-band byte before
    /// it; `false` when a signal came first.
    fn wait_past_urgent(&self) -> Result<bool> {
        let until = self.idle_limit.map(|limit| Instant::now() + limit);
        loop {
            let left = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return Err(LinkError::TimedOut),
                Some(left) => Timespec::try_from(left).ok(),
                None => None,
            };
            let mut fds = [PollFd::new(&self.socket, PollFlags::IN | PollFlags::PRI)];
            match poll(&mut fds, left.as_ref()) {
                Ok(_) => {}
                Err(Errno::INTR) => return Ok(false),
                Err(e) => return Err(LinkError::Io(e.into())),
            }
            let events = fds[0].revents();
            match &self.answer_urgent {
                Some(answer) if events.contains(PollFlags::PRI) => answer(&self.socket)?,
                _ if events.is_empty() => {}
                _ => return Ok(true),
            }
        }
    }

    /// Waits until `other` is readable or the moment has come; whether it is
    /// readable. What the peer sends in the meantime is left for later, and no
    /// idle limit applies. Fails with `Closed` once the peer sends no more.
    pub fn wait_for_other(
        &mut self,
        other: Option<BorrowedFd<'_>>,
        until: Option<Instant>,
    ) -> Result<bool> {
        self.acknowledge();
        loop {
            self.check_stop()?;
            let mut fds = vec![PollFd::new(&self.socket, PollFlags::RDHUP)];
            fds.extend(other.map(|other| PollFd::from_borrowed_fd(other, PollFlags::IN)));
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let limit = left.and_then(|left| Timespec::try_from(left).ok());
            match poll(&mut fds, limit.as_ref()) {
                Err(Errno::INTR) => continue,
                polled => polled.map_err(io::Error::from)?,
            };
            if !fds[0].revents().is_empty() {
                // Over TLS the last records say whether anything is missing.
                let _ = self.has_input();
                return Err(LinkError::Closed);
            }
            return Ok(fds.get(1).is_some_and(|fd| !fd.revents().is_empty()));
        }
    }

    /// Waits until the peer has sent something, were it the end, until `other` is
    /// readable, which comes first where both are, or until the moment has come.
    /// No idle limit applies. A request to stop ends the wait.
    pub fn wait_for_any(
        &mut self,
        other: Option<BorrowedFd<'_>>,
        until: Option<Instant>,
    ) -> Result<Awaited> {
        if self.owes {
            self.flush()?;
        }
        self.acknowledge();
        loop {
            self.check_stop()?;
            let has_input = self.has_input();
            let mut fds = vec![PollFd::new(&self.socket, PollFlags::IN)];
            fds.extend(other.map(|other| PollFd::from_borrowed_fd(other, PollFlags::IN)));
            let left = match has_input {
                true => Some(Duration::ZERO),
                false => until.map(|until| until.saturating_duration_since(Instant::now())),
            };
            let limit = left.and_then(|left| Timespec::try_from(left).ok());
            match poll(&mut fds, limit.as_ref()) {
                Err(Errno::INTR) => continue,
                polled => polled.map_err(io::Error::from)?,
            };
            if fds.get(1).is_some_and(|fd| !fd.revents().is_empty()) {
                return Ok(Awaited::Other);
            }
            if has_input {
                return Ok(Awaited::Input);
            }
            if until.is_some_and(|until| until <= Instant::now()) {
                return Ok(Awaited::Nothing);
            }
        }
    }

    /// Waits until the peer has sent something, or takes more; whether it has
    /// sent something.
    pub fn wait_for_either(&mut self) -> Result<bool> {
        if self.has_input() {
            return Ok(true);
        }
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN | PollFlags::OUT)];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(LinkError::Io(e.into())),
        }
        Ok(!(fds[0].revents() - PollFlags::OUT).is_empty())
    }
}
