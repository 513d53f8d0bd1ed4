//! Between the hash and the last door: what may be asked before LOGIN and
//! before INJAIL (document, "Security enhancement").

use std::time::{Duration, Instant};

use super::command::keepalive;
use super::request::{Request, word};
use super::status::{Reply, Status};
use super::wire::{Result, Wire};

/// How long a client may take between the hash and its last door.
const LIMIT: Duration = Duration::from_secs(120);

/// The door that is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// LOGIN, in multi-user mode.
    Login,
    /// INJAIL, in single-user mode.
    Jail,
}

/// Serves a client before its last door: `Ok` after END.
///
/// # Errors
/// Why the connection could not go on; `Closed` is the quiet end.
pub fn serve_closed(wire: &mut Wire, closed: Closed, process_key: &str) -> Result<()> {
    wire.set_deadline(Some(Instant::now() + LIMIT))?;
    let mut body = Vec::new();
    loop {
        wire.read_request(&mut body)?;
        let reply = match (closed, word(&body).as_slice()) {
            (_, b"END") => return Ok(()),
            (Closed::Login, b"LOGIN") => refuse_door(&body, Status::UsersDatabase),
            (Closed::Jail, b"INJAIL") => refuse_door(&body, Status::JailFile),
            (Closed::Login, b"KEEPALIVE" | b"PROCKEY") => free(wire, &body, process_key),
            (Closed::Login, _) => Status::BeforeLogin.into(),
            (Closed::Jail, _) => Status::BeforeJail.into(),
        };
        wire.write_message(&reply.into_bytes())?;
    }
}

/// The door's own command: a syntax error, or that the door can't open.
fn refuse_door(body: &[u8], status: Status) -> Reply {
    Request::parse(body).map_or_else(|reply| reply, |_| status.into())
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
