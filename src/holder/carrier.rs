//! A carrier: a process that dials one other holder, for as long as there are files to
//! send there or to fetch from there. What it reads and writes the stock has opened; the
//! stock signs who is here. It has no key and no path, and ends with its line.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use super::checksum::{Hasher, at_most};
use super::part::{Fate, fill};
use super::stock::message::{Coming, Dial, FromCarrier, Going, ToCarrier};
use crate::hub::peer::PeerError;
use crate::hub::peer::peer_line::PeerLine;
use crate::hub::wire::request::{Fil, Get};
use crate::hub::wire::{Code, Id, Line, Message, Name, NotStored, Reply, Request};
use crate::ipc::{Helper, Pipe};
use crate::net::LinkError;
use crate::sandbox::confinement::{Confinement, Duty};
use crate::sandbox::{Reach, place};
use crate::session::protocol::HelperContext;

/// Bytes that are read and sent at once.
const PIECE: usize = 64 * 1024;

/// Starts one.
///
/// # Errors
/// One line that says what could not be started.
pub fn spawn(
    context: &HelperContext<'_>,
    dial: &Dial,
    stock: Pipe<FromCarrier, ToCarrier>,
) -> Result<Helper, String> {
    let sandbox = context.sandbox.reaching(Reach::Tcp);
    let sandbox = sandbox.map_err(|e| format!("carrier: {e}"))?;
    let confinement = Confinement::new(context.identity, &sandbox)?;
    <Helper>::spawn("carrier", |child| {
        let duty = Duty::Mailing {
            port: dial.address.port(),
            files: &[],
        };
        child.enter(c"tfd-carrier", &confinement.with(duty), &[stock.as_fd()])?;
        place::reached(place::Place::Helper("carrier"), place::NOBODY, None);
        run(dial, &stock);
        Ok(())
    })
}

/// Why a line is over.
#[derive(Debug, thiserror::Error)]
enum Ended {
    /// The stock is gone, or has dropped the line.
    #[error("no stock")]
    NoStock,
    /// The file that is sent can't be read as far as its size says.
    #[error("file not read: {0}")]
    Unreadable(io::Error),
    /// The other holder, or the way to it.
    #[error(transparent)]
    Peer(#[from] PeerError),
}

impl From<io::Error> for Ended {
    fn from(e: io::Error) -> Ended {
        Ended::Peer(e.into())
    }
}

impl Ended {
    /// What the hub hears; nothing of a connection that is lost half-way, since another
    /// one may do.
    fn reason(&self) -> Option<NotStored> {
        match self {
            Ended::Unreadable(_) => Some(NotStored::Corrupt),
            Ended::Peer(PeerError::Unreachable(_)) => Some(NotStored::Unreachable),
            Ended::Peer(PeerError::NotPinned | PeerError::Refused(Reply::PeerNotVerified)) => {
                Some(NotStored::Key)
            }
            Ended::Peer(PeerError::Link(LinkError::TimedOut)) => Some(NotStored::Timeout),
            Ended::NoStock | Ended::Peer(PeerError::Link(_) | PeerError::Internal(_)) => None,
            Ended::Peer(_) => Some(NotStored::Refused),
        }
    }
}

type Result<T, E = Ended> = std::result::Result<T, E>;

fn run(dial: &Dial, stock: &Pipe<FromCarrier, ToCarrier>) {
    let ended = match carry(dial, stock) {
        Ok(()) => return,
        Err(ended) => ended,
    };
    log::warn!(peer:% = dial.address, reason:% = ended; "line to a keeper lost");
    if let Some(reason) = ended.reason() {
        // A stock that is gone has nobody to report it to.
        let _ = stock.send(&FromCarrier::Failed(reason));
    }
}

fn ask(stock: &Pipe<FromCarrier, ToCarrier>, ask: &FromCarrier) -> Result<ToCarrier> {
    stock.send(ask).map_err(|_| Ended::NoStock)?;
    match stock.receive() {
        Ok(Some(answer)) => Ok(answer),
        _ => Err(Ended::NoStock),
    }
}

/// Dials, and carries files until there are none.
fn carry(dial: &Dial, stock: &Pipe<FromCarrier, ToCarrier>) -> Result<()> {
    let mut line = match dial.token {
        None => PeerLine::dial(&[dial.address], &dial.key)?,
        Some(token) => PeerLine::meet(&[dial.address], token, &dial.key)?,
    };
    let introduce = FromCarrier::Introduce(line.exporter());
    let ToCarrier::Statement(Line {
        message: Message::Request(Request::Ds1(statement)),
        ..
    }) = ask(stock, &introduce)?
    else {
        return Err(Ended::NoStock);
    };
    line.state(&statement, &dial.key)?;
    log::debug!(peer:% = dial.address; "line to a keeper");
    let mut next = ask(stock, &FromCarrier::Next)?;
    loop {
        let failed = match next {
            ToCarrier::Send(going) => send(&mut line, going)?,
            ToCarrier::Fetch { name, size } => fetch(&mut line, stock, name, size)?,
            ToCarrier::End => {
                line.close();
                return Ok(());
            }
            _ => return Err(Ended::NoStock),
        };
        next = ask(stock, &FromCarrier::Carried(failed))?;
    }
}

/// What the hub hears of a file that the other holder has refused.
fn refused(reply: &Reply) -> NotStored {
    match reply.code() {
        Code::NoSpace => NotStored::Full,
        _ => NotStored::Refused,
    }
}

/// Sends a file; why it has not got there.
fn send(line: &mut PeerLine, going: Going) -> Result<Option<NotStored>> {
    let Going { name, size, .. } = going;
    let fil = Fil {
        sig: Some(going.sig),
        kind: Some(going.kind),
        owner: Some(going.owner),
        okey: Some(going.okey),
        ..Fil::new(name, size)
    };
    let id = line.request(fil)?;
    let from = match line.reply(id)? {
        Reply::MaySend { from } => from.unwrap_or(0),
        reply => return Ok(Some(refused(&reply))),
    };
    if from > size {
        return Err(PeerError::Broken("an offset behind the end").into());
    }
    let found = send_bytes(line, &File::from(going.file), size, from)?;
    Ok(match line.reply(id)? {
        _ if found != name => Some(NotStored::Corrupt),
        Reply::FileReceived { .. } => None,
        reply => Some(refused(&reply)),
    })
}

/// Sends the bytes from an offset on; what the name of all of them is.
fn send_bytes(line: &mut PeerLine, file: &File, size: u64, from: u64) -> Result<Name> {
    let mut hasher = Hasher::default();
    let mut piece = vec![0; PIECE];
    let mut at = 0;
    while at < size {
        // What is there already is only hashed.
        let end = if at < from { from } else { size };
        let bytes = &mut piece[..at_most(end - at, PIECE)];
        file.read_exact_at(bytes, at).map_err(Ended::Unreadable)?;
        hasher.update(bytes);
        if at >= from {
            line.write(bytes)?;
        }
        at += bytes.len() as u64;
    }
    Ok(hasher.finish())
}

/// Fetches a file; why it has not come.
fn fetch(
    line: &mut PeerLine,
    stock: &Pipe<FromCarrier, ToCarrier>,
    name: Name,
    size: u64,
) -> Result<Option<NotStored>> {
    let id = line.request(Get::new(name, size))?;
    let (own, fil) = match announced(line, id)? {
        Ok(announced) => announced,
        Err(Reply::NoSuchFile) => return Ok(Some(NotStored::Missing)),
        Err(reply) => return Ok(Some(refused(&reply))),
    };
    if (fil.filename, fil.filesize) != (name, size) {
        return Err(PeerError::Broken("another file").into());
    }
    let coming = Coming {
        name,
        size,
        kind: fil.kind,
        owner: fil.owner,
        sig: fil.sig,
    };
    let (part, from) = match ask(stock, &FromCarrier::Take(coming))? {
        ToCarrier::Part { part, from } => (File::from(part), from),
        ToCarrier::Refused(reason) => {
            line.answer(own, Reply::NotMine)?;
            return Ok(Some(reason));
        }
        _ => return Err(Ended::NoStock),
    };
    line.answer(own, Reply::MaySend { from: Some(from) })?;
    let next = |to: &mut [u8]| -> Result<usize> {
        line.read(to)?;
        Ok(to.len())
    };
    let (reply, reason) = match fill(&part, (name, size), from, next)? {
        Fate::Whole => return keep(line, stock, own),
        Fate::Wrong => (Reply::NoSuchFile, NotStored::Corrupt),
        Fate::Full => (Reply::NoSpace { hub: None }, NotStored::Full),
    };
    ask(stock, &FromCarrier::Spoiled)?;
    line.answer(own, reply)?;
    Ok(Some(reason))
}

/// The listener's answer to a request for a file: its announcement, or a refusal.
fn announced(line: &mut PeerLine, to: Id) -> Result<Result<(Id, Fil), Reply>> {
    match line.line()? {
        Line {
            id: Some(own),
            message: Message::Request(Request::Fil(fil)),
        } if fil.r#for == Some(to) => Ok(Ok((own, fil))),
        Line {
            id: Some(of),
            message: Message::Reply(reply),
        } if of == to => Ok(Err(reply)),
        _ => Err(PeerError::Broken("something else than the file").into()),
    }
}

/// Has the stock put a whole file into its place, and says so.
fn keep(
    line: &mut PeerLine,
    stock: &Pipe<FromCarrier, ToCarrier>,
    own: Id,
) -> Result<Option<NotStored>> {
    let (reply, reason) = match ask(stock, &FromCarrier::Whole)? {
        ToCarrier::Done => (Reply::FileReceived { receipt: None }, None),
        ToCarrier::Refused(reason) => (Reply::NoSpace { hub: None }, Some(reason)),
        _ => return Err(Ended::NoStock),
    };
    line.answer(own, reply)?;
    Ok(reason)
}
