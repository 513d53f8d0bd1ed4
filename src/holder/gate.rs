//! The gate of a peer: the handshake of TLS, by the holder's own certificate, and the
//! statements of who is here. It holds no key, and knows no file.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::stock::message::{Answer, Ask, Pass};
use crate::hub::peer::{ALPN, LABEL};
use crate::hub::wire::request::Out;
use crate::hub::wire::{Code, Exporter, Id, Line, Lines, Message, Reply, Request};
use crate::ipc::Pipe;
use crate::ipc::codec::{Encode, Writer, codec};
use crate::net::link::LinkState;
use crate::net::tls::server::{Door, HelloError, Keyholder};
use crate::net::{Link, LinkError};
use crate::session::login::Login;
use crate::session::protocol::Gate;

/// Bytes that are read at once.
const PIECE: usize = 4096;

/// Most states are no longer.
const USUAL_STATE_BYTES: usize = 8192;

/// Why a peer did not pass.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The connection ended, or broke.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The handshake of TLS came to nothing.
    #[error("{0}")]
    Tls(String),
    /// It is not expected, or not who it says.
    #[error("{}", .0.text())]
    Unknown(Code),
    /// It does not believe that we are who we say.
    #[error("it refuses our statement")]
    Distrusted,
    /// What came has no place there.
    #[error("{0}")]
    Broken(&'static str),
    /// A process of ours, or the system.
    #[error("internal: {0}")]
    Internal(#[from] io::Error),
}

impl From<HelloError> for Refused {
    fn from(e: HelloError) -> Refused {
        match e {
            HelloError::Link(e) => e.into(),
            HelloError::Refused(text) => Refused::Tls(text),
        }
    }
}

/// What goes on in the session, but for the socket.
pub struct Handed {
    /// The connection.
    pub link: LinkState,
    /// What shows that the peer is in.
    pub pass: Pass,
    /// The peer's last request.
    pub latest: Id,
    /// Bytes behind it.
    pub rest: Vec<u8>,
}

codec!(struct Handed { link, pass, latest, rest });

/// The stock, which signs the handshake.
struct Stock(Pipe<Ask, Answer>);

impl Stock {
    fn ask(&self, ask: &Ask) -> io::Result<Answer> {
        self.0.send(ask)?;
        self.0.receive()?.ok_or(io::ErrorKind::UnexpectedEof.into())
    }
}

impl fmt::Debug for Stock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stock")
    }
}

impl Keyholder for Stock {
    fn sign(&self, _: u16, content: &[u8]) -> Option<Vec<u8>> {
        match self.ask(&Ask::Sign(content.to_vec())) {
            Ok(Answer::Bytes(signature)) => Some(signature),
            _ => None,
        }
    }

    /// No session is resumed.
    fn seal(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn open(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// Takes a peer through TLS and the statements.
///
/// # Errors
/// Why it did not pass.
pub fn admit(gate: Gate<'_>) -> Result<(), Refused> {
    let stock = gate.keeper.enter()?;
    let stock = stock.ok_or_else(|| io::Error::other("the keeper lets nobody in"))?;
    let stock = Arc::new(Stock(stock.into_channel().into()));
    let Answer::Bytes(certificate) = stock.ask(&Ask::Certificate)? else {
        return Err(unexpected());
    };
    let door = Door::new(&certificate, None).map_err(io::Error::other)?;
    let mut link = Link::new(gate.socket)?;
    link.count_on(gate.meter);
    link.set_deadline(Some(gate.deadline))?;
    link.stop_on(&crate::sys::signal::STOP);
    let accepted = door.accept_exporting(&mut link, Arc::clone(&stock) as _, &[ALPN], LABEL)?;
    let exported = accepted
        .exported
        .filter(|_| accepted.alpn.as_deref() == Some(ALPN));
    let Some(exported) = exported else {
        link.close();
        let text = "a client that does not ask for tfd-peer/1";
        return Err(Refused::Tls(text.to_owned()));
    };
    let mut lines = Lines::default();
    let latest = introduce(&mut link, &mut lines, &stock, Exporter(exported))?;
    let Answer::Entered(pass) = stock.ask(&Ask::Enter)? else {
        return Err(unexpected());
    };
    let state = Handed {
        link: link.state().ok_or_else(unexpected)?,
        pass,
        latest,
        rest: lines.take(usize::MAX),
    };
    let mut out = Writer::default();
    // Memory that grows would leave copies behind that nobody wipes.
    out.bytes.reserve(USUAL_STATE_BYTES);
    state.encode(&mut out);
    let state: Zeroizing<Vec<u8>> = out.bytes;
    drop(door);
    let stock = Arc::into_inner(stock).ok_or_else(unexpected)?;
    let login = Login::new(stock.0.into_channel().into(), gate.steps, None);
    match login.enter(link.socket(), &state)? {
        Ok(()) => Ok(()),
        Err(why) => {
            log::debug!(peer:% = gate.peer, why:%; "no session");
            // It comes again by itself.
            let message = Message::Request(Out::new().into());
            send(&mut link, &[Line { id: None, message }])?;
            link.close();
            Ok(())
        }
    }
}

fn unexpected() -> Refused {
    io::Error::from(io::ErrorKind::InvalidData).into()
}

/// Hears who is there and says who is here; the number of the peer's request.
fn introduce(
    link: &mut Link,
    lines: &mut Lines,
    stock: &Stock,
    exporter: Exporter,
) -> Result<Id, Refused> {
    let line = next(link, lines)?;
    let Line {
        id: Some(id),
        message: Message::Request(Request::Ds1(_)),
    } = &line
    else {
        let reply = match line.message {
            Message::Request(_) => Reply::NotAllowed,
            Message::Reply(_) => Reply::NotUnderstood,
        };
        let (id, message) = (line.id, Message::Reply(reply));
        send(link, &[Line { id, message }])?;
        link.close();
        return Err(Refused::Broken("no statement of the peer"));
    };
    let id = *id;
    let own = match stock.ask(&Ask::Introduce { line, exporter })? {
        Answer::Verified(reply, statement) => {
            let own = statement.id;
            send(link, &[reply, statement])?;
            own
        }
        Answer::Refused(line) => {
            let code = match &line.message {
                Message::Reply(reply) => reply.code(),
                Message::Request(_) => return Err(unexpected()),
            };
            send(link, &[line])?;
            link.close();
            return Err(Refused::Unknown(code));
        }
        _ => return Err(unexpected()),
    };
    match next(link, lines)? {
        Line {
            id: of,
            message: Message::Reply(Reply::ListenerVerified),
        } if of == own => Ok(id),
        _ => {
            link.close();
            Err(Refused::Distrusted)
        }
    }
}

fn next(link: &mut Link, lines: &mut Lines) -> Result<Line, Refused> {
    loop {
        match lines.line() {
            Some(Ok(line)) => return Ok(line),
            Some(Err(bad)) => {
                let (id, message) = (bad.id, Message::Reply(Reply::NotUnderstood));
                send(link, &[Line { id, message }])?;
                link.close();
                return Err(Refused::Broken("a line that can't be read"));
            }
            None => {}
        }
        let mut piece = [0; PIECE];
        match link.read(&mut piece)? {
            0 => return Err(LinkError::Closed.into()),
            len => lines.add(&piece[..len]),
        }
    }
}

fn send(link: &mut Link, lines: &[Line]) -> Result<(), LinkError> {
    let text: String = lines.iter().map(Line::print).collect();
    link.write(&mut text.into_bytes())
}

/// One log line on a peer that did not pass.
pub fn log_refusal(peer: SocketAddr, refusal: &Refused) {
    match refusal {
        Refused::Link(LinkError::Closed | LinkError::Stopped) => {
            log::debug!(peer:%, stage:% = "handshake"; "left");
        }
        Refused::Internal(e) => log::error!(peer:%, error:% = e; "gate failed"),
        _ => log::warn!(peer:%, stage:% = "handshake", reason:% = refusal; "refused"),
    }
}
