//! Messages and raw units on a TCP connection (document, "Overview" and the
//! headers of PUT, GET, SDOWN, SUP; tf-protocol(7), FRAMING).
//!
//! A message is a header unit (4 bytes, big-endian length) and a body unit. A
//! raw unit has no header of its own. The wire never looks into a body and
//! never allocates for a length it has not checked. Below the units is TCP, or
//! TLS on it.

mod error;
mod header;
mod kernel;
mod link;
mod meter;
mod pace;
mod state;
mod wait;
mod write;

use std::io::{self, Read};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::cipher::Cipher;
use super::urgent::{self, UrgentBytes};
use crate::sys::number::at_most;
pub use error::{Result, WireError};
pub use link::Inside;
use link::Link;
pub use meter::Meter;
use meter::count;
pub use pace::Pace;
pub use state::MAX_STATE;
pub(crate) use write::message_header;

/// The longest body of a message, in bytes.
pub const MAX_MESSAGE: usize = 512 * 1024;

/// Bytes read ahead of their use.
const READ_AHEAD: usize = 4 * 1024;

/// How far a deadline may be passed: the system's time limit for one read is
/// set anew this often.
const SLACK: Duration = Duration::from_millis(100);

/// Bytes that are dropped in one go, of a unit that is not wanted.
const SKIPPED: u64 = 4096;

/// The most out-of-band bytes looked for between two messages.
const MAX_STRAYS: u64 = 4096;

/// How often, and after what time, it is looked whether there are any.
const STRAY_LOOKS: u32 = 20;
const STRAY_PAUSE: Duration = Duration::from_millis(1);

/// A buffer above this size is given back when small messages follow.
const KEEP_BUFFER: usize = 64 * 1024;

/// Both directions of a connection, in plain until [`Wire::encipher`].
pub struct Wire {
    socket: TcpStream,
    link: Link,
    rx: Option<Cipher>,
    tx: Option<Cipher>,
    /// After NIGMA, the ciphers of a client that starts its seed anew: from
    /// the peer, to the peer.
    restarted: Option<(Cipher, Cipher)>,
    /// Bytes read ahead: those from `used` to `filled`.
    ahead: Box<[u8]>,
    used: usize,
    filled: usize,
    out: Vec<u8>,
    /// Enciphered bytes that go out with the next write.
    held: Vec<u8>,
    /// Bytes of them as they go over the network, on their way already.
    going: Vec<u8>,
    /// Whether the peer waits for what is held.
    owes: bool,
    deadline: Option<Instant>,
    /// When the system was last told how long a read may take.
    armed: Option<Instant>,
    stop: Option<&'static AtomicBool>,
    pace: Option<Pace>,
    meter: Option<Meter>,
    /// Bytes of files and listings since [`Wire::take_data_count`].
    data: u64,
    urgent_bytes: Option<UrgentBytes>,
    idle: Option<Duration>,
}

impl Wire {
    /// A wire on a connected socket. Turns Nagle's algorithm off.
    ///
    /// # Errors
    /// What the system says of the socket.
    pub fn new(socket: TcpStream) -> io::Result<Wire> {
        socket.set_nodelay(true)?;
        Ok(Wire {
            socket,
            link: Link::Tcp,
            rx: None,
            tx: None,
            restarted: None,
            ahead: Box::default(),
            used: 0,
            filled: 0,
            out: Vec::new(),
            held: Vec::new(),
            going: Vec::new(),
            owes: false,
            deadline: None,
            armed: None,
            stop: None,
            pace: None,
            meter: None,
            data: 0,
            urgent_bytes: None,
            idle: None,
        })
    }

    /// Enciphers all that follows, in both directions, with this session key.
    pub fn encipher(&mut self, key: &[u8]) {
        self.encipher_sending(key);
        self.encipher_receiving(key);
    }

    /// Enciphers what is sent from now on.
    pub fn encipher_sending(&mut self, key: &[u8]) {
        self.tx = Some(Cipher::new(key));
    }

    /// Deciphers what is received from now on.
    pub fn encipher_receiving(&mut self, key: &[u8]) {
        self.rx = Some(Cipher::new(key));
    }

    /// Swaps the session key as NIGMA does. A client may let its seed go on
    /// or start it anew from the new key: its next header tells which.
    pub fn swap_key(&mut self, key: &[u8]) {
        if let (Some(rx), Some(tx)) = (&mut self.rx, &mut self.tx) {
            *rx = rx.with_new_key(key);
            *tx = tx.with_new_key(key);
            self.restarted = Some((Cipher::new(key), Cipher::new(key)));
        }
    }

    /// Swaps the session key on the client's side of NIGMA, the seed going on.
    pub fn follow_key(&mut self, key: &[u8]) {
        self.swap_key(key);
        self.restarted = None;
    }

    /// The moment at which reading fails with `TimedOut`, whatever the peer
    /// does until then; `None` for no such moment. A write that stands still
    /// fails no later than that long after its begin.
    ///
    /// # Errors
    /// What the system says of the socket.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        if self.armed.take().is_some() {
            self.socket.set_read_timeout(None)?;
        }
        if deadline.is_some() || self.deadline.is_some() {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            self.socket
                .set_write_timeout(left.map(|left| left.max(SLACK)))?;
        }
        self.deadline = deadline;
        Ok(())
    }

    /// How long one read or write may stand still from now on; `None` leaves
    /// it at for ever.
    ///
    /// # Errors
    /// What the system says of the socket.
    pub fn set_idle_limit(&mut self, limit: Option<Duration>) -> io::Result<()> {
        self.idle = limit;
        if limit.is_none() {
            return Ok(());
        }
        self.socket.set_read_timeout(limit)?;
        self.socket.set_write_timeout(limit)
    }

    /// The most bytes a second from now on, both directions together.
    pub fn limit_rate(&mut self, bytes_per_second: Option<u64>) {
        self.pace = bytes_per_second.map(Pace::new);
    }

    /// As [`Wire::limit_rate`], with a rate that other wires share.
    pub fn share_rate(&mut self, pace: Pace) {
        self.pace = Some(pace);
    }

    /// Counts all bytes that are moved from now on, as they are on the
    /// network.
    pub fn count_on(&mut self, meter: Meter) {
        self.meter = Some(meter);
    }

    /// Counts bytes of files or listings that were moved.
    pub fn count_data(&mut self, bytes: usize) {
        self.data += bytes as u64;
    }

    /// How many were counted since this was last asked.
    pub fn take_data_count(&mut self) -> u64 {
        std::mem::take(&mut self.data)
    }

    /// Looks for out-of-band bytes between messages, should there be any. Over
    /// TLS there are none.
    pub fn expect_urgent_bytes(&mut self, urgent_bytes: UrgentBytes) {
        self.urgent_bytes = self.is_tcp().then_some(urgent_bytes);
    }

    /// Lets a thread answer out-of-band bytes from now on, whatever this one is
    /// doing.
    pub fn answer_urgent_beside(&self) {
        if let Some(urgent_bytes) = &self.urgent_bytes
            && let Err(e) = urgent::start(&self.socket, urgent_bytes)
        {
            log::warn!("no thread for out-of-band bytes error=\"{e}\"");
        }
    }

    /// A flag, set by a signal, that ends the wait for the next request.
    pub fn stop_on(&mut self, flag: &'static AtomicBool) {
        self.stop = Some(flag);
    }

    /// The socket, for its options.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Whether bytes of the peer are there to be read without waiting.
    #[must_use]
    pub fn has_input(&mut self) -> bool {
        if self.has_read_ahead() {
            return true;
        }
        if !self.is_tcp() {
            return self.has_record();
        }
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN | PollFlags::HUP)];
        matches!(poll(&mut fds, Some(&Timespec::default())), Ok(n) if n > 0)
    }

    /// Whether bytes of the peer are read already and not yet used.
    #[must_use]
    pub fn has_read_ahead(&self) -> bool {
        self.used < self.filled
    }

    /// Reads the next message into `body`.
    ///
    /// # Errors
    /// `Closed` at the end of the stream, `Length` before anything of the
    /// body is read, or another failure of the connection.
    pub fn read_message(&mut self, body: &mut Vec<u8>) -> Result<()> {
        self.wait_for_message(false)?;
        self.read_awaited(body)
    }

    /// As [`Wire::read_message`], where nothing is under way: a request to
    /// stop ends the wait.
    ///
    /// # Errors
    /// As [`Wire::read_message`], or `Stopped`.
    pub fn read_request(&mut self, body: &mut Vec<u8>) -> Result<()> {
        self.wait_for_message(true)?;
        self.read_awaited(body)
    }

    /// Reads a message of which a byte is there.
    fn read_awaited(&mut self, body: &mut Vec<u8>) -> Result<()> {
        let len = self.read_length()?;
        if body.capacity() > KEEP_BUFFER && len < KEEP_BUFFER {
            *body = Vec::new();
        }
        body.resize(len, 0);
        self.read_raw(body)
    }

    /// Reads the next message into `body` if it has at most `max` bytes; of a
    /// longer one the rest is read and dropped, and `false` comes back.
    ///
    /// # Errors
    /// As [`Wire::read_request`].
    pub fn read_short_message(&mut self, body: &mut Vec<u8>, max: usize) -> Result<bool> {
        self.wait_for_message(true)?;
        let len = self.read_length()?;
        body.resize(len.min(max), 0);
        self.read_raw(body)?;
        self.skip_part(body.len() as u64, len as u64)?;
        Ok(len <= max)
    }

    /// Waits until a byte of the next message is there.
    fn wait_for_message(&mut self, may_stop: bool) -> Result<()> {
        if self.has_read_ahead() {
            return Ok(());
        }
        match self.fill_ahead(1, may_stop) {
            Err(WireError::Cut) if self.may_end_here() => Err(WireError::Closed),
            other => other,
        }
    }

    /// Reads one raw unit; its length is that of `unit`.
    ///
    /// # Errors
    /// Any failure of the connection.
    pub fn read_raw(&mut self, unit: &mut [u8]) -> Result<()> {
        self.read_part(0, unit)
    }

    /// Reads part of a raw unit whose first `offset` bytes are read already.
    ///
    /// # Errors
    /// Any failure of the connection.
    pub fn read_part(&mut self, offset: usize, part: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < part.len() {
            // What has come is deciphered while more is on its way.
            let some = self.take_some(&mut part[done..])?;
            if let Some(rx) = &mut self.rx {
                rx.decrypt_part(offset + done, &mut part[done..done + some]);
            }
            done += some;
        }
        Ok(())
    }

    /// Reads a raw unit of `len` bytes and drops it.
    ///
    /// # Errors
    /// Any failure of the connection.
    pub fn skip_raw(&mut self, len: u64) -> Result<()> {
        self.skip_part(0, len)
    }

    /// The same for a unit whose first `done` bytes are read already.
    fn skip_part(&mut self, done: u64, len: u64) -> Result<()> {
        let mut scratch = vec![0; len.saturating_sub(done).min(SKIPPED) as usize];
        let mut done = done;
        while done < len {
            let n = at_most(len - done, scratch.len());
            self.read_part(
                usize::try_from(done).unwrap_or(usize::MAX),
                &mut scratch[..n],
            )?;
            done += n as u64;
        }
        Ok(())
    }

    /// Reads a raw 8-byte header.
    ///
    /// # Errors
    /// Any failure of the connection.
    pub fn read_i64(&mut self) -> Result<i64> {
        let mut unit = [0; 8];
        self.read_raw(&mut unit)?;
        Ok(i64::from_be_bytes(unit))
    }

    /// Reads a raw 4-byte header.
    ///
    /// # Errors
    /// Any failure of the connection.
    pub fn read_i32(&mut self) -> Result<i32> {
        let mut unit = [0; 4];
        self.read_raw(&mut unit)?;
        Ok(i32::from_be_bytes(unit))
    }

    /// Takes bytes as they came until `to` is full.
    fn read_bytes(&mut self, to: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < to.len() {
            done += self.take_some(&mut to[done..])?;
        }
        Ok(())
    }

    /// Takes some bytes as they came, at least one: those read ahead, else the
    /// socket's.
    fn take_some(&mut self, to: &mut [u8]) -> Result<usize> {
        if !self.has_read_ahead() {
            if to.len() >= READ_AHEAD {
                return self.read_some(to, false);
            }
            self.fill_ahead(1, false)?;
        }
        let n = to.len().min(self.filled - self.used);
        to[..n].copy_from_slice(&self.ahead[self.used..self.used + n]);
        self.used += n;
        Ok(n)
    }

    /// Sees to it that at least `n` bytes (up to [`READ_AHEAD`]) are there.
    fn fill_ahead(&mut self, n: usize, may_stop: bool) -> Result<()> {
        let mut ahead = std::mem::take(&mut self.ahead);
        if ahead.is_empty() {
            ahead = vec![0; READ_AHEAD].into_boxed_slice();
        }
        ahead.copy_within(self.used..self.filled, 0);
        self.filled -= self.used;
        self.used = 0;
        let mut result = Ok(());
        while self.filled < n && result.is_ok() {
            let got = self.read_some(&mut ahead[self.filled..], may_stop);
            result = got.map(|got| self.filled += got);
        }
        self.ahead = ahead;
        result
    }

    /// One read of the socket that gave something. With `may_stop` a request to
    /// stop ends the wait.
    fn read_socket(&mut self, to: &mut [u8], may_stop: bool) -> Result<usize> {
        loop {
            if may_stop && self.stop.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
                return Err(WireError::Stopped);
            }
            if let Some(deadline) = self.deadline {
                self.arm(deadline)?;
            }
            if self.urgent_bytes.is_some() && !self.wait_past_urgent()? {
                continue;
            }
            match (&self.socket).read(to) {
                Ok(0) => return Err(WireError::Cut),
                Ok(n) => {
                    if let Some(pace) = &self.pace {
                        pace.moved(n);
                    }
                    if let Some(meter) = &self.meter {
                        count(meter.received, n);
                    }
                    return Ok(n);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Tells the system how long the next read may take.
    fn arm(&mut self, deadline: Instant) -> Result<()> {
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        if left.is_zero() {
            return Err(WireError::TimedOut);
        }
        if self.armed.is_none_or(|armed| now - armed > SLACK) {
            self.socket.set_read_timeout(Some(left))?;
            self.armed = Some(now);
        }
        Ok(())
    }
}

/// The length a header announces, if it is one a message can have.
fn valid_length(announced: i32) -> Option<usize> {
    usize::try_from(announced)
        .ok()
        .filter(|len| *len <= MAX_MESSAGE)
}

#[cfg(test)]
mod tests;
