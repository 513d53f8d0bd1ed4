//! A data connection as its thread has it: no call waits for the peer alone, since
//! another stream may end the transfer meanwhile. Sessions may not shut sockets
//! down, which would be another way.

use std::fs::File;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::transfer::Common;
use super::{Result, StreamError};
use crate::net::{Link, LinkError};

/// A connection, and how long the peer may make no progress.
pub(super) struct Connection<'a> {
    link: Link,
    common: &'a Common,
    idle: Duration,
}

impl<'a> Connection<'a> {
    pub(super) fn new(link: Link, common: &'a Common) -> Result<Connection<'a>> {
        link.socket().set_nonblocking(true).map_err(LinkError::Io)?;
        let idle = common.job.idle;
        Ok(Connection { link, common, idle })
    }

    pub(super) fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    pub(super) fn set_idle_limit(&mut self, idle: Duration) {
        self.idle = idle;
    }

    /// Reads some bytes, at least one.
    pub(super) fn read(&mut self, to: &mut [u8]) -> Result<usize> {
        loop {
            match self.link.read(to) {
                Err(LinkError::TimedOut) => self.wait(PollFlags::IN)?,
                read => return Ok(read?),
            }
        }
    }

    /// Reads until `to` is full.
    pub(super) fn read_exact(&mut self, to: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < to.len() {
            done += self.read(&mut to[done..])?;
        }
        Ok(())
    }

    /// Sends bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.link.hold(bytes);
        loop {
            self.link.send_held(usize::MAX)?;
            if self.link.held() == 0 {
                return Ok(());
            }
            self.wait(PollFlags::OUT)?;
        }
    }

    /// Sends so many bytes of a file from an offset on, without reading them
    /// here: `EIO` where the file has become shorter.
    pub(super) fn send_file(&mut self, file: &File, offset: u64, len: usize) -> Result<()> {
        let (mut at, end) = (offset, offset + len as u64);
        while at < end {
            let left = usize::try_from(end - at).unwrap_or(usize::MAX);
            match self.link.send_file_part(file.as_fd(), &mut at, left) {
                Err(LinkError::TimedOut) => self.wait(PollFlags::OUT)?,
                sent => match sent? {
                    Ok(1..) => {}
                    Ok(0) => return Err(StreamError::File(Errno::IO.into())),
                    Err(e) => return Err(StreamError::File(e.into())),
                },
            }
        }
        Ok(())
    }

    /// Waits until the peer has sent something or takes more.
    fn wait(&mut self, events: PollFlags) -> Result<()> {
        let until = Instant::now() + self.idle;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let mut fds = [
                PollFd::new(self.link.socket(), events),
                PollFd::new(self.common.ending(), PollFlags::IN),
            ];
            match poll(&mut fds, Timespec::try_from(left).ok().as_ref()) {
                Ok(0) => return Err(LinkError::TimedOut.into()),
                Ok(_) if !fds[1].revents().is_empty() => return Err(StreamError::Aborted),
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(e) => return Err(LinkError::Io(e.into()).into()),
            }
        }
    }
}
