//! Lines, and bytes of files between them, on a link.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use super::{PeerError, Result};
use crate::hub::wire::{Id, Line, Lines, Message, Reply, Request};
use crate::net::link::Awaited;
use crate::net::{Link, LinkError};

/// Bytes that are read at once for lines.
const PIECE: usize = 16 * 1024;

/// One end of a line.
pub(super) struct Talk {
    pub(super) link: Link,
    lines: Lines,
    /// The number of the next request.
    next: Option<Id>,
}

impl Talk {
    pub(super) fn new(link: Link) -> Talk {
        Talk {
            link,
            lines: Lines::default(),
            next: Some(Id::FIRST),
        }
    }

    pub(super) fn send(&mut self, line: &Line) -> Result<()> {
        Ok(self.link.write(&mut line.print().into_bytes())?)
    }

    /// Sends a request; its number.
    pub(super) fn request(&mut self, request: impl Into<Request>) -> Result<Id> {
        let ended = PeerError::Broken("no number is left for a request");
        let id = self.next.ok_or(ended)?;
        self.next = id.next();
        self.send(&Line {
            id: Some(id),
            message: Message::Request(request.into()),
        })?;
        Ok(id)
    }

    pub(super) fn notice(&mut self, request: impl Into<Request>) -> Result<()> {
        self.send(&Line {
            id: None,
            message: Message::Request(request.into()),
        })
    }

    pub(super) fn answer(&mut self, id: Id, answer: impl Into<Message>) -> Result<()> {
        self.send(&Line {
            id: Some(id),
            message: answer.into(),
        })
    }

    /// A line that has come already.
    pub(super) fn next_line(&mut self) -> Result<Option<Line>> {
        let line = self.lines.line().transpose();
        line.map_err(|_| PeerError::Broken("a line that can't be read"))
    }

    /// Takes in what has come; waits for the first byte of it.
    pub(super) fn read(&mut self) -> Result<()> {
        let mut piece = [0; PIECE];
        match self.link.read(&mut piece)? {
            0 => Err(LinkError::Closed.into()),
            len => {
                self.lines.add(&piece[..len]);
                Ok(())
            }
        }
    }

    /// The next line.
    pub(super) fn line(&mut self) -> Result<Line> {
        loop {
            if let Some(line) = self.next_line()? {
                return Ok(line);
            }
            self.read()?;
        }
    }

    /// The reply to a request that has one answer only.
    pub(super) fn reply(&mut self, to: Id) -> Result<Reply> {
        match self.line()? {
            Line {
                id: Some(id),
                message: Message::Reply(reply),
            } if id == to => Ok(reply),
            _ => Err(PeerError::Broken("something else than the answer")),
        }
    }

    /// Bytes of a file, one at least.
    pub(super) fn bytes(&mut self, to: &mut [u8]) -> Result<usize> {
        let ahead = self.lines.take(to.len());
        if !ahead.is_empty() {
            to[..ahead.len()].copy_from_slice(&ahead);
            return Ok(ahead.len());
        }
        match self.link.read(to)? {
            0 => Err(LinkError::Closed.into()),
            len => Ok(len),
        }
    }

    /// Waits for the other end, for a descriptor, or for a moment.
    pub(super) fn wait(
        &mut self,
        other: Option<BorrowedFd<'_>>,
        until: Option<Instant>,
    ) -> Result<Awaited> {
        if self.lines.has_line() {
            return Ok(Awaited::Input);
        }
        Ok(self.link.wait_for_any(other, until)?)
    }
}
