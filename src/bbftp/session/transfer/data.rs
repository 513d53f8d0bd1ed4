//! The data connections of a transfer: agreed on with the client, and made or
//! accepted by the dialer.

use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::start::{Start, await_start, interrupted};
use super::{Refusable, Reply, Session, Version};
use crate::bbftp::session::reply::reason;
use crate::bbftp::stream::sealed::{self, Name};
use crate::bbftp::wire::extension::{Missing, TransOkFrom};
use crate::bbftp::wire::{Code, Control, Result, TRANSFER_BYTES, Transfer, encode_ports};
use crate::config::SourcePort;
use crate::net::Link;
use crate::net::tls::End;
use crate::session::audit::Outcome;
use crate::session::dialer::{Dialer, From, Listening};

/// How long strangers may keep a stream from its client.
const STRANGERS: Duration = Duration::from_secs(60);

/// The bytes that the slowest client compares in a second.
const COMPARED: u64 = 20_000_000;

/// What the client is told.
pub(super) enum Offer<'a> {
    /// TRANS_OK_V2 or TRANS_OK_V3
    All(&'a Transfer),
    /// TRANS_OK_FROM, with the SHA-256 of what is kept.
    Some(&'a Transfer, &'a [Missing], Option<[u8; 32]>),
}

impl Offer<'_> {
    /// How much longer than usual a client may take to start: it compares what is
    /// kept with its own file before.
    fn comparing(&self) -> Duration {
        match self {
            Offer::Some(transfer, _, Some(_)) => Duration::from_secs(transfer.size / COMPARED),
            _ => Duration::ZERO,
        }
    }
}

/// Tells the client how a file is transferred, waits for its start, and opens the
/// connections, in the order of the streams. Without them the transfer is over, and
/// so it is after a simulation.
///
/// # Errors
/// When the control connection is over.
pub(super) fn agree(
    session: Session<'_>,
    version: Version,
    offer: &Offer<'_>,
) -> Result<Refusable<Vec<Link>>> {
    let (control, env) = session;
    let transfer = env.transfers;
    env.transfers = env.transfers.wrapping_add(1);
    let Some(dialer) = &mut env.dialer else {
        return Ok(Err(no_dialer()));
    };
    dialer.watch(control.link().socket().try_clone()?.into());
    if let (Version::Two, Offer::All(offer)) = (version, offer) {
        control.send(Code::TransOkV2, &offer.encode())?;
        let (ports, is_simulation) = match await_start(control, version, Duration::ZERO)? {
            Start::Abort => return Ok(Err(Reply::None(Outcome::BrokenOff))),
            Start::Go(ports) => (ports, false),
            Start::Simulate(ports) => (ports, true),
        };
        if ports.len() != offer.streams as usize {
            return Ok(Err(Reply::no("Wrong number of ports")));
        }
        let from = source(env.settings.active_source_port, control);
        let connected = connect(control, dialer, &ports, from)?;
        let links = connected.and_then(|sockets| introduce(control, sockets, transfer));
        return Ok(links.and_then(|links| unless_simulated(links, is_simulation)));
    }
    let count = match offer {
        Offer::All(offer) => offer.streams as usize,
        Offer::Some(_, missing, _) => missing.len(),
    };
    let listening = match listen(dialer, count) {
        Ok(listening) => listening,
        Err(reply) => return Ok(Err(reply)),
    };
    let ports: Vec<u16> = listening.iter().map(|listening| listening.port).collect();
    tell(control, offer, &ports)?;
    let is_simulation = match await_start(control, version, offer.comparing())? {
        Start::Abort => {
            close(dialer, listening);
            return Ok(Err(Reply::None(Outcome::BrokenOff)));
        }
        start => matches!(start, Start::Simulate(_)),
    };
    let links = accept_all(control, dialer, &listening, transfer);
    close(dialer, listening);
    Ok(links?.and_then(|links| unless_simulated(links, is_simulation)))
}

/// A simulation ends with its connections.
fn unless_simulated(links: Vec<Link>, is_simulation: bool) -> Refusable<Vec<Link>> {
    match is_simulation {
        true => Err(Reply::ok("OK")),
        false => Ok(links),
    }
}

/// Sends an offer with ports of ours.
fn tell(control: &mut Control, offer: &Offer<'_>, ports: &[u16]) -> Result<()> {
    match offer {
        Offer::All(offer) => {
            // The ports are not announced.
            let payload = [&offer.encode()[..], &encode_ports(ports)].concat();
            let announced = u32::try_from(TRANSFER_BYTES).unwrap_or(u32::MAX);
            control.send_announcing(Code::TransOkV3, announced, &payload)
        }
        Offer::Some(transfer, missing, kept) => {
            let offer = TransOkFrom {
                transfer: (*transfer).clone(),
                streams: ports.iter().copied().zip(missing.iter().copied()).collect(),
                kept: *kept,
            };
            control.send(Code::TransOkFrom, &offer.encode())
        }
    }
}

/// Connects to a client of version 1.
///
/// # Errors
/// When the control connection is over.
pub(super) fn connect_old(session: Session<'_>, ports: &[u16]) -> Result<Refusable<Vec<Link>>> {
    let (control, env) = session;
    if control.link().exported().is_some() {
        let text = "Version 1 has no data connections inside TLS";
        return Ok(Err(Reply::no(text)));
    }
    let from = source(env.settings.active_source_port, control);
    let Some(dialer) = &mut env.dialer else {
        return Ok(Err(no_dialer()));
    };
    dialer.watch(control.link().socket().try_clone()?.into());
    let connected = connect(control, dialer, ports, from)?;
    Ok(connected.and_then(|sockets| introduce(control, sockets, 0)))
}

fn no_dialer() -> Reply {
    Reply::Bad(b"Data connections are not to be had".to_vec())
}

/// The port that connections to the client come from.
fn source(port: SourcePort, control: &mut Control) -> From {
    let own = control.link().socket().local_addr();
    match (port, own.map(|own| own.port().checked_sub(1))) {
        (SourcePort::BelowControl, Ok(Some(port @ 1..))) => From::Port(port),
        _ => From::Any,
    }
}

fn connect(
    control: &mut Control,
    dialer: &mut Dialer,
    ports: &[u16],
    from: From,
) -> Result<Refusable<Vec<TcpStream>>> {
    match dialer.connect_all(ports, from) {
        Ok(sockets) => Ok(Ok(sockets)),
        Err((_, e)) if e.kind() == io::ErrorKind::Interrupted => Err(interrupted(control)),
        Err((at, e)) => Ok(Err(not_opened("connect", at, &e))),
    }
}

fn not_opened(what: &str, at: usize, e: &io::Error) -> Reply {
    let reason = reason(Errno::from_io_error(e).unwrap_or(Errno::IO));
    let number = at + 1;
    Reply::Bad(format!("Cannot {what} receive socket {number} : {reason}").into())
}

/// Makes streams of connections to the client.
fn introduce(
    control: &mut Control,
    sockets: Vec<TcpStream>,
    transfer: u32,
) -> Refusable<Vec<Link>> {
    let exported = control.link().exported();
    let link = |(socket, stream): (TcpStream, u32)| match exported {
        Some(exported) => {
            let name = Name { transfer, stream };
            sealed::introduce(socket, exported, End::Server, name).ok()
        }
        None => Link::new(socket).ok(),
    };
    let links: Option<Vec<Link>> = sockets.into_iter().zip(0..).map(link).collect();
    links.ok_or_else(|| not_opened("connect", 0, &Errno::CONNRESET.into()))
}

fn listen(dialer: &mut Dialer, count: usize) -> Refusable<Vec<Listening>> {
    let mut all = Vec::with_capacity(count);
    for at in 0..count {
        match dialer.listen() {
            Ok(listening) => all.push(listening),
            Err(e) => {
                close(dialer, all);
                return Err(not_opened("bind on", at, &e));
            }
        }
    }
    Ok(all)
}

/// Closes ports. A dialer that is gone has closed them.
fn close(dialer: &mut Dialer, all: Vec<Listening>) {
    for listening in all {
        let _ = dialer.close(listening);
    }
}

fn accept_all(
    control: &mut Control,
    dialer: &mut Dialer,
    listening: &[Listening],
    transfer: u32,
) -> Result<Refusable<Vec<Link>>> {
    let mut links = Vec::with_capacity(listening.len());
    for (stream, listening) in (0..).zip(listening) {
        match accept(control, dialer, listening, Name { transfer, stream }) {
            Ok(link) => links.push(link),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Err(interrupted(control)),
            Err(e) => return Ok(Err(not_opened("accept on", links.len(), &e))),
        }
    }
    Ok(Ok(links))
}

/// The client's connection for a stream: the first one, or inside TLS the first
/// that proves to be.
fn accept(
    control: &mut Control,
    dialer: &mut Dialer,
    listening: &Listening,
    name: Name,
) -> io::Result<Link> {
    let until = Instant::now() + STRANGERS;
    loop {
        let socket = dialer.accept(listening)?;
        let Some(exported) = control.link().exported() else {
            return Link::new(socket);
        };
        match sealed::recognize(socket, exported, End::Server, name) {
            Ok(link) => return Ok(link),
            Err(e) => log::warn!(stage:% = "data", error:% = e; "refused"),
        }
        if Instant::now() >= until {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}
