//! The client's word to start what was agreed on.

use std::time::{Duration, Instant};

use super::Version;
use crate::bbftp::wire::{Code, Control, MAX_STREAMS, Result, WireError, decode_ports};
use crate::net::link::Awaited;

/// How long it may take: the client connects all streams before.
const LIMIT: Duration = Duration::from_secs(100);

/// What the client wants.
pub(super) enum Start {
    /// The transfer; in version 2 over its own ports.
    Go(Vec<u16>),
    /// The connections, and no bytes.
    Simulate(Vec<u16>),
    /// Nothing.
    Abort,
}

/// Waits for it, and so much longer than usual.
///
/// # Errors
/// `TimedOut`, any failure of the connection, and any other message, after which
/// nobody knows what the client means.
pub(super) fn await_start(
    control: &mut Control,
    version: Version,
    longer: Duration,
) -> Result<Start> {
    let until = Some(Instant::now() + LIMIT + longer);
    if control.link().wait_for_any(None, until)? == Awaited::Nothing {
        return Err(WireError::TimedOut);
    }
    let header = control.read_header()?;
    let most = MAX_STREAMS as usize * 4;
    Ok(match (Code::try_from(header.code), version) {
        // These announce ports, and send none.
        (Ok(Code::TransStartV3), Version::Three) => Start::Go(Vec::new()),
        (Ok(Code::TransSimulV3), Version::Three) => Start::Simulate(Vec::new()),
        (Ok(Code::TransStartV2), Version::Two) => {
            Start::Go(decode_ports(&control.read_payload(&header, most)?)?)
        }
        (Ok(Code::TransSimul), Version::Two) => {
            Start::Simulate(decode_ports(&control.read_payload(&header, most)?)?)
        }
        (Ok(Code::RetrStart), Version::One) => Start::Go(Vec::new()),
        (Ok(Code::Abort | Code::Abr | Code::CreateZero), _) => {
            control.discard(header.len)?;
            Start::Abort
        }
        (Ok(Code::CloseConn), Version::Two | Version::Three) => return Err(WireError::Closed),
        _ => return Err(WireError::Broken("another message in place of the start")),
    })
}

/// What has come of the client in the middle of a transfer ends the session.
pub(super) fn interrupted(control: &mut Control) -> WireError {
    match control.read_header() {
        Ok(header) => match Code::try_from(header.code) {
            Ok(Code::Abort | Code::Abr | Code::CloseConn) => WireError::Closed,
            _ => WireError::Broken("a message in the middle of a transfer"),
        },
        Err(e) => e,
    }
}
