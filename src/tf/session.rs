//! A session: one request after another until the client ends it. By now the
//! process has the client's identity and its root; the login is complete.

use super::env::Env;
use super::extension::store;
use super::notify;
use super::request::{Request, word};
use super::status::{Reply, Status};
use super::transfer::{integrity, refuse, sup};
use super::wire::{Result, Wire, WireError};
use crate::session::audit::{Observer, Outcome, Subject};
use crate::session::effect::Effect;

/// How the words of tfd's extension begin.
const EXTENSION: &[u8] = b"TFD_";

/// Serves a client to the end of the session: `Ok` after END.
///
/// # Errors
/// Why the connection could not go on; `Closed` is the quiet end.
pub fn serve(wire: &mut Wire, env: &mut Env, observer: &mut dyn Observer) -> Result<()> {
    let served = serve_requests(wire, env, observer);
    // A client that has closed its sending side may still read.
    let flushed = wire.flush();
    served.and(flushed)
}

fn serve_requests(wire: &mut Wire, env: &mut Env, observer: &mut dyn Observer) -> Result<()> {
    wire.set_deadline(None)?;
    env.limit_silence(wire)?;
    let mut body = Vec::new();
    loop {
        wire.read_request(&mut body)?;
        let is_known = env.settings.extension || !body.starts_with(EXTENSION);
        let parsed = match is_known {
            true => Request::parse(&body),
            false => Err(Reply::Unknown),
        };
        let request = match parsed {
            Ok(Request::End) => return Ok(()),
            Ok(Request::Startntfy { interval }) if !env.watches.is_empty() => {
                wire.flush()?;
                return notify::serve(wire, env, &interval, observer);
            }
            Ok(request) => request,
            Err(reply) => {
                refuse_unread(wire, &body, reply, observer)?;
                continue;
            }
        };
        if request != Request::Why {
            env.shortage.clear();
        }
        let mut subject = request.subject();
        if let Some(subject) = &mut subject {
            env.name_upload(subject);
            observer.begins(subject);
        }
        if request.may_take_long() {
            wire.answer_urgent_beside();
        }
        let answered = match request {
            request if request.effect().is_allowed(env.rights) => request.run(wire, env),
            // Frames of the client follow this one, whatever the answer.
            Request::Sup { .. } => sup::run(wire, env, &Err(Status::AccessDenied)),
            Request::TfdStore { .. } => store::run(wire, env, &Err(Status::AccessDenied)),
            Request::Intwrite { .. } => integrity::write(wire, env, &Err(Status::AccessDenied)),
            _ => refuse(wire, Status::AccessDenied),
        };
        if let Some(mut subject) = subject {
            env.files.name(&mut subject);
            let outcome = *answered.as_ref().unwrap_or(&Outcome::Lost);
            let outcome = outcome.with(env.shortage.get());
            let bytes = wire.take_data_count();
            observer
                .ended(&subject, outcome, bytes)
                .map_err(WireError::Io)?;
        }
        answered?;
        if env.uploads.is_lost() {
            return Err(WireError::Io(std::io::ErrorKind::BrokenPipe.into()));
        }
    }
}

/// Refuses an invalid request, or one with a path that clients may not name.
fn refuse_unread(
    wire: &mut Wire,
    body: &[u8],
    reply: Reply,
    observer: &mut dyn Observer,
) -> Result<()> {
    let word = word(body);
    // These two are refused before their arguments are looked at.
    let reply = match word.as_slice() {
        b"LOGIN" => Status::AlreadyLoggedIn.into(),
        b"INJAIL" => Status::AlreadyInJail.into(),
        _ => reply,
    };
    if reply == Reply::Failed(Status::AccessDenied) {
        let path = body.get(word.len() + 1..).unwrap_or_default().to_vec();
        let subject = Subject {
            command: "REFUSED",
            path,
            other: word,
            effect: Effect::Reads,
        };
        observer
            .ended(&subject, Outcome::from(&reply), 0)
            .map_err(WireError::Io)?;
    }
    wire.write_message(&reply.into_bytes())
}
