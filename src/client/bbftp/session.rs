//! A session with a server: its messages, and what is known of the other side.

use std::io::{self, Read};
use std::net::{IpAddr, Shutdown};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::error::{Error, Fate, Result, VERSIONS};
use super::observe::{Event, Observer, WARN_SERVER};
use super::target::Target;
use crate::bbftp::wire::extension::Offer;
use crate::bbftp::wire::{Code, Control, Header, MAX_TEXT, WireError};
use crate::client::cancel::Ticket;
use crate::client::program::Program;
use crate::net::Link;
use crate::text::lossy;

/// How long a program that carries the connection may take to end.
const END_LIMIT: Duration = Duration::from_secs(5);

/// The bytes that the slowest server reads in a second.
const DIGESTED: u64 = 20_000_000;

/// The ends of the connection, which data connections have as well.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) ours: IpAddr,
    pub(super) theirs: IpAddr,
}

/// A session with a server, past its login.
pub struct Session {
    pub(super) control: Control,
    pub(super) target: Target,
    pub(super) ends: Ends,
    pub(super) version: u32,
    pub(super) text: Vec<u8>,
    /// The program that carries the connection.
    pub(super) remote: Option<Program>,
    /// How many transfers the server has consented to.
    pub(super) transfers: u32,
    /// Whether the server has answered anything since the login.
    pub(super) has_answered: bool,
    /// Whether the server is known to close the connection soon.
    pub(super) is_spent: bool,
    pub(super) _ticket: Option<Ticket>,
}

impl Session {
    /// A session on a link whose server waits for a command of this version, and
    /// has said this to the login.
    ///
    /// # Errors
    /// What the system says of the socket.
    pub fn from_link(mut link: Link, version: u32, text: &[u8]) -> io::Result<Session> {
        let ends = Ends {
            ours: link.socket().local_addr()?.ip(),
            theirs: link.socket().peer_addr()?.ip(),
        };
        let target = Target::new("", 0);
        link.set_idle_limit(Some(target.limits.receive))?;
        Ok(Session {
            control: Control::new(link),
            target,
            ends,
            version,
            text: text.to_vec(),
            remote: None,
            transfers: 0,
            has_answered: false,
            is_spent: false,
            _ticket: None,
        })
    }

    /// The version spoken.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// What the server said to the login.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Whether the server is tfd.
    #[must_use]
    pub fn is_tfd(&self) -> bool {
        self.text.starts_with(b"tfd ")
    }

    /// What the server has beyond version 3.
    #[must_use]
    pub fn offer(&self) -> Offer {
        match self.version {
            3 => Offer::from_text(&self.text),
            _ => Offer::default(),
        }
    }

    /// Whether the server has ended the session, or is about to.
    #[must_use]
    pub fn is_lost(&mut self) -> bool {
        let lost = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        let mut fds = [PollFd::new(self.control.link().socket(), lost)];
        self.is_spent || matches!(poll(&mut fds, Some(&Timespec::default())), Ok(n) if n > 0)
    }

    /// Ends the session.
    pub fn close(mut self) {
        if self.version > 1 && self.control.send(Code::CloseConn, &[]).is_err() {
            return;
        }
        self.control.link().close();
        if self.remote.is_some() {
            let mut socket = self.control.link().socket();
            // The program ends by itself if it can.
            let _ = socket.shutdown(Shutdown::Write);
            let _ = socket.set_read_timeout(Some(END_LIMIT));
            let end = Instant::now() + END_LIMIT;
            let mut rest = [0; 256];
            while Instant::now() < end && matches!(socket.read(&mut rest), Ok(1..)) {}
        }
    }

    /// Whether this is the public server that closes the connection after a
    /// failed command, or answers the next one wrongly.
    pub(super) fn is_3_3(&self) -> bool {
        self.text.starts_with(b"bbftpd version 3.3")
    }

    /// The next message, past warnings.
    ///
    /// # Errors
    /// What the server says is wrong, or the failure to read it.
    pub(super) fn answer(&mut self, observer: &dyn Observer) -> Result<Header> {
        loop {
            let header = self.control.read_header().map_err(|e| self.reading(&e))?;
            self.has_answered = true;
            let fate = match Code::try_from(header.code) {
                Ok(Code::Info) => None,
                Ok(Code::Bad) => Some(Fate::Again),
                Ok(Code::BadNoRetry) => Some(Fate::Final),
                _ => return Ok(header),
            };
            let text = self.payload(&header, MAX_TEXT)?;
            match fate {
                Some(fate) => return Err(Error::server(&text, fate)),
                None => observer.notify(&Event::Warning {
                    code: WARN_SERVER,
                    text: &lossy(text.trim_ascii_end()),
                }),
            }
        }
    }

    /// The payload of a message.
    pub(super) fn payload(&mut self, header: &Header, most: usize) -> Result<Vec<u8>> {
        self.control
            .read_payload(header, most)
            .map_err(|e| self.reading(&e))
    }

    /// The payload of the next message, which is to be this one.
    pub(super) fn expect(
        &mut self,
        code: Code,
        most: usize,
        observer: &dyn Observer,
    ) -> Result<Vec<u8>> {
        let header = self.answer(observer)?;
        if header.code != code.number() {
            return Err(Error::unknown(header.code));
        }
        self.payload(&header, most)
    }

    /// Asks something for which the server reads so many bytes before it answers.
    pub(super) fn ask_patiently<T>(
        &mut self,
        bytes: u64,
        ask: impl FnOnce(&mut Session) -> Result<T>,
    ) -> Result<T> {
        let io = |e: io::Error| Error::reading(&e.into());
        let usual = self.target.limits.receive;
        let longer = usual + Duration::from_secs(bytes / DIGESTED);
        let link = self.control.link();
        link.set_idle_limit(Some(longer)).map_err(io)?;
        let answer = ask(self);
        let link = self.control.link();
        link.set_idle_limit(Some(usual)).map_err(io)?;
        answer
    }

    /// Sends a request; the payload of the answer.
    pub(super) fn ask(
        &mut self,
        code: Code,
        payload: &[u8],
        answer: (Code, usize),
    ) -> Result<Vec<u8>> {
        self.send(code, payload)?;
        self.expect(answer.0, answer.1, &())
    }

    pub(super) fn send(&mut self, code: Code, payload: &[u8]) -> Result<()> {
        let sent = self.control.send(code, payload);
        sent.map_err(|e| self.or_interrupted(Error::sending(&e)))
    }

    /// The failure to read a message. A server that ends the connection on the
    /// first one of version 1 does not speak it.
    pub(super) fn reading(&self, e: &WireError) -> Error {
        let is_end = matches!(e, WireError::Closed | WireError::Cut);
        if self.version == 1 && !self.has_answered && is_end {
            let text = "Incompatible server and client: the server does not speak version 1";
            return Error::new(VERSIONS, Fate::End, text);
        }
        self.or_interrupted(Error::reading(e))
    }

    /// An error, unless the user has ended the connection.
    pub(super) fn or_interrupted(&self, e: Error) -> Error {
        match self.target.cancel.is_cancelled() {
            true => Error::new(super::error::INTERRUPTED, Fate::End, "Interrupted"),
            false => e,
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session with {}", self.target.host)
    }
}
