//! A link to a peer: TCP, or TLS 1.3 on it, with its time limits, its rate and
//! its counters, the bytes read ahead and the bytes still to be sent. It must
//! know no protocol: what the bytes mean is its users' business.

mod limits;
mod linger;
mod read;
mod tls;

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use read::ReadAhead;
use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_nodelay;
use rustix::net::{SendFlags, send};
use zeroize::Zeroizing;

use crate::ipc::codec::codec;
use crate::net::tls::Exported;
use crate::net::tls::records::{Records, RecordsState};

pub use limits::{Meter, Pace};
pub use read::Awaited;

/// Why a link can't go on. After any of these the connection is over.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The peer closed the connection; see [`Link::may_end_here`].
    #[error("connection closed")]
    Closed,
    /// The peer let a time limit pass.
    #[error("time limit passed")]
    TimedOut,
    /// The process was asked to end while it waited for the peer.
    #[error("asked to end")]
    Stopped,
    /// What the peer sent is not TLS, or not as TLS has it.
    #[error("protocol broken: {0}")]
    Tls(&'static str),
    /// TLS has no key left to continue with. The peer may connect again.
    #[error("{0}")]
    Keyless(&'static str),
    /// The system's error on reading or writing.
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for LinkError {
    fn from(e: io::Error) -> LinkError {
        match e.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => LinkError::TimedOut,
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => LinkError::Closed,
            _ => LinkError::Io(e),
        }
    }
}

type Result<T> = std::result::Result<T, LinkError>;

/// Answers an out-of-band byte that has arrived on a socket.
pub type AnswerUrgent = Box<dyn Fn(&TcpStream) -> io::Result<()> + Send>;

/// How far a deadline may be passed: the system's time limit for one read is
/// renewed this often.
const DEADLINE_SLACK: Duration = Duration::from_millis(100);

/// Both directions of a connection.
pub struct Link {
    socket: TcpStream,
    /// The records of TLS; none on plain TCP.
    records: Option<Box<Records>>,
    /// What its handshake is to export, and has.
    label: Option<&'static str>,
    exported: Option<Exported>,
    ahead: ReadAhead,
    /// Bytes that go out with the next write.
    held: Vec<u8>,
    /// Those of them that are on their way, as they go over the network.
    going: Vec<u8>,
    /// Whether the peer waits for what is held.
    owes: bool,
    /// Whether the last bytes read were few, and nothing was sent since: the
    /// peer may have sent half a message, and hold the rest back until these
    /// are acknowledged.
    unacknowledged: bool,
    deadline: Option<Instant>,
    /// When the system was last given a time limit for reads.
    armed: Option<Instant>,
    idle_limit: Option<Duration>,
    stop: Option<&'static AtomicBool>,
    pace: Option<Pace>,
    meter: Option<Meter>,
    answer_urgent: Option<AnswerUrgent>,
}

impl Link {
    /// A link on a connected socket. Turns Nagle's algorithm off, which sockets
    /// between two processes of this machine do not have.
    pub fn new(socket: TcpStream) -> io::Result<Link> {
        match set_tcp_nodelay(&socket, true) {
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(e) => return Err(e.into()),
        }
        Ok(Link {
            socket,
            records: None,
            label: None,
            exported: None,
            ahead: ReadAhead::default(),
            held: Vec::new(),
            going: Vec::new(),
            owes: false,
            unacknowledged: false,
            deadline: None,
            armed: None,
            idle_limit: None,
            stop: None,
            pace: None,
            meter: None,
            answer_urgent: None,
        })
    }

    /// The socket, for its options.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// The moment at which reading fails with `TimedOut`, whatever the peer
    /// does until then. A write that makes no progress fails no later than that
    /// long after its begin.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        if self.armed.take().is_some() {
            self.socket.set_read_timeout(None)?;
        }
        if deadline.is_some() || self.deadline.is_some() {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            self.socket
                .set_write_timeout(left.map(|left| left.max(DEADLINE_SLACK)))?;
        }
        self.deadline = deadline;
        Ok(())
    }

    /// How long one read or write may make no progress from now on; `None` for
    /// ever.
    pub fn set_idle_limit(&mut self, limit: Option<Duration>) -> io::Result<()> {
        if limit.is_none() && self.idle_limit.is_none() {
            return Ok(());
        }
        self.idle_limit = limit;
        self.socket.set_read_timeout(limit)?;
        self.socket.set_write_timeout(limit)
    }

    /// The most bytes a second from now on, both directions together. Links
    /// with clones of one pace share its rate.
    pub fn set_pace(&mut self, pace: Option<Pace>) {
        self.pace = pace;
    }

    /// Counts all bytes from now on, as they are on the network.
    pub fn count_on(&mut self, meter: Meter) {
        self.meter = Some(meter);
    }

    /// A flag, set by a signal, that ends the wait for a peer that has nothing
    /// under way.
    pub fn stop_on(&mut self, flag: &'static AtomicBool) {
        self.stop = Some(flag);
    }

    /// Answers out-of-band bytes before it reads on, since the system drops a
    /// byte once it is read past. TLS has none.
    pub fn answer_urgent(&mut self, answer: AnswerUrgent) {
        self.answer_urgent = self.records.is_none().then_some(answer);
    }
}

/// What goes on in another process, but for the socket.
pub struct LinkState {
    /// Bytes read and not yet used.
    ahead: Zeroizing<Vec<u8>>,
    /// The records of TLS, where it is spoken.
    records: Option<RecordsState>,
    /// What its handshake has exported.
    exported: Option<Exported>,
}

codec!(struct LinkState { ahead, records, exported });

impl Link {
    /// The socket, for the process that takes the connection over.
    pub fn into_socket(self) -> TcpStream {
        self.socket
    }

    /// The state; `None` where bytes wait to be sent or the kernel has a part
    /// of it.
    pub fn state(&self) -> Option<LinkState> {
        if self.held() > 0 {
            return None;
        }
        let records = match &self.records {
            Some(records) => Some(records.state()?),
            None => None,
        };
        let ahead = self.ahead.bytes().to_vec().into();
        Some(LinkState {
            ahead,
            records,
            exported: self.exported.clone(),
        })
    }

    /// The link with this socket and state. Fails with `InvalidData` for a
    /// state that no link has.
    pub fn from_state(socket: TcpStream, state: &LinkState) -> io::Result<Link> {
        // The time limits were those of the process that had it.
        socket.set_read_timeout(None)?;
        socket.set_write_timeout(None)?;
        let mut link = Link::new(socket)?;
        link.ahead = ReadAhead::holding(&state.ahead).ok_or(io::ErrorKind::InvalidData)?;
        if let Some(records) = &state.records {
            link.start_tls(Records::from_state(records).ok_or(io::ErrorKind::InvalidData)?);
        }
        link.exported.clone_from(&state.exported);
        Ok(link)
    }
}

/// What the peer waits for is sent once it is more bytes than this.
const MAX_OWED_BYTES: usize = 16 * 1024;

/// A larger buffer of held bytes is given back after the write.
const MAX_KEPT_BYTES: usize = 64 * 1024;

impl Link {
    /// Appends bytes to those that go out with the next write, and returns them
    /// for changes in place.
    pub fn hold(&mut self, bytes: &[u8]) -> &mut [u8] {
        let at = self.held.len();
        self.held.extend_from_slice(bytes);
        &mut self.held[at..]
    }

    /// Gives back the memory that it needs only while bytes come and go.
    pub fn rest(&mut self) {
        if let Some(records) = &mut self.records {
            records.inbox.rest();
        }
        if !self.has_read_ahead() {
            self.ahead = ReadAhead::default();
        }
        self.held.shrink_to_fit();
        self.going.shrink_to_fit();
    }

    /// How many bytes are held for the next write.
    pub fn held(&self) -> usize {
        self.held.len() + self.going.len()
    }

    /// Sends what is held before the peer is waited for: at once unless the
    /// peer has sent more already, to which the answer may go out with this.
    pub fn flush_in_time(&mut self) -> Result<()> {
        self.owes = true;
        if self.has_read_ahead() && self.held.len() < MAX_OWED_BYTES {
            return Ok(());
        }
        self.flush()
    }

    /// Sends what is held, if there is anything.
    pub fn flush(&mut self) -> Result<()> {
        if self.held() == 0 {
            return Ok(());
        }
        self.write(&mut [])
    }

    /// Sends at most `limit` of the bytes held, as many as the system takes
    /// without waiting.
    pub fn send_held(&mut self, limit: usize) -> Result<()> {
        if self.going.is_empty() {
            self.set_going(self.held.len().min(limit))?;
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let sent = match send(&self.socket, &self.going, flags) {
            Ok(sent) => sent,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(e) => return Err(io::Error::from(e).into()),
        };
        self.account(sent);
        self.going.drain(..sent);
        Ok(())
    }

    /// Sends what is held and these bytes behind it. Over TLS they are
    /// enciphered in place.
    pub fn write(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.owes = false;
        if !self.going.is_empty() {
            let going = std::mem::take(&mut self.going);
            self.write_socket(&going)?;
        }
        if self.held.is_empty() {
            return self.send(bytes);
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(bytes);
        self.send(&mut held)?;
        if held.capacity() <= MAX_KEPT_BYTES {
            held.clear();
            self.held = held;
        }
        Ok(())
    }

    fn send(&mut self, bytes: &mut [u8]) -> Result<()> {
        match self.records.take() {
            None => self.write_socket(bytes),
            Some(mut records) => {
                let sent = self.send_records(&mut records, bytes);
                self.records = Some(records);
                sent
            }
        }
    }

    /// Sends bytes as they are.
    pub(super) fn write_socket(&mut self, bytes: &[u8]) -> Result<()> {
        self.account(bytes.len());
        Ok(self.socket.write_all(bytes)?)
    }

    /// Counts bytes that are about to go out, once they are due.
    pub(super) fn account(&mut self, bytes: usize) {
        self.unacknowledged = false;
        self.keep_pace(bytes);
        self.count_sent(bytes);
    }
}
