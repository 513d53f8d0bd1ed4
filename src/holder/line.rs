//! The line to the hub: a process that dials the hub, logs in as a keeper, and passes on
//! what the hub and the stock say to each other. It has no key and no file; lost, the
//! line is made again, later each time.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::stock::message::{FromLine, ToLine};
use crate::hub::peer::PeerError;
use crate::hub::peer::line::{Heard, HubLine, Login, Missing, Place};
use crate::hub::peer::signer::Signer;
use crate::hub::proofs::{Challenge, Statement};
use crate::hub::wire::request::Sha;
use crate::hub::wire::{
    Checksum, Id, Key, Label, Line, Message, Reply, Request, Role, Signature, User,
};
use crate::ipc::codec::codec;
use crate::ipc::{Helper, Pipe};
use crate::net::link::Awaited;
use crate::net::tls::client::{Tls, Trust};
use crate::sandbox::confinement::{Confinement, Duty};
use crate::sandbox::{Reach, lookup_directories, place};
use crate::session::protocol::HelperContext;

/// The first pause before a new try, and the longest.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(10);

/// After how long a share is named again that was smaller than what is kept.
const SHARE: Duration = Duration::from_mins(5);

/// What the line knows of the hub, and of the holder.
#[derive(Clone, Debug)]
pub struct Hub {
    /// `HOST:PORT`.
    pub address: String,
    /// What it calls itself.
    pub name: Label,
    /// The key of its certificate.
    pub pin: String,
    /// Who keeps.
    pub user: User,
    /// The public key of the holder.
    pub key: Key,
    /// What the identity key has signed of that.
    pub proof: Signature,
    /// Bytes that are kept for others.
    pub share: u64,
    /// Where peers are listened for.
    pub port: u16,
    /// A label that copies avoid to have twice.
    pub site: Option<Label>,
}

codec!(struct Hub { address, name, pin, user, key, proof, share, port, site });

impl Hub {
    fn host_and_port(&self) -> Option<(&str, u16)> {
        let (host, port) = self.address.rsplit_once(':')?;
        let inside = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        Some((inside.unwrap_or(host), port.parse().ok()?))
    }
}

/// Starts the process.
///
/// # Errors
/// One line that says what could not be started.
pub fn spawn(
    context: &HelperContext<'_>,
    hub: &Hub,
    stock: Pipe<FromLine, ToLine>,
) -> Result<Helper, String> {
    let (host, port) = hub.host_and_port().ok_or("holder.hub: use HOST:PORT")?;
    let is_name = host.parse::<IpAddr>().is_err();
    let reach = if is_name { Reach::Names } else { Reach::Tcp };
    let sandbox = context.sandbox.reaching(reach);
    let sandbox = sandbox.map_err(|e| format!("line to the hub: {e}"))?;
    let mut confinement = Confinement::new(context.identity, &sandbox)?;
    if is_name {
        // Lookups need the files of the real root.
        confinement.empty_root = None;
    }
    <Helper>::spawn_ready("line to the hub", |child| {
        let pin = Trust::Pin(hub.pin.clone());
        let tls = Tls::new(&pin, None).map_err(|e| io::Error::other(format!("holder.key: {e}")))?;
        let files: Vec<OwnedFd> = lookup_directories().filter(|_| is_name).collect();
        let mut handles: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        let duty = Duty::Mailing {
            port,
            files: &handles.clone(),
        };
        handles.push(stock.as_fd());
        child.enter(c"tfd-line", &confinement.with(duty), &handles)?;
        drop(files);
        place::reached(place::Place::Helper("line"), place::NOBODY, None);
        child.ready()?;
        run(hub, &tls, &stock)
    })
}

/// Why a line is over.
#[derive(Debug, thiserror::Error)]
enum Ended {
    /// The stock is gone; another process begins again, with the next one.
    #[error("the stock has ended")]
    NoStock,
    /// The hub, or the way to it.
    #[error(transparent)]
    Peer(#[from] PeerError),
}

impl From<io::Error> for Ended {
    fn from(_: io::Error) -> Ended {
        Ended::NoStock
    }
}

fn run(hub: &Hub, tls: &Tls, stock: &Pipe<FromLine, ToLine>) -> io::Result<()> {
    let mut pause = FIRST;
    loop {
        let mut was_ready = false;
        let ended = match serve(hub, tls, stock, &mut was_ready) {
            Err(ended) => ended,
            Ok(never) => match never {},
        };
        let after = match &ended {
            Ended::NoStock => return Ok(()),
            Ended::Peer(PeerError::Left(after)) => after.map(Duration::from_secs),
            Ended::Peer(_) => None,
        };
        log::warn!(hub = hub.address.as_str(), reason:% = ended; "line to the hub lost");
        stock.send(&FromLine::Lost)?;
        if was_ready {
            pause = FIRST;
        }
        let wait = after.unwrap_or(pause);
        pause = (2 * pause).min(LONGEST);
        if !rest(stock, jittered(wait))? {
            return Ok(());
        }
    }
}

/// Somewhere up to this time, so that not all holders of a hub come at once.
fn jittered(most: Duration) -> Duration {
    let mut drawn = [0; 4];
    match getrandom::fill(&mut drawn) {
        Ok(()) => most.mul_f64(f64::from(u32::from_be_bytes(drawn)) / f64::from(u32::MAX)),
        Err(_) => most,
    }
}

/// Waits; what the stock says meanwhile was for the line that is lost. Whether the
/// stock is there.
fn rest(stock: &Pipe<FromLine, ToLine>, pause: Duration) -> io::Result<bool> {
    let until = Instant::now() + pause;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let limit = Timespec::try_from(left).ok();
        let mut fds = [PollFd::new(stock, PollFlags::IN)];
        match poll(&mut fds, limit.as_ref()) {
            Ok(0) => return Ok(true),
            Ok(_) if stock.receive()?.is_none() => return Ok(false),
            _ => {}
        }
    }
}

/// What signs, in the stock.
struct Remote<'a>(&'a Pipe<FromLine, ToLine>);

impl Signer for Remote<'_> {
    fn respond(&self, challenge: &Challenge<'_>) -> io::Result<(Checksum, Option<Signature>)> {
        let exporter = challenge.exporter.ok_or(io::ErrorKind::InvalidInput)?;
        self.0.send(&FromLine::Challenge {
            time: challenge.time,
            random: challenge.random,
            exporter,
        })?;
        loop {
            match self.0.receive()? {
                Some(ToLine::Response { response, sig }) => return Ok((response, Some(sig))),
                // What was for the line before.
                Some(_) => {}
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    /// A holder's line needs no other signature: the stock signs what goes to peers.
    fn sign(&self, _: &Statement<'_>) -> io::Result<Signature> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Dials, logs in, and passes on what is said, until the line is lost.
fn serve(
    hub: &Hub,
    tls: &Tls,
    stock: &Pipe<FromLine, ToLine>,
    was_ready: &mut bool,
) -> Result<std::convert::Infallible, Ended> {
    let (mut line, is_shared) = open(hub, tls, stock)?;
    let mut share_at = (!is_shared).then(|| Instant::now() + SHARE);
    *was_ready = true;
    stock.send(&FromLine::Ready {
        time: line.time(),
        hub: line.address().ip(),
        is_rebuilt: line.is_rebuilt(),
    })?;
    log::info!(hub = hub.address.as_str(), user = hub.user.as_str(); "line to the hub");
    let mut asked: Vec<(Id, u64)> = Vec::new();
    loop {
        match line.wait(Some(stock.as_fd()), share_at)? {
            Awaited::Input => {
                let mut heard = Some(line.hear()?);
                while let Some(one) = heard {
                    if is_share_taken(&one) {
                        share_at = None;
                    }
                    pass_on(one, stock, &mut asked)?;
                    heard = line.hear_more()?;
                }
            }
            Awaited::Other => match stock.receive()? {
                Some(ToLine::Line(Line {
                    id: Some(id),
                    message,
                })) => line.answer(id, message)?,
                Some(ToLine::Line(Line {
                    id: None,
                    message: Message::Request(notice),
                })) => line.notify(notice)?,
                Some(ToLine::Ask {
                    tag,
                    line:
                        Line {
                            message: Message::Request(request),
                            ..
                        },
                }) => asked.push((line.ask(request)?, tag)),
                Some(_) => {}
                None => {
                    line.close();
                    return Err(Ended::NoStock);
                }
            },
            // The hub has moved off what is too much by now, or will have the next time.
            Awaited::Nothing => {
                line.ask(share(hub))?;
                share_at = Some(Instant::now() + SHARE);
            }
        }
    }
}

/// Whether this is the answer to a share that was too small before.
fn is_share_taken(heard: &Heard) -> bool {
    let is_it = matches!(
        heard,
        Heard::Answer {
            answer: Message::Reply(Reply::ShareOk),
            ..
        }
    );
    if is_it {
        log::info!("the hub takes the share");
    }
    is_it
}

/// What the holder shares.
fn share(hub: &Hub) -> Sha {
    Sha {
        port: Some(hub.port),
        site: hub.site.clone(),
        ..Sha::new(hub.share)
    }
}

fn pass_on(
    heard: Heard,
    stock: &Pipe<FromLine, ToLine>,
    asked: &mut Vec<(Id, u64)>,
) -> io::Result<()> {
    let to_line = |id: Option<Id>, request: Request| {
        let message = Message::Request(request);
        FromLine::Line(Line { id, message })
    };
    match heard {
        Heard::Answer { id, answer, .. } => {
            let Some(at) = asked.iter().position(|(of, _)| *of == id) else {
                return Ok(());
            };
            let (_, tag) = asked.swap_remove(at);
            let line = Line {
                id: Some(id),
                message: answer,
            };
            stock.send(&FromLine::Answered { tag, line })
        }
        Heard::Asked(id, request) => stock.send(&to_line(Some(id), request)),
        Heard::Notice(notice) => stock.send(&to_line(None, notice)),
    }
}

/// A line that is in, and has said what the holder shares; whether the hub has taken
/// that.
fn open(hub: &Hub, tls: &Tls, stock: &Pipe<FromLine, ToLine>) -> Result<(HubLine, bool), Ended> {
    let (host, port) = hub.host_and_port().unwrap_or_default();
    let addresses: Vec<SocketAddr> = match (host, port).to_socket_addrs() {
        Ok(addresses) => addresses.collect(),
        Err(e) => return Err(PeerError::Unreachable(e).into()),
    };
    let place = Place {
        addresses: &addresses,
        host,
        tls,
        name: Some(&hub.name),
    };
    let login = Login {
        user: hub.user.clone(),
        role: Role::Holder,
        port: Some(hub.port),
    };
    let (mut line, missing) = HubLine::open(&place, login, &Remote(stock))?;
    if missing == Missing::Key {
        line.send_key(hub.key, None, hub.proof)?;
    }
    match line.done(share(hub))? {
        Message::Reply(Reply::ShareOk) => Ok((line, true)),
        Message::Reply(Reply::ShareTooSmall { used }) => {
            let (share, used) = (hub.share, used.unwrap_or(0));
            log::warn!(share, used; "holder.share is smaller than what is kept: the hub moves files off");
            Ok((line, false))
        }
        Message::Reply(reply) => Err(PeerError::Refused(reply).into()),
        Message::Request(_) => Err(PeerError::Broken("a share is answered by a command").into()),
    }
}
