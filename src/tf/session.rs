//! A session: one request after another until the client ends it. By now the
//! process has the client's identity and its root; all doors are passed.

use super::command;
use super::env::Env;
use super::login::prockey;
use super::notify;
use super::operation::refuse;
use super::request::{Request, word};
use super::status::{Reply, Status};
use super::transfer;
use super::wire::{Result, Wire, WireError};
use crate::session::audit::{Observer, Operation, Outcome, Subject};
use crate::store::Lock;
use crate::users::Rights;

/// Serves a client to the end of the session: `Ok` after END.
///
/// # Errors
/// Why the connection could not go on; `Closed` is the quiet end.
pub fn serve(wire: &mut Wire, env: &mut Env, observer: &mut dyn Observer) -> Result<()> {
    let served = serve_requests(wire, env, observer);
    // A client that has said all it has to say may still listen.
    let flushed = wire.flush();
    served.and(flushed)
}

fn serve_requests(wire: &mut Wire, env: &mut Env, observer: &mut dyn Observer) -> Result<()> {
    wire.set_deadline(None)?;
    wire.set_idle_limit(env.settings.idle_limit)?;
    let mut body = Vec::new();
    loop {
        wire.read_request(&mut body)?;
        let request = match Request::parse(&body) {
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
        let subject = request.subject();
        if let Some(subject) = &subject {
            observer.begins(subject);
        }
        if request.may_take_long() {
            wire.answer_urgent_beside();
        }
        let answered = match request {
            request if may(env.rights, &request) => answer(wire, env, request),
            // Frames of the client follow this one, whatever the answer.
            Request::Sup { .. } => transfer::sup::run(wire, env, &Err(Status::AccessDenied)),
            _ => refuse(wire, Status::AccessDenied),
        };
        if let Some(subject) = subject {
            let outcome = *answered.as_ref().unwrap_or(&Outcome::Lost);
            let bytes = wire.take_data_count();
            observer
                .ended(Operation {
                    subject,
                    outcome,
                    bytes,
                })
                .map_err(WireError::Io)?;
        }
        answered?;
    }
}

/// Refuses what is no request, or names a path that nobody may name.
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
        };
        let outcome = Outcome::from(&reply);
        observer
            .ended(Operation {
                subject,
                outcome,
                bytes: 0,
            })
            .map_err(WireError::Io)?;
    }
    wire.write_message(&reply.into_bytes())
}

/// Whether a session with these rights may make a request.
fn may(rights: Rights, request: &Request) -> bool {
    match rights {
        Rights::Full => true,
        Rights::AppendOnly => request.only_adds() || !request.changes_files(),
        Rights::ReadOnly => !request.changes_files(),
    }
}

/// Carries out one request and sends all its replies.
fn answer(wire: &mut Wire, env: &mut Env, request: Request) -> Result<Outcome> {
    use Request as R;
    let reply: Reply = match request {
        R::End => return Ok(Outcome::Done),
        R::Echo { text } => echo(env, text),
        R::Mkdir { path } => command::mkdir::run(env, &path).into(),
        R::Del { path } => command::del::run(env, &path).into(),
        R::Rmdir { path } => command::rmdir::run(env, &path).into(),
        R::Copy { from, to } => command::copy::run(env, &from, &to).into(),
        R::Touch { path } => command::touch::run(env, &path).into(),
        R::Date => command::date::date(),
        R::Udate => command::date::udate(),
        R::Ndate => command::date::ndate(),
        R::Datef => command::date::datef(),
        R::Dtof { timestamp } => command::date::dtof(&timestamp).into(),
        R::Ftod { date } => command::date::ftod(&date).into(),
        R::Fstat { path } => command::fstat::run(env, &path).into(),
        R::Fupd { path } => command::fupd::run(env, &path).into(),
        R::Cpdir { from, to } => command::cpdir::run(env, &from, &to).into(),
        R::Xcopy {
            name,
            from,
            pattern,
        } => command::xcopy::run(env, &name, &from, &pattern).into(),
        R::Xdel { start, pattern } => command::xdel::run(env, &start, &pattern).into(),
        R::Xrmdir { start, pattern } => command::xrmdir::run(env, &start, &pattern).into(),
        R::Xcpdir {
            name,
            from,
            pattern,
        } => command::xcpdir::run(env, &name, &from, &pattern).into(),
        R::Lock { name } => lock(env, &name).into(),
        R::Renam { from, to } => command::renam::run(env, &from, &to).into(),
        R::Keepalive {
            on,
            idle,
            interval,
            count,
        } => command::keepalive::run(wire.socket(), on, idle, interval, count).into(),
        R::Prockey => prockey(&env.process_key),
        R::Freesp => command::freesp::run(env).into(),
        R::Chmod { path, mode } => command::chmod::run(env, &path, &mode).into(),
        R::Chown { path, user, group } => command::chown::run(env, &path, &user, &group).into(),
        R::Sha256 { path } => command::sha256::run(env, &path).into(),
        R::Rmsecdir { token, path } => command::rmsecdir::run(env, &token, &path).into(),
        R::Login { .. } => Status::AlreadyLoggedIn.into(),
        R::Injail { .. } => Status::AlreadyInJail.into(),
        R::Tlb => match env.pool.as_ref().and_then(|pool| pool.tuple()) {
            Some(tuple) => Reply::OkWith(tuple),
            None => Status::Balance.into(),
        },
        R::Addntfy { token, path } => notify::add(env, token, path).into(),
        R::Startntfy { .. } => Status::NotifyListEmpty.into(),
        R::Sndfile { overwrite, path } => {
            return transfer::sndfile::run(wire, env, overwrite, &path);
        }
        R::Rcvfile { delete, path } => return transfer::rcvfile::run(wire, env, delete, &path),
        R::Ls { path } => return transfer::list::run(wire, env, false, &path),
        R::Lsr { path } => return transfer::list::run(wire, env, true, &path),
        R::Put(request) => return transfer::put::run(wire, env, &request),
        R::Get(request) => return transfer::get::run(wire, env, &request),
        R::Putcan(request) => return transfer::putcan::run(wire, env, &request),
        R::Getcan(request) => return transfer::getcan::run(wire, env, &request),
        R::Nigma { length } => return transfer::nigma::run(wire, length),
        R::Sdown { path } => return transfer::sdown::run(wire, env, &path),
        R::Sup { path } => return transfer::sup::run(wire, env, &path),
        R::Fsize { path } => return transfer::fsize::run(wire, env, &path),
        R::Fsizels { path } => return transfer::fsize::run_list(wire, env, &path),
    };
    let outcome = Outcome::from(&reply);
    wire.reply(&reply.into_bytes())?;
    Ok(outcome)
}

/// ECHO: the text, in the document's dialect with the word before it.
fn echo(env: &Env, text: Vec<u8>) -> Reply {
    match env.settings.dialect {
        super::settings::Dialect::Deployed => Reply::Text(text),
        super::settings::Dialect::Document => Reply::Text([b"ECHO ", text.as_slice()].concat()),
    }
}

/// LOCK: sets the session's lock name.
fn lock(env: &mut Env, name: &[u8]) -> std::result::Result<Reply, Status> {
    env.lock = Lock::new(name).map_err(|_| Status::LockToken)?;
    Ok(Reply::Ok)
}
