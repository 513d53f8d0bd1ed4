//! Messages and raw units on a link (document, "Overview" and the headers of
//! PUT, GET, SDOWN, SUP; tf-protocol(7), FRAMING).
//!
//! A message is a header unit (4 bytes, big-endian length) and a body unit. A
//! raw unit has no header of its own. The wire never looks into a body and
//! never allocates for a length it has not checked.

mod read;
mod write;

use std::io;
use std::net::TcpStream;
use std::time::Instant;

use zeroize::Zeroizing;

use super::urgent::{self, UrgentBytes};
use crate::ipc::codec::{Decode, Encode, Writer, codec};
use crate::net::link::LinkState;
use crate::net::{Link, LinkError};
use crate::tf::cipher::Cipher;

pub use crate::net::link::{Meter, Pace};
pub(crate) use write::message_header;

/// The longest body of a message, in bytes.
pub const MAX_MESSAGE: usize = 512 * 1024;

/// The application protocol of TLS whose sessions are as on plain TCP. A client
/// that names none gets this one, so that any tunnel will do.
const ALPN_USUAL: &[u8] = b"tf/2.4.1";

/// The one without RSA block and without cipher inside.
const ALPN_PLAIN: &[u8] = b"tf-plain/2.4.1";

/// The application protocols of TLS, the preferred one first.
pub const ALPN: [&[u8]; 2] = [ALPN_PLAIN, ALPN_USUAL];

/// A buffer above this size is given back when small messages follow.
const MAX_KEPT_BYTES: usize = 64 * 1024;

/// Why a wire can't go on. After any of these the connection is over.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The peer closed the connection between two messages.
    #[error("connection closed")]
    Closed,
    /// The peer closed the connection inside a message or a raw unit.
    #[error("connection closed in the middle of a message")]
    Cut,
    /// A message header with a negative length or one above [`MAX_MESSAGE`].
    #[error("message of {0} bytes announced, allowed are 0 to {MAX_MESSAGE}")]
    Length(i32),
    /// The peer let a time limit pass.
    #[error("time limit passed")]
    TimedOut,
    /// The process was asked to end while it waited for a message.
    #[error("asked to end")]
    Stopped,
    /// The peer sent something that is not allowed at this point.
    #[error("protocol broken: {0}")]
    Broken(&'static str),
    /// TLS has no key left to continue with. The peer may connect again.
    #[error("{0}")]
    Keyless(&'static str),
    /// The system's error on reading or writing.
    #[error(transparent)]
    Io(io::Error),
}

impl From<LinkError> for WireError {
    fn from(e: LinkError) -> WireError {
        match e {
            LinkError::Closed => WireError::Cut,
            LinkError::TimedOut => WireError::TimedOut,
            LinkError::Stopped => WireError::Stopped,
            LinkError::Tls(text) => WireError::Broken(text),
            LinkError::Keyless(text) => WireError::Keyless(text),
            LinkError::Io(e) => WireError::Io(e),
        }
    }
}

impl From<io::Error> for WireError {
    fn from(e: io::Error) -> WireError {
        LinkError::from(e).into()
    }
}

/// Shorthand for what can fail by the connection.
pub type Result<T> = std::result::Result<T, WireError>;

/// Both directions of a connection, in plain until [`Wire::encipher`].
pub struct Wire {
    link: Link,
    /// TLS alone protects, without a session key. Nothing makes such a wire
    /// on plain TCP.
    is_plain_in_tls: bool,
    rx: Option<Cipher>,
    tx: Option<Cipher>,
    /// After NIGMA, the ciphers of a client that restarts its seed: from the
    /// peer, to the peer.
    restarted: Option<(Cipher, Cipher)>,
    /// The message that is being sent.
    out: Vec<u8>,
    /// A request that was read before its turn.
    early: Option<Vec<u8>>,
    /// Bytes of files and listings since [`Wire::take_data_count`].
    data: u64,
    urgent_bytes: Option<UrgentBytes>,
}

impl Wire {
    /// A wire on a connected socket. Turns Nagle's algorithm off.
    ///
    /// # Errors
    /// What the system says of the socket.
    pub fn new(socket: TcpStream) -> io::Result<Wire> {
        Ok(Wire::on(Link::new(socket)?, None))
    }

    /// A wire on a link; over TLS with the application protocol agreed on.
    pub fn on(link: Link, alpn: Option<&[u8]>) -> Wire {
        Wire {
            is_plain_in_tls: link.is_over_tls() && alpn == Some(ALPN_PLAIN),
            link,
            rx: None,
            tx: None,
            restarted: None,
            out: Vec::new(),
            early: None,
            data: 0,
            urgent_bytes: None,
        }
    }

    /// The link beneath it, for its limits. What is read or written there is
    /// missing in the stream of units.
    pub fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    /// The socket, for its options.
    pub fn socket(&self) -> &TcpStream {
        self.link.socket()
    }

    /// Whether TLS is around this wire.
    pub fn is_over_tls(&self) -> bool {
        self.link.is_over_tls()
    }

    /// Whether TLS alone protects this wire, so that it has no session key.
    pub fn is_plain_in_tls(&self) -> bool {
        self.is_plain_in_tls
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

    /// Swaps the session key as NIGMA does. A client may keep its seed or
    /// restart it from the new key: its next header shows which.
    pub fn swap_key(&mut self, key: &[u8]) {
        if let (Some(rx), Some(tx)) = (&mut self.rx, &mut self.tx) {
            *rx = rx.with_new_key(key);
            *tx = tx.with_new_key(key);
            self.restarted = Some((Cipher::new(key), Cipher::new(key)));
        }
    }

    /// Swaps the session key on the client's side of NIGMA and keeps the seed.
    pub fn follow_key(&mut self, key: &[u8]) {
        self.swap_key(key);
        self.restarted = None;
    }

    /// Counts bytes of files or listings that were moved.
    pub fn count_data(&mut self, bytes: usize) {
        self.data += bytes as u64;
    }

    /// How many were counted since the last call.
    pub fn take_data_count(&mut self) -> u64 {
        std::mem::take(&mut self.data)
    }

    /// Answers out-of-band bytes between messages, and finds those that came in
    /// with the data. Over TLS there are none.
    pub fn expect_urgent_bytes(&mut self, urgent_bytes: UrgentBytes) {
        if self.link.is_over_tls() {
            return;
        }
        let answering = urgent_bytes.clone();
        self.link
            .answer_urgent(Box::new(move |socket| Ok(answering.answer(socket)?)));
        self.urgent_bytes = Some(urgent_bytes);
    }

    /// Lets a thread answer out-of-band bytes from now on, whatever this one is
    /// doing.
    pub fn answer_urgent_beside(&self) {
        if let Some(urgent_bytes) = &self.urgent_bytes
            && let Err(e) = urgent::start(self.socket(), urgent_bytes)
        {
            log::warn!(error:% = e; "no thread for out-of-band bytes");
        }
    }

    /// As [`Link::expect_transfers`].
    pub fn expect_transfers(&mut self) {
        self.link.expect_transfers();
    }

    /// As [`Link::set_deadline`].
    ///
    /// # Errors
    /// What the system says of the socket.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.link.set_deadline(deadline)
    }
}

/// Most states are no longer.
const USUAL_STATE_BYTES: usize = 1024;

/// A wire as a message, for the process that takes a session over.
struct WireState {
    /// From the peer and to it; none where TLS alone protects.
    ciphers: Option<(Cipher, Cipher)>,
    link: LinkState,
}

codec!(struct WireState { ciphers, link });

impl Wire {
    /// The state of an enciphered wire between two messages, and its socket;
    /// `None` where bytes wait to be sent or a new key is not settled.
    pub fn into_state(self) -> Option<(TcpStream, Zeroizing<Vec<u8>>)> {
        let bytes = self.state()?;
        Some((self.link.into_socket(), bytes))
    }

    /// The state alone, for a process that perhaps takes the session over; as
    /// [`Wire::into_state`].
    pub fn state(&self) -> Option<Zeroizing<Vec<u8>>> {
        let ciphers = match (&self.rx, &self.tx, &self.restarted) {
            (Some(rx), Some(tx), None) => Some((rx.clone(), tx.clone())),
            (None, None, None) if self.is_plain_in_tls => None,
            _ => return None,
        };
        let link = self.link.state()?;
        let state = WireState { ciphers, link };
        let mut out = Writer::default();
        // Memory that grows would leave copies behind that nobody wipes.
        out.bytes.reserve(USUAL_STATE_BYTES);
        state.encode(&mut out);
        Some(out.bytes)
    }

    /// The wire with this socket and state.
    ///
    /// # Errors
    /// `InvalidData` when the bytes are not a state, or the system's error on
    /// the socket.
    pub fn from_state(socket: TcpStream, bytes: &[u8]) -> io::Result<Wire> {
        let state = WireState::from_bytes(bytes).ok_or(io::ErrorKind::InvalidData)?;
        let mut wire = Wire::on(Link::from_state(socket, &state.link)?, None);
        wire.is_plain_in_tls = state.ciphers.is_none();
        if wire.is_plain_in_tls && !wire.is_over_tls() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        (wire.rx, wire.tx) = state.ciphers.unzip();
        Ok(wire)
    }
}

#[cfg(test)]
mod tests;
