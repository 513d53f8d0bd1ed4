//! TF's gate, until the client has shown the hash (document, "Beginning the
//! connection"): the handshake of TLS where that is spoken, version, RSA block,
//! hash. It holds no key but the session's own and reaches no file.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::net::tls::login::Proof;
use crate::net::tls::server::{Accepted, HelloError};
use crate::net::{Link, LinkError};
use crate::session::keeper::{MAX_BLOCK, MAX_HASH};
use crate::session::login::LoginPipe;
use crate::session::protocol::Gate;
use crate::tf::cipher::MAX_KEY;
use crate::tf::status::{Reply, Status};
use crate::tf::wire::{ALPN, Wire, WireError};

/// The lengths a session key may have (document, "The encryption system").
pub const KEY_LENGTHS: std::ops::RangeInclusive<usize> = 16..=MAX_KEY;

/// The longest version string, in bytes, with the NUL some clients send.
const MAX_VERSION: usize = 32;

/// The first two bytes of a handshake of TLS.
const TLS_BEGIN: i32 = 0x1603;

/// Why a client did not pass.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The client got a status, and the connection is closed.
    #[error("{0}")]
    Answered(Status),
    /// The connection ended or broke a rule of the wire.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The handshake of TLS came to nothing.
    #[error("{0}")]
    Tls(String),
    /// The keeper or the system failed.
    #[error("internal: {0}")]
    Internal(#[from] io::Error),
}

impl From<HelloError> for Refusal {
    fn from(e: HelloError) -> Refusal {
        match e {
            HelloError::Link(e) => Refusal::Wire(e.into()),
            HelloError::Refused(text) => Refusal::Tls(text),
        }
    }
}

/// A client that has shown the hash.
pub struct Passed {
    /// The connection, enciphered, or protected by TLS alone.
    pub wire: Wire,
    /// What its certificate proves, if it has shown one.
    pub proof: Option<Proof>,
    /// The channel of the login.
    pub login: LoginPipe,
}

/// Takes a client through TLS, where its listener speaks that, version, RSA
/// block and hash.
///
/// # Errors
/// Why it did not pass; the client has been answered where the protocol has a
/// word for it.
pub fn admit(gate: Gate<'_>, version: &[u8]) -> Result<Passed, Refusal> {
    let keeper = Arc::new(gate.keeper);
    let mut link = Link::new(gate.socket)?;
    link.count_on(gate.meter);
    link.set_deadline(Some(gate.deadline))?;
    link.stop_on(&crate::sys::signal::STOP);
    let Accepted { proof, alpn, .. } = match gate.tls {
        Some(tls) => tls.accept(&mut link, Arc::clone(&keeper) as _, &ALPN)?,
        None => Accepted::default(),
    };
    let mut wire = Wire::on(link, alpn.as_deref());
    let mut body = Vec::new();

    wait_for_message(&mut wire)?;
    let short = wire
        .read_short_message(&mut body, MAX_VERSION)
        .map_err(name_tls)?;
    let shown = body.strip_suffix(&[0]).unwrap_or(&body);
    if !short || shown != version {
        return Err(refuse(wire, Status::IncompatibleProtocol));
    }
    accept(&mut wire)?;

    if !wire.is_plain_in_tls() {
        wait_for_message(&mut wire)?;
        let short = wire.read_short_message(&mut body, MAX_BLOCK)?;
        let key = if short {
            keeper.session_key(&body, &KEY_LENGTHS)?
        } else {
            None
        };
        let Some(key) = key else {
            return Err(refuse(wire, Status::BadKey));
        };
        accept(&mut wire)?;
        wire.encipher(&key);
    }

    wait_for_message(&mut wire)?;
    let short = wire.read_short_message(&mut body, MAX_HASH)?;
    let login = if short { keeper.compare(&body)? } else { None };
    let Some(login) = login else {
        return Err(refuse(wire, Status::InvalidHash));
    };
    wire.write_message(b"OK")?;
    Ok(Passed { wire, proof, login })
}

/// Waits for the next message. A client that leaves here, such as the check of a load
/// balancer, leaves nothing undone, even without the farewell of TLS.
fn wait_for_message(wire: &mut Wire) -> Result<(), WireError> {
    match wire.link().wait_for_input(true) {
        Err(LinkError::Closed) => Err(WireError::Closed),
        waited => Ok(waited?),
    }
}

/// Calls what a handshake of TLS looks like by its name.
fn name_tls(e: WireError) -> WireError {
    match e {
        WireError::Length(announced) if announced >> 16 == TLS_BEGIN => {
            WireError::Broken("a client with TLS on a listener without it")
        }
        other => other,
    }
}

/// Says `OK`; to a client that has gone on without waiting for it, together
/// with the next word.
fn accept(wire: &mut Wire) -> Result<(), WireError> {
    if wire.has_read_ahead() {
        wire.write_message_later(b"OK");
        return Ok(());
    }
    wire.write_message(b"OK")
}

/// Sends the client the reason and closes so that it can read it.
fn refuse(mut wire: Wire, status: Status) -> Refusal {
    if let Err(e) = wire.write_message(&Reply::from(status).into_bytes()) {
        return e.into();
    }
    wire.link().close_slowly();
    Refusal::Answered(status)
}

/// One log line on a client that did not pass.
pub fn log_refusal(peer: SocketAddr, refusal: &Refusal) {
    match refusal {
        Refusal::Wire(WireError::Closed | WireError::Stopped) => {
            log::debug!(peer:%, stage:% = "handshake"; "left");
        }
        Refusal::Internal(e) => log::error!(peer:%, error:% = e; "gate failed"),
        _ => log::warn!(peer:%, stage:% = "handshake", reason:% = refusal; "refused"),
    }
}
