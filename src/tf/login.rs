//! Between the hash and the last login step: what may be asked before LOGIN
//! and before INJAIL (document, "Security enhancement"). Who may log in is not
//! decided here.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use zeroize::{Zeroize, Zeroizing};

use super::command::keepalive;
use super::command::server::prockey;
use super::request::{Request, word};
use super::status::{Reply, Status};
use super::wire::{Result, Wire, WireError};
use crate::session::login::{HandOver, Login, Steps, Verdict, Why};

/// How long a client may take between the hash and its last login step.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(120);

/// The longest request of a login step, in bytes. Of others no more is kept,
/// for there may be many clients here who have shown nothing but the hash.
const MAX_REQUEST: usize = 8 * 1024;

/// The failed attempts after which the connection is closed.
const MAX_FAILURES: u32 = 10;

/// How much longer each further refusal takes than the one before.
const PENALTY: Duration = Duration::from_millis(100);

/// How the login ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// All steps are done, and the client knows.
    All,
    /// The client has said END.
    Left,
    /// The session has the client already.
    TakenOver,
}

/// The status that says why a client may not go on.
impl From<Why> for Status {
    fn from(why: Why) -> Status {
        match why {
            Why::Token => Status::JailToken,
            Why::TokenFile => Status::JailFile,
            Why::Path => Status::AccessDenied,
            _ => Status::LoginFailed,
        }
    }
}

/// Serves a client until its last login step is done, or END.
///
/// # Errors
/// Why the connection could not go on; `Closed` is the quiet end.
pub fn pass(wire: &mut Wire, process_key: &str, login: &mut Login) -> Result<Passed> {
    wire.set_deadline(Some(Instant::now() + LOGIN_TIMEOUT))?;
    let has_accounts = login.steps().account;
    let mut failures = 0;
    let mut body = Vec::new();
    let mut closed = None;
    if has_accounts {
        match by_certificate(wire, login)? {
            Some(Ok(())) if login.steps() == Steps::NONE => return Ok(Passed::TakenOver),
            Some(Err(why)) => closed = why.reason(),
            _ => {}
        }
    }
    while login.steps().account || login.steps().jail {
        let whole = wire.read_short_message(&mut body, MAX_REQUEST)?;
        let reply = match word(&body).as_slice() {
            b"END" => return Ok(Passed::Left),
            b"LOGIN" if has_accounts => {
                let reply = by_password(wire, (&body, whole), login)?;
                body.zeroize();
                let Some(reply) = reply else {
                    return Ok(Passed::TakenOver);
                };
                reply
            }
            b"KEEPALIVE" | b"PROCKEY" if has_accounts => always_allowed(wire, &body, process_key),
            _ if login.steps().account => match closed {
                Some(why) => Reply::FailedFor(Status::BeforeLogin, why.to_string()),
                None => Status::BeforeLogin.into(),
            },
            b"INJAIL" if whole => injail(&body, login)?,
            b"INJAIL" => Status::JailToken.into(),
            _ => Status::BeforeJail.into(),
        };
        if is_failure(&reply) {
            failures += 1;
            std::thread::sleep(PENALTY * failures);
        }
        wire.write_message(&reply.into_bytes())?;
        if failures >= MAX_FAILURES {
            return Err(WireError::Broken("too many failed attempts"));
        }
    }
    Ok(Passed::All)
}

/// Whether a login step failed for what the client knows or does not.
fn is_failure(reply: &Reply) -> bool {
    matches!(
        reply,
        Reply::Failed(Status::LoginFailed | Status::JailToken) | Reply::FailedFor(..)
    )
}

/// The verdict on what the client has proved by a certificate, if it has. It hears
/// nothing of that, unless it asks for something that needs a login.
fn by_certificate(wire: &Wire, login: &mut Login) -> Result<Option<Verdict>> {
    let is_last = login.account_is_last();
    at_last_step(wire, Greeting::None, is_last, |next| {
        login.certificate(next)
    })
}

/// The reply to LOGIN; none where the session gives it. A request that is not
/// whole is one for an account that nobody can have.
fn by_password(
    wire: &Wire,
    (body, whole): (&[u8], bool),
    login: &mut Login,
) -> Result<Option<Reply>> {
    if !login.steps().account {
        return Ok(Some(Status::AlreadyLoggedIn.into()));
    }
    let (user, password) = match Request::parse(body) {
        _ if !whole => (body.to_vec(), Vec::new()),
        Ok(Request::Login { user, password }) => (user, password),
        Ok(_) => return Ok(Some(Reply::Unknown)),
        Err(reply) => return Ok(Some(reply)),
    };
    let password = Zeroizing::new(password);
    let is_last = login.account_is_last();
    let verdict = at_last_step(wire, Greeting::Ok, is_last, |next| {
        login.password(&user, &password, next)
    })?;
    let is_taken_over = is_last && verdict.is_ok();
    Ok((!is_taken_over).then(|| reply_to(verdict)))
}

/// What a session says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// Nothing: the client expects nothing.
    None,
    /// `OK`, to LOGIN.
    Ok,
}

/// The state that a gate hands over: greeting, wire.
pub fn state(wire: &Wire, greeting: Greeting) -> Option<Zeroizing<Vec<u8>>> {
    let wire = wire.state()?;
    let mut state = Zeroizing::new(Vec::with_capacity(1 + wire.len()));
    state.push(u8::from(greeting == Greeting::Ok));
    state.extend_from_slice(&wire);
    Some(state)
}

/// The wire that a gate has handed over, greeted.
///
/// # Errors
/// `InvalidData` for bytes that are not a state, or the wire's.
pub fn take_over(socket: TcpStream, state: &[u8]) -> io::Result<Wire> {
    let (greeting, state) = state.split_first().ok_or(io::ErrorKind::InvalidData)?;
    let mut wire = Wire::from_state(socket, state)?;
    if *greeting == 1 {
        wire.write_message(b"OK").map_err(io::Error::other)?;
    }
    Ok(wire)
}

/// Asks with what the session goes on with, if this is the last step.
fn at_last_step<T>(
    wire: &Wire,
    greeting: Greeting,
    is_last: bool,
    ask: impl FnOnce(Option<HandOver<'_>>) -> io::Result<T>,
) -> Result<T> {
    if !is_last {
        return ask(None).map_err(WireError::Io);
    }
    let state = state(wire, greeting).ok_or(io::ErrorKind::InvalidInput);
    let state = state.map_err(|e| WireError::Io(e.into()))?;
    let socket = wire.socket().as_fd();
    let state = &state;
    ask(Some(HandOver { socket, state })).map_err(WireError::Io)
}

fn injail(body: &[u8], login: &mut Login) -> Result<Reply> {
    let (token, path) = match Request::parse(body) {
        Ok(Request::Injail { token, path }) => (token, path),
        Ok(_) => return Ok(Reply::Unknown),
        Err(reply) => return Ok(reply),
    };
    let verdict = login.jail(&token, &path).map_err(WireError::Io)?;
    Ok(reply_to(verdict))
}

fn reply_to(verdict: Verdict) -> Reply {
    match verdict {
        Ok(()) => Reply::Ok,
        Err(why) => match why.reason() {
            Some(reason) => Reply::FailedFor(why.into(), reason.to_string()),
            None => Status::from(why).into(),
        },
    }
}

/// The commands that need no login.
fn always_allowed(wire: &Wire, body: &[u8], process_key: &str) -> Reply {
    match Request::parse(body) {
        Ok(Request::Keepalive {
            on,
            idle,
            interval,
            count,
        }) => keepalive::run(wire.socket(), on, idle, interval, count).into(),
        Ok(Request::Prockey) => prockey(process_key),
        Ok(_) => Reply::Unknown,
        Err(reply) => reply,
    }
}
