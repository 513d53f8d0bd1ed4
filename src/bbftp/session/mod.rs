//! A session: the choice of a version, then one request after another until the
//! client leaves. By now the process has the client's identity and its root.

mod env;
mod files;
mod listing;
mod pattern;
mod reply;
mod settings;
mod transfer;

pub use env::{Env, POLICY, Version};
pub use reply::Reply;
pub use settings::Settings;

use super::request::{self, Read, Request};
use super::wire::extension::Offer;
use super::wire::{Code, Control, Header, Result, Versions, WireError, decode_number};
use crate::session::audit::{Observer, Outcome};

/// What is offered beyond version 3.
const OFFER: Offer = Offer {
    small: true,
    sha256: true,
    resume: true,
};

/// Serves a client to the end of the session: `Ok` when it has left.
///
/// # Errors
/// Why the connection could not go on; `Closed` is the quiet end.
pub fn serve(control: &mut Control, env: &mut Env, observer: &mut dyn Observer) -> Result<()> {
    let served = serve_requests(control, env, observer);
    if let Err(WireError::Length { .. }) = served {
        // Where the next message begins is not known.
        let told = Reply::no("Message of a length that it can't have").send(control);
        let flushed = told.and_then(|()| Ok(control.link().flush()?));
        if flushed.is_ok() {
            control.link().close_in_session();
        }
        return served;
    }
    // A client that has closed its sending side may still read.
    let flushed = control.link().flush();
    served.and(Ok(flushed?))
}

/// Answers the login, with what is offered beyond the protocol.
///
/// # Errors
/// Any failure of the connection.
pub fn greet(control: &mut Control, settings: &Settings) -> Result<()> {
    control.send(Code::Ok, greeting(settings).as_bytes())
}

fn greeting(settings: &Settings) -> String {
    let words = match settings.versions.contains(&3) {
        true => OFFER.words(),
        false => String::new(),
    };
    format!("tfd {} : OK{words}", env!("CARGO_PKG_VERSION"))
}

fn serve_requests(control: &mut Control, env: &mut Env, observer: &mut dyn Observer) -> Result<()> {
    control.link().set_deadline(None)?;
    control.link().set_idle_limit(env.settings.idle_limit)?;
    let mut version = None;
    loop {
        let header = control.read_header()?;
        let version = match version {
            Some(version) => version,
            None => match choose(control, &header, &env.settings)? {
                Choice::Version(chosen) => {
                    version = Some(chosen);
                    continue;
                }
                Choice::First => *version.insert(Version::One),
                Choice::Later => continue,
                Choice::Leave => return Ok(()),
            },
        };
        match request::read(control, &header, version, env)? {
            Read::Request(request) => run(control, env, version, request, observer)?,
            Read::Refused(reply, subject) => {
                if let Some(subject) = subject {
                    let ended = observer.ended(&subject, reply.outcome(), 0);
                    ended.map_err(WireError::Io)?;
                }
                reply.send(control)?;
            }
            Read::Nothing => {}
            Read::Leave => return Ok(()),
        }
    }
}

/// What the first message of a client says of the version.
enum Choice {
    /// It has chosen this one.
    Version(Version),
    /// This is its first request, so it speaks version 1.
    First,
    /// It may choose one later.
    Later,
    /// It leaves.
    Leave,
}

/// Settles the version by the first message: a question for the versions, or a
/// request of version 1.
fn choose(control: &mut Control, header: &Header, settings: &Settings) -> Result<Choice> {
    let (&[min, ..], &[.., max]) = (&settings.versions[..], &settings.versions[..]) else {
        return Ok(Choice::Leave);
    };
    let has_old = settings.versions.contains(&1);
    match Code::try_from(header.code) {
        Ok(Code::Prot) => control.discard(header.len)?,
        Ok(Code::CloseConn) => return Ok(Choice::Leave),
        _ if has_old => return Ok(Choice::First),
        _ => {
            request::discard(control, header)?;
            Reply::no("Protocol version 1 is not supported").send(control)?;
            return Ok(Choice::Later);
        }
    }
    if max == 1 {
        // No such client speaks version 1, but this is what it understands.
        Reply::no("This server speaks protocol version 1 only").send(control)?;
        return Ok(Choice::Later);
    }
    control.send(Code::ProtAns, &Versions { min, max }.encode())?;
    let header = control.read_header()?;
    let chosen = match Code::try_from(header.code) {
        Ok(Code::ProtAns) if header.len == 4 => {
            let payload = control.read_payload(&header, 4)?;
            decode_number(&payload).ok()
        }
        // It speaks none of them.
        Ok(Code::BadNoRetry | Code::CloseConn) => return Ok(Choice::Leave),
        _ => {
            request::discard(control, &header)?;
            None
        }
    };
    let chosen = chosen.filter(|number| settings.versions.contains(number));
    if let Some(version) = chosen.and_then(Version::from_number) {
        return Ok(Choice::Version(version));
    }
    Reply::no("Protocol version is not supported").send(control)?;
    Ok(Choice::Later)
}

/// Carries a request out, records and answers it.
fn run(
    control: &mut Control,
    env: &mut Env,
    version: Version,
    request: Request,
    observer: &mut dyn Observer,
) -> Result<()> {
    env.moved = 0;
    env.shortage.clear();
    env.may_come_late = false;
    let subject = request.subject();
    if let Some(subject) = &subject {
        observer.begins(subject);
    }
    let answered = match request.effect().is_allowed(env.rights) {
        true => request.run(control, env, version),
        false => {
            let name = request.file().map_or(&b""[..], |file| &file.text);
            Ok(Reply::forbidden(request.word(), name))
        }
    };
    if let Some(subject) = subject {
        let outcome = answered.as_ref().map_or(Outcome::Lost, Reply::outcome);
        let outcome = outcome.with(env.shortage.get());
        let ended = observer.ended(&subject, outcome, env.moved);
        ended.map_err(WireError::Io)?;
    }
    answered?.send(control)?;
    match env.uploads.is_lost() {
        true => Err(WireError::Io(std::io::ErrorKind::BrokenPipe.into())),
        false => Ok(()),
    }
}

impl Request {
    /// Carries it out, up to the last answer.
    ///
    /// # Errors
    /// When the connection can't go on.
    fn run(self, control: &mut Control, env: &mut Env, version: Version) -> Result<Reply> {
        let link = (control, env);
        match self {
            Request::OldStore {
                file,
                transfer,
                gzip,
            } => transfer::old_store(link, &file, &transfer, gzip),
            Request::OldRetrieve {
                file,
                transfer,
                gzip,
            } => transfer::old_retrieve(link, &file, &transfer, gzip),
            Request::Store { file, transfer } => transfer::store(link, &file, &transfer, version),
            Request::Retrieve { file, transfer } => {
                transfer::retrieve(link, &file, &transfer, version)
            }
            Request::SmallStore {
                file,
                transfer,
                content,
            } => transfer::small_store(link, &file, &transfer, &content),
            Request::SmallRetrieve { file, options } => {
                transfer::small_retrieve(link, &file, options)
            }
            Request::StoreFrom { file, transfer } => transfer::store_from(link, &file, &transfer),
            Request::RetrieveFrom {
                file,
                transfer,
                missing,
            } => transfer::retrieve_from(link, &file, &transfer, &missing),
            quick => Ok(quick.run_at_once(link.1)),
        }
    }

    /// Carries out what moves no bytes of files.
    fn run_at_once(self, env: &mut Env) -> Reply {
        match self {
            Request::OldMakeDirectory { file } => files::make_one_directory(env, &file),
            Request::MakeDirectory { file, options } => files::make_directory(env, &file, options),
            Request::ChangeDirectory { file } => files::change_directory(env, &file),
            Request::OldList { file } => listing::names(env, &file),
            Request::List { file } => listing::entries(env, &file),
            Request::Remove { file } => files::remove(env, &file),
            Request::Stat { file } => files::stat(env, &file),
            Request::DiskSpace { file } => files::disk_space(env, &file),
            Request::Digest { file } => files::digest(env, &file),
            Request::SetUmask(umask) => env.set_umask(umask),
            Request::SetClassOfService => Reply::ok("COS not set, RFIO is not supported"),
            Request::Offer => Reply::ok(greeting(&env.settings)),
            _ => Reply::no("Unknown message in logged state"),
        }
    }
}
