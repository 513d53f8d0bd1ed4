//! Waiting: for something to read, for something else, or for the client to
//! leave.

use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::{Result, Wire, WireError};

impl Wire {
    /// Waits until `other` is readable or the moment has come; whether it is
    /// readable. What the peer sends meanwhile is left for later, and no idle
    /// limit applies.
    ///
    /// # Errors
    /// `Closed` once the peer sends no more, `Stopped`, or the system's word.
    pub fn wait_beside(
        &mut self,
        other: Option<BorrowedFd<'_>>,
        until: Option<Instant>,
    ) -> Result<bool> {
        loop {
            if self.stop.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
                return Err(WireError::Stopped);
            }
            let mut fds = vec![PollFd::new(&self.socket, PollFlags::RDHUP)];
            fds.extend(other.map(|other| PollFd::from_borrowed_fd(other, PollFlags::IN)));
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let limit = left.and_then(|left| Timespec::try_from(left).ok());
            match poll(&mut fds, limit.as_ref()) {
                Err(Errno::INTR) => continue,
                polled => polled.map_err(std::io::Error::from)?,
            };
            if !fds[0].revents().is_empty() {
                // Over TLS the last records tell whether anything is missing.
                let _ = self.has_input();
                let is_end = self.may_end_here();
                return Err(if is_end {
                    WireError::Closed
                } else {
                    WireError::Cut
                });
            }
            return Ok(fds.get(1).is_some_and(|fd| !fd.revents().is_empty()));
        }
    }

    /// Waits until the peer has sent something, or takes more; whether it has
    /// sent something.
    ///
    /// # Errors
    /// The system's word.
    pub fn wait_for_either(&mut self) -> Result<bool> {
        if self.has_input() {
            return Ok(true);
        }
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN | PollFlags::OUT)];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(WireError::Io(e.into())),
        }
        Ok(!(fds[0].revents() - PollFlags::OUT).is_empty())
    }

    /// Waits until there is something to read and no out-of-band byte before
    /// it; `false` when a signal came first.
    pub(super) fn wait_past_urgent(&self) -> Result<bool> {
        let until = self.idle.map(|idle| Instant::now() + idle);
        loop {
            let left = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return Err(WireError::TimedOut),
                Some(left) => Timespec::try_from(left).ok(),
                None => None,
            };
            let mut fds = [PollFd::new(&self.socket, PollFlags::IN | PollFlags::PRI)];
            match poll(&mut fds, left.as_ref()) {
                Ok(_) => {}
                Err(Errno::INTR) => return Ok(false),
                Err(e) => return Err(WireError::Io(e.into())),
            }
            let what = fds[0].revents();
            match &self.urgent_bytes {
                Some(urgent_bytes) if what.contains(PollFlags::PRI) => {
                    urgent_bytes
                        .answer(&self.socket)
                        .map_err(|e| WireError::from(std::io::Error::from(e)))?;
                }
                _ if what.is_empty() => {}
                _ => return Ok(true),
            }
        }
    }
}
