//! A session of the own dialect: serves one account's sealed entries from the database
//! beneath its root, and asks the keeper of accounts for the rest. Requests are
//! answered in their order, one at a time; news of other sessions comes in between.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use super::frame::{self, FrameError};
use super::gate::Client;
use super::message::{Failure, Over, Pushed, Reply, Request, Welcome};
use super::store::{FILE, Keep, Store};
use crate::ipc::channel::Channel;
use crate::net::LinkError;
use crate::net::link::{Awaited, Meter};
use crate::session::audit::{Observer, Outcome, Subject};
use crate::session::context::{Context, End, SessionObserver};
use crate::session::effect::Effect;
use crate::vault::accounts::own::{Answer, Ask};
use crate::vault::accounts::{self, Asking};
use crate::vault::database::{is_full, remove};
use crate::vault::now;

/// How long the database stays open for a client that asks for nothing. A thousand
/// clients wait for news for days.
const OPEN: Duration = Duration::from_secs(1);

/// What it follows of the configuration.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The longest message of a client, in bytes.
    pub max_packet: usize,
    /// The most bytes of an account's entries.
    pub max_account: u64,
    /// How long a client may send nothing.
    pub idle: Option<Duration>,
    /// How long what is replaced is kept.
    pub keep: Keep,
}

/// Why a session is over.
#[derive(Debug, thiserror::Error)]
enum Ended {
    /// The client has said good-bye.
    #[error("logged out")]
    LoggedOut,
    /// The account or the device is gone, or the server stops.
    #[error("{0}")]
    Over(Over),
    /// The connection is lost, or what came was no message.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A message that has no place there.
    #[error("a message out of order")]
    Order,
    /// The system, or a process of ours.
    #[error("internal: {0}")]
    Internal(#[from] io::Error),
}

impl From<LinkError> for Ended {
    fn from(e: LinkError) -> Ended {
        Ended::Frame(e.into())
    }
}

/// Serves a client that was let in, to its end.
pub fn serve(mut client: Client, meter: Meter, context: Context, limits: &Limits) -> End {
    let Some(service) = context.service else {
        return End::Failed("no service".to_owned());
    };
    client.link.count_on(meter);
    client.link.stop_on(&crate::sys::signal::STOP);
    let mut session = Session {
        client,
        accounts: Channel::from_handle(service).into(),
        observer: context.observer,
        store: None,
        limits: limits.clone(),
        has_news: false,
        over: None,
    };
    let ended = session.run();
    let why = match &ended {
        Ended::Over(why) => Some(*why),
        Ended::Frame(FrameError::Link(LinkError::Stopped)) => Some(Over::Stopping),
        _ => None,
    };
    if let Some(why) = why {
        let _ = session.send(&Reply::Over { why });
    }
    session.client.link.close();
    match ended {
        Ended::LoggedOut
        | Ended::Over(_)
        | Ended::Frame(FrameError::Link(LinkError::Closed | LinkError::Stopped)) => {
            End::Orderly(ended.to_string())
        }
        ended => End::Failed(ended.to_string()),
    }
}

struct Session {
    client: Client,
    accounts: Asking,
    observer: SessionObserver,
    store: Option<Store>,
    limits: Limits,
    /// Whether another session has changed something that this client does not know.
    has_news: bool,
    /// Why it has to end, if it has.
    over: Option<Over>,
}

impl Session {
    fn run(&mut self) -> Ended {
        let Err(ended) = self.begin() else {
            loop {
                if let Err(ended) = self.turn() {
                    return ended;
                }
            }
        };
        ended
    }

    fn begin(&mut self) -> Result<(), Ended> {
        let idle = self.limits.idle;
        self.client.link.set_deadline(None)?;
        self.client.link.set_idle_limit(idle)?;
        let device = self.client.device;
        match self.ask(Ask::Serve { device })? {
            Answer::Done => {}
            _ => return Err(io::Error::other("the device is not one of the account").into()),
        }
        let Limits {
            max_account, keep, ..
        } = self.limits;
        let store = Store::open(Path::new(FILE), max_account, keep, now());
        let mut store = store.map_err(io::Error::other)?;
        let about = store.about().map_err(io::Error::other)?;
        self.store = Some(store);
        let wrapped = std::mem::take(&mut self.client.wrapped);
        self.send(&Reply::Welcome(Welcome {
            store: about.store,
            revision: about.head,
            oldest: about.oldest,
            max_packet: u32::try_from(self.limits.max_packet).unwrap_or(u32::MAX),
            wrapped,
        }))
    }

    /// Waits for what comes next, and answers it.
    fn turn(&mut self) -> Result<(), Ended> {
        // Its question may hear further news.
        while self.has_news {
            self.pass_on()?;
        }
        if let Some(why) = self.over {
            return Err(Ended::Over(why));
        }
        match self.wait()? {
            Awaited::Input => self.answer(),
            Awaited::Other => {
                let answer = self.receive()?;
                self.hear(answer).map(drop)
            }
            Awaited::Nothing => Err(LinkError::TimedOut.into()),
        }
    }

    /// Waits for the client or for news, with the database closed before long.
    fn wait(&mut self) -> Result<Awaited, LinkError> {
        let until = self.limits.idle.map(|idle| Instant::now() + idle);
        let (link, other) = (&mut self.client.link, self.accounts.as_fd());
        if let Some(store) = self.store.as_mut().filter(|store| store.is_open()) {
            let soon = Instant::now() + OPEN;
            let soon = until.map_or(soon, |until| until.min(soon));
            match link.wait_for_any(Some(other), Some(soon))? {
                Awaited::Nothing => store.rest(),
                awaited => return Ok(awaited),
            }
        }
        link.wait_for_any(Some(other), until)
    }

    fn send(&mut self, reply: &Reply) -> Result<(), Ended> {
        Ok(frame::send(&mut self.client.link, reply)?)
    }

    /// Passes on that there is another revision. Whatever is changed from then on is
    /// news again.
    fn pass_on(&mut self) -> Result<(), Ended> {
        self.has_news = false;
        self.ask(Ask::Listen)?;
        match self.store()?.news().map_err(io::Error::other)? {
            Some(revision) => self.send(&Reply::Changed { revision }),
            None => Ok(()),
        }
    }

    /// Asks the keeper of accounts.
    fn ask(&mut self, ask: Ask) -> Result<Answer, Ended> {
        self.accounts.send(&accounts::Ask::Own(ask))?;
        loop {
            let answer = self.receive()?;
            if let Some(answer) = self.hear(answer)? {
                return Ok(answer);
            }
        }
    }

    fn receive(&self) -> io::Result<accounts::Answer> {
        let answer = self.accounts.receive()?;
        answer.ok_or(io::ErrorKind::UnexpectedEof.into())
    }

    /// Takes news; what is none is an answer.
    fn hear(&mut self, answer: accounts::Answer) -> Result<Option<Answer>, Ended> {
        match answer {
            accounts::Answer::Own(Answer::Changed) => self.has_news = true,
            accounts::Answer::Own(Answer::Over(why)) => self.over = Some(why),
            accounts::Answer::Own(answer) => return Ok(Some(answer)),
            _ => return Err(io::Error::from(io::ErrorKind::InvalidData).into()),
        }
        Ok(None)
    }

    /// Reads a request and answers it.
    fn answer(&mut self) -> Result<(), Ended> {
        let request = frame::receive(&mut self.client.link, self.limits.max_packet)?;
        let Some((command, effect)) = about(&request) else {
            return Err(Ended::Order);
        };
        let subject = Subject {
            command,
            effect,
            path: Vec::new(),
            other: Vec::new(),
        };
        self.observer.begins(&subject);
        let is_last = matches!(request, Request::LogOut);
        let reply = self.reply(request)?;
        self.send(&reply)?;
        let outcome = match &reply {
            Reply::Failed { why } => Outcome::Failed(Some(number(*why))),
            _ => Outcome::Done,
        };
        self.observer.ended(&subject, outcome, 0)?;
        match is_last {
            true => Err(Ended::LoggedOut),
            false => Ok(()),
        }
    }

    fn reply(&mut self, request: Request) -> Result<Reply, Ended> {
        let ask = match request {
            Request::Pull { since, whole } => {
                let pulled = self.store()?.pull(since, whole);
                return stored(pulled).map(|pulled| pulled.map_or_else(failed, Reply::Changes));
            }
            Request::Push { changes } => {
                let device = self.client.device;
                let time = jiff::Timestamp::now();
                let time = (time.as_second(), time.as_millisecond());
                let pushed = self.store()?.push(&changes, &device, time);
                return match stored(pushed)? {
                    Ok(results) => {
                        self.report(&results)?;
                        Ok(Reply::Pushed { results })
                    }
                    Err(why) => Ok(failed(why)),
                };
            }
            Request::Versions { id } => {
                let versions = stored(self.store()?.versions(&id))?;
                return Ok(versions.map_or_else(failed, |versions| Reply::Versions { versions }));
            }
            Request::Version { id, revision } => {
                let found = stored(self.store()?.version(&id, revision))?;
                let found = found.and_then(|found| found.ok_or(Failure::NotFound));
                return Ok(found.map_or_else(failed, Reply::Version));
            }
            Request::LogOut => return Ok(Reply::Done),
            Request::Listen => Ask::Listen,
            Request::Devices => Ask::Devices,
            Request::Unlink { device } => Ask::Unlink { device },
            Request::SetPassword(new) => Ask::SetPassword(new),
            Request::DeleteAccount { proof } => Ask::Delete { proof },
            Request::Hello { .. } | Request::Register(_) | Request::LogIn(_) => {
                return Err(Ended::Order);
            }
        };
        let is_end = matches!(ask, Ask::Delete { .. });
        Ok(match self.ask(ask)? {
            Answer::Done if is_end => {
                self.store = None;
                remove(FILE);
                Reply::Done
            }
            Answer::Done => Reply::Done,
            Answer::Devices(devices) => Reply::Devices { devices },
            Answer::Failed(why) => Reply::Failed { why },
            _ => return Err(io::Error::from(io::ErrorKind::InvalidData).into()),
        })
    }

    /// Reports what is on disk now, for the account's other sessions. Nobody answers.
    fn report(&mut self, results: &[Pushed]) -> io::Result<()> {
        let is_stored = |result: &Pushed| matches!(result, Pushed::Stored { .. });
        if results.iter().any(is_stored) {
            self.accounts.send(&accounts::Ask::Own(Ask::Pushed))?;
        }
        Ok(())
    }

    /// The entries, as long as the account is not deleted.
    fn store(&mut self) -> Result<&mut Store, Ended> {
        let store = self.store.as_mut().filter(|store| store.is_there());
        store.ok_or(Ended::Over(Over::Deleted))
    }
}

fn failed(why: Failure) -> Reply {
    Reply::Failed { why }
}

/// What came of the database: also that it is full.
fn stored<T>(result: rusqlite::Result<T>) -> Result<Result<T, Failure>, Ended> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(e) if is_full(&e) => Ok(Err(Failure::Full)),
        Err(e) => Err(io::Error::other(e).into()),
    }
}

/// What the audit log calls a failure.
fn number(why: Failure) -> u16 {
    match why {
        Failure::Full => 1,
        Failure::NotFound => 2,
        Failure::Credentials => 3,
        Failure::Internal => 4,
    }
}

/// What status and audit log call a request, and what it does; `None` for one that a
/// session does not answer.
fn about(request: &Request) -> Option<(&'static str, Effect)> {
    Some(match request {
        Request::Hello { .. } | Request::Register(_) | Request::LogIn(_) => return None,
        Request::Pull { .. } => ("PULL", Effect::Reads),
        Request::Push { .. } => ("PUSH", Effect::Changes),
        Request::Listen => ("LISTEN", Effect::Reads),
        Request::Versions { .. } => ("VERSIONS", Effect::Reads),
        Request::Version { .. } => ("VERSION", Effect::Reads),
        Request::Devices => ("DEVICES", Effect::Reads),
        Request::Unlink { .. } => ("UNLINK", Effect::Changes),
        Request::SetPassword(_) => ("PASSWORD", Effect::Changes),
        Request::DeleteAccount { .. } => ("DELETE-ACCOUNT", Effect::Changes),
        Request::LogOut => ("LOGOUT", Effect::Reads),
    })
}
