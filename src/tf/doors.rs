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
    pub const NONE: Closed = Closed { login: false, jail: false };
}

/// Who opens the doors. `Ok(Some(status))` is a refusal.
pub trait Doorkeeper {
    /// LOGIN with a name and a password.
    ///
    /// # Errors
    /// When nobody is there to ask.
    fn login(&mut self, user: &[u8], password: &[u8]) -> io::Result<Option<Status>>;

    /// INJAIL with a token and a directory.
    ///
    /// # Errors
    /// When nobody is there to ask.
    fn injail(&mut self, token: &[u8], path: &RootPath) -> io::Result<Option<Status>>;
}

/// Serves a client until its last door is open: `true` then, and the `OK` is
/// sent; `false` after END.
///
/// # Errors
/// Why the connection could not go on; `Closed` is the quiet end.
pub fn pass(
    wire: &mut Wire,
    closed: Closed,
    process_key: &str,
    keeper: &mut impl Doorkeeper,
) -> Result<bool> {
    wire.set_deadline(Some(Instant::now() + LIMIT))?;
    let mut open = closed;
    let mut failures = 0;
    let mut body = Vec::new();
    while open.login || open.jail {
        wire.read_request(&mut body)?;
        let reply = match word(&body).as_slice() {
            b"END" => return Ok(false),
            b"LOGIN" if closed.login => {
                let reply = login(&body, &mut open, keeper)?;
                body.zeroize();
                reply
            }
            b"KEEPALIVE" | b"PROCKEY" if closed.login => free(wire, &body, process_key),
            _ if open.login => Status::BeforeLogin.into(),
            b"INJAIL" => injail(&body, &mut open, keeper)?,
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
    Ok(true)
}

/// Whether a door stayed closed for what the client knows or does not.
fn is_failure(reply: &Reply) -> bool {
    matches!(reply, Reply::Failed(Status::LoginFailed | Status::JailToken))
}

fn login(body: &[u8], open: &mut Closed, keeper: &mut impl Doorkeeper) -> Result<Reply> {
    if !open.login {
        return Ok(Status::AlreadyLoggedIn.into());
    }
    let (user, mut password) = match Request::parse(body) {
        Ok(Request::Login { user, password }) => (user, password),
        Ok(_) => return Ok(Reply::Unknown),
        Err(reply) => return Ok(reply),
    };
    let refused = keeper.login(&user, &password);
    password.zeroize();
    let refused = refused.map_err(WireError::Io)?;
    open.login = refused.is_some();
    Ok(refused.map_or(Reply::Ok, Reply::from))
}

fn injail(body: &[u8], open: &mut Closed, keeper: &mut impl Doorkeeper) -> Result<Reply> {
    let (token, path) = match Request::parse(body) {
        Ok(Request::Injail { token, path }) => (token, path),
        Ok(_) => return Ok(Reply::Unknown),
        Err(reply) => return Ok(reply),
    };
    let refused = keeper.injail(&token, &path).map_err(WireError::Io)?;
    open.jail = refused.is_some();
    Ok(refused.map_or(Reply::Ok, Reply::from))
}

/// The commands that need no door.
fn free(wire: &Wire, body: &[u8], process_key: &str) -> Reply {
    match Request::parse(body) {
        Ok(Request::Keepalive { on, idle, interval, count }) => {
            keepalive::run(wire.socket(), on, idle, interval, count).into()
        }
        Ok(Request::Prockey) => prockey(process_key),
        Ok(_) => Reply::Unknown,
        Err(reply) => reply,
    }
}

/// PROCKEY: the key by which UDP probes find this session.
pub(crate) fn prockey(key: &str) -> Reply {
    Reply::OkWith(format!("/{key}").into_bytes())
}
