//! A responder: a process that answers one client of the control socket or of the
//! metrics, and ends. It has given up everything except that client, the tables as
//! they were when it was forked, and a channel to the daemon.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::config;
use crate::daemon::helpers::control::request::{MAX_LINE, Request, Whom};
use crate::daemon::helpers::control::view::View;
use crate::daemon::helpers::control::{Asked, End, report};
use crate::daemon::registry::Connection;
use crate::fleet::message::Kicked;
use crate::fleet::reply::is_name;
use crate::ipc::Pipe;
use crate::users::throttle::Target;

/// How long to wait for the end of sessions.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often to check for their end.
const LOOK: Duration = Duration::from_millis(10);

/// Answers an operator: a line with the exit status for `tfd`, then the text.
///
/// # Errors
/// The connection's.
pub(crate) fn answer(
    stream: UnixStream,
    view: &View<'_>,
    daemon: &Pipe<Asked, ()>,
) -> io::Result<()> {
    let (code, text) = match read_request(&stream)? {
        Some(Request::Status) => (0, report::status(view)),
        Some(Request::Serving) => (0, report::serving(view)),
        Some(Request::Kick(whom)) => kick(view, &whom, daemon)?,
        Some(Request::Free(target)) => free(view, target, daemon)?,
        Some(Request::Call(address)) => call(view, address, daemon)?,
        None => (
            2,
            "this tfd does not know the request: is it of another version?\n".to_owned(),
        ),
    };
    (&stream).write_all(format!("{code}\n{text}").as_bytes())
}

fn read_request(mut stream: &UnixStream) -> io::Result<Option<Request>> {
    let mut line = Vec::new();
    let mut part = [0; 256];
    while line.len() <= MAX_LINE {
        if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            return Ok(Request::from_line(&line[..end]));
        }
        match stream.read(&mut part)? {
            0 => break,
            n => line.extend_from_slice(&part[..n]),
        }
    }
    Ok(None)
}

/// Ends sessions and waits for their end.
fn kick(view: &View<'_>, whom: &Whom, daemon: &Pipe<Asked, ()>) -> io::Result<(u8, String)> {
    let elsewhere = kick_elsewhere(view, whom, daemon)?;
    let is_meant = |(slot, connection): &(u32, &Connection)| match whom {
        Whom::Slot(of) => slot == of,
        Whom::User(user) => connection.user.as_ref() == Some(user),
        Whom::Address(address) => same(connection.client().ip(), *address),
        Whom::All => true,
    };
    let lasts = |(slot, connection): &(u32, &Connection)| view.lasts(*slot, connection);
    let all = view.registry.all().into_iter();
    let meant: Vec<_> = all.filter(is_meant).filter(lasts).collect();
    if meant.is_empty() {
        return Ok(match elsewhere {
            Some(note) => (0, format!("no session matches here{note}\n")),
            None => (1, "no session matches\n".to_owned()),
        });
    }
    let elsewhere = elsewhere.unwrap_or_default();
    for (slot, connection) in &meant {
        let key = connection.arrived.key;
        daemon.send(&Asked::End(End { slot: *slot, key }))?;
    }
    let end = Instant::now() + PATIENCE;
    while meant.iter().any(lasts) && Instant::now() < end {
        std::thread::sleep(LOOK);
    }
    let left = meant.iter().filter(|one| lasts(one)).count();
    let ended = meant.len() - left;
    let s = if ended == 1 { "" } else { "s" };
    Ok(match left {
        0 => (0, format!("ended {ended} session{s}{elsewhere}\n")),
        _ => (
            1,
            format!("ended {ended} session{s}, {left} still running{elsewhere}\n"),
        ),
    })
}

/// Has the other servers end their sessions, too; what the operator reads of that.
fn kick_elsewhere(
    view: &View<'_>,
    whom: &Whom,
    daemon: &Pipe<Asked, ()>,
) -> io::Result<Option<&'static str>> {
    let whom = match whom {
        Whom::User(name) if is_name(name) => Kicked::User(name.clone()),
        Whom::Address(address) => Kicked::Address(*address),
        _ => return Ok(None),
    };
    let Some(is_reached) = view.shared else {
        return Ok(None);
    };
    daemon.send(&Asked::Elsewhere(whom))?;
    Ok(Some(if is_reached {
        "; other servers end theirs"
    } else {
        "; other servers do once the shared state is reached again"
    }))
}

/// Has the other servers free somebody.
fn free(view: &View<'_>, target: Target, daemon: &Pipe<Asked, ()>) -> io::Result<(u8, String)> {
    if view.shared.is_none() {
        return Ok((1, "no state is shared with other servers\n".to_owned()));
    }
    daemon.send(&Asked::Free(target))?;
    Ok((0, "other servers free it\n".to_owned()))
}

/// Has the holder connect to an owner.
fn call(
    view: &View<'_>,
    address: SocketAddr,
    daemon: &Pipe<Asked, ()>,
) -> io::Result<(u8, String)> {
    let holder = config::Protocol::Holder.section();
    if !view.published.iter().any(|it| it.service == holder) {
        let text = format!("it keeps nothing for others: there is no [{holder}]\n");
        return Ok((1, text));
    }
    daemon.send(&Asked::Call(address))?;
    Ok((0, format!("calling {address}\n")))
}

fn same(a: IpAddr, b: IpAddr) -> bool {
    a.to_canonical() == b.to_canonical()
}
