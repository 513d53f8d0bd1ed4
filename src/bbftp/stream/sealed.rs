//! Data connections inside TLS: each has keys of its own, which follow from those
//! of the control connection, so that nobody else's connection is a stream. The
//! end that connects says first which stream it is.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::net::tls::{End, Exported};
use crate::net::{Link, LinkError};

/// The label of what both ends of a control connection export.
pub const LABEL: &str = "EXPORTER-tfd-bbftp-data";

/// How long a new connection may take to say which stream it is.
const INTRODUCTION: Duration = Duration::from_secs(10);

/// A stream among all of a control connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    /// How many transfers the server has agreed to before its own, by TRANS_OK_V2,
    /// TRANS_OK_V3 or TRANS_OK_FROM: whatever became of them, so that no name
    /// comes twice.
    pub transfer: u32,
    /// Its place in that, from 0.
    pub stream: u32,
}

impl Name {
    fn bytes(self) -> [u8; 8] {
        (u64::from(self.transfer) << 32 | u64::from(self.stream)).to_be_bytes()
    }
}

/// The stream of this name on a connection that was made to the peer. `end` is
/// the one of the control connection.
///
/// # Errors
/// Any failure of the connection.
pub fn introduce(
    socket: TcpStream,
    exported: &Exported,
    end: End,
    name: Name,
) -> Result<Link, LinkError> {
    let mut link = Link::new(socket)?;
    link.join_tls(exported, end, &name.bytes())?;
    link.write(&mut name.stream.to_be_bytes())?;
    Ok(link)
}

/// The same for a connection that somebody has made.
///
/// # Errors
/// When it is not the stream of this name. Another one may be.
pub fn recognize(
    socket: TcpStream,
    exported: &Exported,
    end: End,
    name: Name,
) -> Result<Link, LinkError> {
    let mut link = Link::new(socket)?;
    link.join_tls(exported, end, &name.bytes())?;
    link.set_deadline(Some(Instant::now() + INTRODUCTION))?;
    let mut stream = [0; 4];
    link.read_exact(&mut stream)?;
    link.set_deadline(None)?;
    match stream == name.stream.to_be_bytes() {
        true => Ok(link),
        false => Err(LinkError::Tls("another stream")),
    }
}
