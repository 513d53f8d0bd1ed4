//! A link to a peer: TCP, or TLS 1.3 on it, with its time limits, its rate and
//! its counters, the bytes read ahead and the bytes still to be sent. It must
//! know no protocol: what the bytes mean is its users' business.

mod limits;
mod read;
mod state;
mod tls;
mod write;

use std::io;
use std::net::TcpStream;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

pub use limits::{Meter, Pace};
pub use state::LinkState;

use super::tls::records::Records;
use read::ReadAhead;

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
    ahead: ReadAhead,
    /// Bytes that go out with the next write.
    held: Vec<u8>,
    /// Those of them that are on their way, as they go over the network.
    going: Vec<u8>,
    /// Whether the peer waits for what is held.
    owes: bool,
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
    /// A link on a connected socket. Turns Nagle's algorithm off.
    pub fn new(socket: TcpStream) -> io::Result<Link> {
        socket.set_nodelay(true)?;
        Ok(Link {
            socket,
            records: None,
            ahead: ReadAhead::default(),
            held: Vec::new(),
            going: Vec::new(),
            owes: false,
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

    /// How long one read or write may make no progress from now on.
    pub fn set_idle_limit(&mut self, limit: Option<Duration>) -> io::Result<()> {
        self.idle_limit = limit;
        if limit.is_none() {
            return Ok(());
        }
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
