//! A program as ssh is, whose standard input and output are the control
//! connection to a server that it has started.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::unix::ffi::OsStrExt;
use std::time::Instant;

use super::connect::reach_server;
use super::error::{COMMAND, Error, Fate, HOST, Result};
use super::session::Ends;
use super::target::Target;
use crate::bbftp::wire::{Code, Control, MAX_TEXT, WireError, decode_number};
use crate::client::program::Program;
use crate::net::Link;

/// Starts it; the link to the server behind it.
pub(super) fn start(arguments: &[OsString]) -> Result<(Program, Link)> {
    let failed = |e: std::io::Error| {
        let name = arguments.first().map(|name| name.display().to_string());
        let text = format!("Can't start {}: {e}", name.unwrap_or_default());
        Error::new(COMMAND, Fate::End, text)
    };
    let (program, socket) = Program::start(arguments).map_err(failed)?;
    Ok((program, Link::new(socket).map_err(failed)?))
}

/// Whether a command runs tfd: one of its words, or of its last argument's, which ssh
/// hands to a shell.
pub(super) fn names_tfd(arguments: &[OsString]) -> bool {
    let is_tfd = |word: &[u8]| word.rsplit(|&byte| byte == b'/').next() == Some(b"tfd");
    let mut words = arguments
        .iter()
        .flat_map(|argument| argument.as_bytes().split(u8::is_ascii_whitespace));
    words.any(is_tfd)
}

/// Learns both ends' addresses, and lets the server learn them: by a connection
/// beside this one, or on this one, as the server wants it.
pub(super) fn exchange_addresses(control: &mut Control, target: &Target) -> Result<Ends> {
    let failed = |e: WireError| Error::reading(&e).with_code(COMMAND);
    let io = |e: std::io::Error| failed(e.into());
    let deadline = Instant::now() + target.limits.receive;
    control.link().set_deadline(Some(deadline)).map_err(io)?;
    let header = control.read_header().map_err(failed)?;
    match Code::try_from(header.code) {
        Ok(Code::LOGGED_STDIN) => {
            let payload = control.read_payload(&header, 4).map_err(failed)?;
            let port = decode_number(&payload).map_err(failed)?;
            let port = u16::try_from(port).map_err(|_| failed(WireError::Field("port")))?;
            connect_beside(port, target)
        }
        Ok(Code::IpAddr) => {
            let payload = control.read_payload(&header, 4).map_err(failed)?;
            let theirs = decode_number(&payload).map_err(failed)?;
            let theirs = IpAddr::V4(Ipv4Addr::from_bits(theirs));
            let ours = address_towards(theirs)?;
            let IpAddr::V4(stated) = ours else {
                return Err(failed(WireError::Field("address")));
            };
            control
                .send(Code::IpAddrOk, &stated.octets())
                .map_err(failed)?;
            Ok(Ends { ours, theirs })
        }
        Ok(Code::Bad | Code::BadNoRetry) => {
            let text = control.read_payload(&header, MAX_TEXT).map_err(failed)?;
            Err(Error::server(&text, Fate::End))
        }
        _ => Err(Error::unknown(header.code).with_code(COMMAND)),
    }
}

/// The connection beside, which says nothing but that it came.
fn connect_beside(port: u16, target: &Target) -> Result<Ends> {
    let target = Target {
        port,
        ..target.clone()
    };
    let socket = reach_server(&target, &()).map_err(|e| e.with_code(COMMAND))?;
    let failed = |e: WireError| Error::reading(&e).with_code(COMMAND);
    let io = |e: std::io::Error| failed(e.into());
    let ends = Ends {
        ours: socket.local_addr().map_err(io)?.ip(),
        theirs: socket.peer_addr().map_err(io)?.ip(),
    };
    let mut beside = Control::new(Link::new(socket).map_err(io)?);
    let deadline = Instant::now() + target.limits.receive;
    beside.link().set_deadline(Some(deadline)).map_err(io)?;
    beside.send(Code::IpAddr, &[]).map_err(failed)?;
    let header = beside.read_header().map_err(failed)?;
    match header.code == Code::IpAddrOk.number() {
        true => Ok(ends),
        false => Err(Error::unknown(header.code).with_code(COMMAND)),
    }
}

/// The address of this machine that packets to another one carry.
fn address_towards(theirs: IpAddr) -> Result<IpAddr> {
    let failed = |e: std::io::Error| Error::new(HOST, Fate::End, e.to_string());
    let any: IpAddr = match theirs {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).map_err(failed)?;
    // Nothing is sent by this.
    socket.connect((theirs, 9)).map_err(failed)?;
    Ok(socket.local_addr().map_err(failed)?.ip())
}
