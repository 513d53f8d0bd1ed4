//! Between the hash and the last door: what may be asked before LOGIN and
//! before INJAIL (document, "Security enhancement"). Who is behind the doors
//! is not decided here.

use std::io;
use std::time::{Duration, Instant};

use zeroize::Zeroize;

use super::command::keepalive;
use super::request::{Request, word};
use super::status::{Reply, Status};
use super::wire::{Result, Wire, WireError};
use crate::store::RootPath;

/// How long a client may take between the hash and its last door.
const LIMIT: Duration = Duration::from_secs(120);

/// No request that opens a door is longer, in bytes. Of others no more is kept,
/// for there may be many clients here who have shown nothing but the hash.
const MAX_REQUEST: usize = 8 * 1024;

/// How often a door may stay closed before the connection is.
const MAX_FAILURES: u32 = 10;

/// How much longer each further refusal takes than the one before.
const PENALTY: Duration = Duration::from_millis(100);

/// The doors behind the hash that are closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// LOGIN, in multi-user mode.
    pub login: bool,
    /// INJAIL.
    pub jail: bool,
}

impl Closed {
    /// None is: the hash was the last door.
    pub const NONE: Closed = Closed {
        login: false,
        jail: false,
    };
}

/// What comes of an attempt on a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is open.
    Open,
    /// It stays closed; the client is told why.
    Closed(Status),
    /// It was the last one, and another process has the client now.
    TakenOver,
}

/// How the way through the doors ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// All are open, and the client is told so.
    All,
    /// The client has said END.
    Left,
    /// Another process has the client.
    TakenOver,
}

/// Who opens the doors.
pub trait Doorkeeper {
    /// What the client has proved by a certificate opens in place of LOGIN;
    /// `None` where it has proved nothing.
    ///
    /// # Errors
    /// When nobody is there to ask.
    fn show_certificate(&mut self, wire: &Wire) -> io::Result<Option<Answer>>;

    /// LOGIN with a name and a password, over this wire.
    ///
    /// # Errors
    /// When nobody is there to ask.
    fn login(&mut self, wire: &Wire, user: &[u8], password: &[u8]) -> io::Result<Answer>;

    /// INJAIL with a token and a directory.
    ///
    /// # Errors
    /// When nobody is there to ask.
    fn injail(&mut self, token: &[u8], path: &RootPath) -> io::Result<Answer>;
}

/// Serves a client until its last door is open, or END.
///
/// # Errors
/// Why the connection could not go on; `Closed` is the quiet end.
pub fn pass(
    wire: &mut Wire,
    closed: Closed,
    process_key: &str,
    keeper: &mut impl Doorkeeper,
) -> Result<Passed> {
    wire.set_deadline(Some(Instant::now() + LIMIT))?;
    let mut open = closed;
    let mut failures = 0;
    let mut body = Vec::new();
    if open.login {
        match keeper.show_certificate(wire).map_err(WireError::Io)? {
            Some(Answer::Open) => open.login = false,
            Some(Answer::TakenOver) => return Ok(Passed::TakenOver),
            Some(Answer::Closed(_)) | None => {}
        }
    }
    while open.login || open.jail {
        let whole = wire.read_short_message(&mut body, MAX_REQUEST)?;
        let reply = match word(&body).as_slice() {
            b"END" => return Ok(Passed::Left),
            b"LOGIN" if closed.login => {
                let reply = login(wire, (&body, whole), &mut open, keeper)?;
                body.zeroize();
                let Some(reply) = reply else {
                    return Ok(Passed::TakenOver);
                };
                reply
            }
            b"KEEPALIVE" | b"PROCKEY" if closed.login => free(wire, &body, process_key),
            _ if open.login => Status::BeforeLogin.into(),
            b"INJAIL" if whole => injail(&body, &mut open, keeper)?,
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

/// Whether a door stayed closed for what the client knows or does not.
fn is_failure(reply: &Reply) -> bool {
    matches!(
        reply,
        Reply::Failed(Status::LoginFailed | Status::JailToken)
    )
}

/// The reply; none where another process gives it. A request that is not whole
/// is one for an account that nobody can have.
fn login(
    wire: &Wire,
    (body, whole): (&[u8], bool),
    open: &mut Closed,
    keeper: &mut impl Doorkeeper,
) -> Result<Option<Reply>> {
    if !open.login {
        return Ok(Some(Status::AlreadyLoggedIn.into()));
    }
    let (user, mut password) = match Request::parse(body) {
        _ if !whole => (body.to_vec(), Vec::new()),
        Ok(Request::Login { user, password }) => (user, password),
        Ok(_) => return Ok(Some(Reply::Unknown)),
        Err(reply) => return Ok(Some(reply)),
    };
    let answer = keeper.login(wire, &user, &password);
    password.zeroize();
    let reply = match answer.map_err(WireError::Io)? {
        Answer::Open => {
            open.login = false;
            Reply::Ok
        }
        Answer::Closed(status) => status.into(),
        Answer::TakenOver => return Ok(None),
    };
    Ok(Some(reply))
}

fn injail(body: &[u8], open: &mut Closed, keeper: &mut impl Doorkeeper) -> Result<Reply> {
    let (token, path) = match Request::parse(body) {
        Ok(Request::Injail { token, path }) => (token, path),
        Ok(_) => return Ok(Reply::Unknown),
        Err(reply) => return Ok(reply),
    };
    match keeper.injail(&token, &path).map_err(WireError::Io)? {
        Answer::Closed(status) => Ok(status.into()),
        Answer::Open | Answer::TakenOver => {
            open.jail = false;
            Ok(Reply::Ok)
        }
    }
}

/// The commands that need no door.
fn free(wire: &Wire, body: &[u8], process_key: &str) -> Reply {
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

/// PROCKEY: the key by which UDP probes find this session.
pub(crate) fn prockey(key: &str) -> Reply {
    Reply::OkWith(format!("/{key}").into_bytes())
}
