//! The gate of the own dialect: the handshake of TLS, and what a client may ask before
//! it is in. It holds no key of the server and reaches no file.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::ALPN;
use super::frame::{self, FrameError};
use super::message::{Device, Id, Refusal, Reply, Request, Sealed, VERSION};
use crate::ipc::codec::{Encode, Writer, codec};
use crate::net::link::LinkState;
use crate::net::tls::server::{Door, HelloError};
use crate::net::{Link, LinkError};
use crate::session::login::{Login, Why};
use crate::session::protocol::Gate;
use crate::vault::accounts::own::{Answer, Ask};
use crate::vault::accounts::{self, Asking};
use crate::vault::server;

/// The longest message of a client that is not in, in bytes.
const LONGEST: usize = 4096;

/// How long a client may take once a person has to get a code.
const DECISION: Duration = Duration::from_secs(300);

/// The most messages of a client that is not in.
const MOST_MESSAGES: usize = 100;

/// Most states are no longer.
const USUAL_STATE_BYTES: usize = 2048;

/// Why a client did not pass.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The connection ended, or what came was no message.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The handshake of TLS came to nothing.
    #[error("{0}")]
    Tls(String),
    /// A message that has no place there.
    #[error("a message out of order")]
    Order,
    /// Too many messages.
    #[error("too many messages before the login")]
    TooMany,
    /// The client has said good-bye.
    #[error("client has logged out")]
    Left,
    /// A process of ours, or the system.
    #[error("internal: {0}")]
    Internal(#[from] io::Error),
}

impl From<LinkError> for Refused {
    fn from(e: LinkError) -> Refused {
        Refused::Frame(e.into())
    }
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
pub struct State {
    /// The connection.
    pub link: LinkState,
    /// The device that has logged in.
    pub device: Id,
    /// The account secret, sealed by the master password.
    pub wrapped: Sealed,
}

codec!(struct State { link, device, wrapped });

/// Takes a client through TLS and lets it in. Its session answers the login.
///
/// # Errors
/// Why it did not pass.
pub fn admit(gate: Gate<'_>, door: &Door) -> Result<(), Refused> {
    let keeper = Arc::new(gate.keeper);
    let mut link = Link::new(gate.socket)?;
    link.count_on(gate.meter);
    link.set_deadline(Some(gate.deadline))?;
    link.stop_on(&crate::sys::signal::STOP);
    let accepted = door.accept(&mut link, Arc::clone(&keeper) as _, &[ALPN])?;
    if accepted.alpn.as_deref() != Some(ALPN) {
        link.close();
        let text = "a client that does not ask for tfd-vault/1";
        return Err(Refused::Tls(text.to_owned()));
    }
    let user = hello(&mut link)?;
    let channel = keeper.enter()?;
    let channel = channel.ok_or_else(|| io::Error::other("the keeper lets nobody in"))?;
    let accounts: Asking = channel.into_channel().into();
    answer(&mut link, &accounts, Ask::Params { user: user.clone() })?;
    let (device, wrapped) = serve(&mut link, &accounts, &user)?;
    let state = state(&link, device, wrapped);
    let state = state.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let login = Login::new(accounts.into_channel().into(), gate.steps, None);
    let why = match login.enter(link.socket(), &state)? {
        Ok(()) => return Ok(()),
        Err(Why::TooMany) => Refusal::TooMany,
        Err(_) => Refusal::Internal,
    };
    frame::send(&mut link, &Reply::Refused { why })?;
    link.close();
    Err(Refused::Tls(why.to_string()))
}

/// The name in the first message.
fn hello(link: &mut Link) -> Result<String, Refused> {
    for _ in 0..MOST_MESSAGES {
        match frame::receive(link, LONGEST)? {
            Request::Hello { version, user } if version == VERSION => return Ok(user),
            Request::Hello { .. } => {
                let why = Refusal::Version;
                frame::send(link, &Reply::Refused { why })?;
            }
            Request::LogOut => return Err(leave(link)),
            _ => return Err(Refused::Order),
        }
    }
    Err(Refused::TooMany)
}

/// Answers a client that has said good-bye.
fn leave(link: &mut Link) -> Refused {
    match frame::send(link, &Reply::Done) {
        Ok(()) => {
            link.close();
            Refused::Left
        }
        Err(e) => e.into(),
    }
}

/// Answers a client until it is in: its device, and its account secret.
fn serve(link: &mut Link, accounts: &Asking, user: &str) -> Result<(Id, Sealed), Refused> {
    for _ in 0..MOST_MESSAGES {
        let user = user.to_owned();
        let (ask, id) = match frame::receive(link, LONGEST)? {
            Request::Register(account) => {
                let Device { id, .. } = account.device;
                (Ask::Register { user, account }, id)
            }
            Request::LogIn(login) => {
                let Device { id, .. } = login.device;
                (Ask::LogIn { user, login }, id)
            }
            Request::LogOut => return Err(leave(link)),
            _ => return Err(Refused::Order),
        };
        if let Some(wrapped) = answer(link, accounts, ask)? {
            return Ok((id, wrapped));
        }
    }
    Err(Refused::TooMany)
}

/// Asks for the client and passes the answer on; the account secret of one who is in.
fn answer(link: &mut Link, accounts: &Asking, ask: Ask) -> Result<Option<Sealed>, Refused> {
    accounts.send(&accounts::Ask::Own(ask))?;
    let answer = accounts.receive()?;
    let answer = answer.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
    let reply = match answer {
        accounts::Answer::Own(Answer::Admitted { wrapped }) => return Ok(Some(wrapped)),
        accounts::Answer::Own(Answer::Params(kdf)) => Reply::Params(kdf),
        accounts::Answer::Own(Answer::Refused(why)) => Reply::Refused { why },
        accounts::Answer::Own(Answer::CodeWanted { kind, is_mailed }) => {
            link.set_deadline(Some(Instant::now() + DECISION))?;
            Reply::CodeWanted { kind, is_mailed }
        }
        _ => return Err(io::Error::from(io::ErrorKind::InvalidData).into()),
    };
    frame::send(link, &reply)?;
    Ok(None)
}

fn state(link: &Link, device: Id, wrapped: Sealed) -> Option<Zeroizing<Vec<u8>>> {
    let link = link.state()?;
    let state = server::State::Own(State {
        link,
        device,
        wrapped,
    });
    let mut out = Writer::default();
    // Memory that grows would leave copies behind that nobody wipes.
    out.bytes.reserve(USUAL_STATE_BYTES);
    state.encode(&mut out);
    Some(out.bytes)
}

/// A client that a gate has let in.
pub struct Client {
    /// The connection to it.
    pub link: Link,
    /// The device it is.
    pub device: Id,
    /// Its account secret, sealed by the master password.
    pub wrapped: Sealed,
}

/// The client that a gate has handed over.
///
/// # Errors
/// The system's.
pub fn take_over(socket: TcpStream, state: State) -> io::Result<Client> {
    Ok(Client {
        link: Link::from_state(socket, &state.link)?,
        device: state.device,
        wrapped: state.wrapped,
    })
}
