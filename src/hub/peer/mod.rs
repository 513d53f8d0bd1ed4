//! What every peer of a hub needs: a line to the hub from its other end, the
//! introductions on a line between peers, and the key file of a holder. It blocks, keeps
//! no file of anybody, and takes nothing on trust that a hub or a peer sends.

pub mod holder_key;
pub mod introduction;
pub mod line;
pub mod peer_line;
pub mod signer;
mod talk;

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::net::sockopt::{
    set_socket_keepalive, set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl,
};

use super::wire::{Label, Reply};
use crate::net::tls::client::HelloError;
use crate::net::{Link, LinkError};

/// The name of the protocol between peers in the handshake.
pub const ALPN: &[u8] = b"tfd-peer/1";

/// The same of a line to a hub.
pub const HUB_ALPN: &[u8] = super::gate::ALPN;

/// What is exported, so that a statement fits this connection alone.
pub use super::gate::LABEL;

/// How long an address may take to answer.
pub const DIAL: Duration = Duration::from_secs(5);

/// How long the handshake and the statements behind it may take.
pub const LOGIN: Duration = Duration::from_secs(20);

/// How long a read or a write may make no progress.
pub const SILENCE: Duration = Duration::from_secs(60);

/// After how long without a byte a connection is looked at, and how often in vain.
const KEEPALIVE: Duration = Duration::from_secs(60);
const KEEPALIVES: u32 = 3;

/// Why a line came to nothing, or to its end.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// No address has answered.
    #[error("can't connect: {}", crate::text::reason(.0))]
    Unreachable(io::Error),
    /// The connection is lost.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The certificate is another one's.
    #[error("its certificate is not the one pinned")]
    NotPinned,
    /// The handshake failed.
    #[error("{0}")]
    Tls(String),
    /// The other end refuses.
    #[error("{} {}", .0.code().number(), .0.code().text())]
    Refused(Reply),
    /// What came has no place there.
    #[error("protocol broken: {0}")]
    Broken(&'static str),
    /// Another hub has answered.
    #[error("the hub calls itself {}", .0.as_str())]
    OtherHub(Label),
    /// The hub has ended the line, and wants to see the peer again after so many seconds.
    #[error("ended by the hub")]
    Left(Option<u64>),
    /// Too many requests wait for their answers.
    #[error("too many requests wait for an answer")]
    Busy,
    /// The holder of the key does not sign.
    #[error("no signature: {0}")]
    Unsigned(io::Error),
    /// The system.
    #[error(transparent)]
    Internal(#[from] io::Error),
}

impl From<HelloError> for PeerError {
    fn from(error: HelloError) -> PeerError {
        match error {
            HelloError::Link(e) => e.into(),
            HelloError::NotPinned => PeerError::NotPinned,
            HelloError::Refused(text) => PeerError::Tls(text),
        }
    }
}

/// Shorthand.
pub type Result<T, E = PeerError> = std::result::Result<T, E>;

/// Connects to the first of these addresses that answers, and says which.
fn connect(addresses: &[SocketAddr], patience: Duration) -> Result<(Link, SocketAddr)> {
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect_timeout(address, patience) {
            Ok(socket) => return Ok((link(socket)?, *address)),
            Err(e) => failure = e,
        }
    }
    Err(PeerError::Unreachable(failure))
}

/// A connection whose other end may vanish without a word.
fn link(socket: TcpStream) -> io::Result<Link> {
    set_socket_keepalive(&socket, true)?;
    set_tcp_keepidle(&socket, KEEPALIVE)?;
    set_tcp_keepintvl(&socket, KEEPALIVE)?;
    set_tcp_keepcnt(&socket, KEEPALIVES)?;
    Link::new(socket)
}
