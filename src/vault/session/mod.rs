//! The vault's session: serves one account's entries from the database beneath
//! its root, and asks the keeper of accounts for the rest. Requests are answered
//! in their order, one at a time.

mod store;

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use super::account;
use super::accounts::{Answer, Ask, Asking};
use super::gate::Client;
use super::reply::{Failure, Reply, Word};
use super::request::Request;
use super::wire::WireError;
use crate::ipc::channel::Channel;
use crate::net::LinkError;
use crate::net::link::Meter;
use crate::session::audit::{Observer, Outcome, Subject};
use crate::session::context::{Context, End, SessionObserver};
use crate::session::effect::Effect;
use crate::vault::database::remove;
pub use store::{Store, failure};

/// What it follows of the configuration.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The longest packet, in bytes.
    pub max_packet: usize,
    /// The most bytes of an account's entries.
    pub max_account: u64,
    /// How long a client may send nothing.
    pub idle: Option<Duration>,
}

/// Serves a client that was let in, to its end.
pub fn serve(mut client: Client, meter: Meter, context: Context, limits: &Limits) -> End {
    let Some(service) = context.service else {
        return End::Failed("no service".to_owned());
    };
    client.connection.link().count_on(meter);
    client.connection.link().stop_on(&crate::sys::signal::STOP);
    let mut session = Session {
        client,
        accounts: Channel::from_handle(service).into(),
        observer: context.observer,
        store: None,
        is_in: true,
    };
    let ended = session.run(limits);
    session.client.connection.link().close();
    match ended {
        Err(WireError::Finished) => End::Orderly("finished".to_owned()),
        Err(WireError::Link(e @ (LinkError::Closed | LinkError::Stopped))) => {
            End::Orderly(e.to_string())
        }
        Err(e) => End::Failed(e.to_string()),
        Ok(never) => match never {},
    }
}

struct Session {
    client: Client,
    accounts: Asking,
    observer: SessionObserver,
    store: Option<Store>,
    /// Whether the client has not logged out.
    is_in: bool,
}

impl Session {
    fn run(&mut self, limits: &Limits) -> Result<Infallible, WireError> {
        self.client.connection.link().set_idle_limit(limits.idle)?;
        let cookie = self.client.cookie.clone();
        match account::ask_accounts(&self.accounts, &Ask::Serve { cookie })? {
            Answer::Yes => {}
            _ => return Err(io::Error::other("the device is not one of the account").into()),
        }
        self.store = Some(Store::open(limits.max_account)?);
        let word = match self.client.is_confirmed {
            true => Word::DeviceConfirmed,
            false => Word::LoggedIn,
        };
        self.client.send(&Reply::Done(word))?;
        loop {
            match self.client.request() {
                Ok(Some(request)) => self.serve(request)?,
                Ok(None) => {}
                Err(WireError::Finished) if self.is_in => {
                    self.log_out()?;
                    return Err(WireError::Finished);
                }
                Err(e) => return Err(e),
            }
        }
    }

    fn serve(&mut self, request: Request) -> Result<(), WireError> {
        if request.needs_login() && !self.is_in {
            return self.client.send(&Reply::NotLoggedIn);
        }
        let subject = Subject {
            command: name(&request),
            effect: effect(&request),
            path: Vec::new(),
            other: Vec::new(),
        };
        self.observer.begins(&subject);
        let replies = self.replies(request)?;
        for reply in &replies {
            self.client.send(reply)?;
        }
        let failed = replies.iter().find_map(|reply| match reply {
            Reply::Failed(Failure(number, ..)) => Some(u16::from(*number)),
            _ => None,
        });
        let outcome = failed.map_or(Outcome::Done, |number| Outcome::Failed(Some(number)));
        Ok(self.observer.ended(&subject, outcome, 0)?)
    }

    fn replies(&mut self, request: Request) -> Result<Vec<Reply>, WireError> {
        Ok(match request {
            Request::LogIn { .. } if self.is_in => vec![Reply::Done(Word::AlreadyLoggedIn)],
            Request::LogIn {
                user,
                password,
                cookie,
                code,
            } => {
                let login = account::login(user, &password, cookie, code);
                match account::ask_accounts(&self.accounts, &Ask::LogIn(login))? {
                    Answer::Admitted => {
                        self.is_in = true;
                        vec![Reply::Done(Word::LoggedIn)]
                    }
                    Answer::No(why) => vec![account::refusal(why)],
                    _ => return Err(io::Error::from(io::ErrorKind::InvalidData).into()),
                }
            }
            Request::LogOut if self.is_in => {
                self.is_in = false;
                account::ask_accounts(&self.accounts, &Ask::LoggedOut)?;
                vec![Reply::Done(Word::LoggedOut)]
            }
            Request::LogOut => vec![Reply::WasNotLoggedIn],
            request @ Request::DeleteAccount { .. } => {
                let reply = self.client.answer(&self.accounts, request)?;
                if reply == Reply::Done(Word::AccountDeleted) {
                    self.is_in = false;
                    self.store = None;
                    remove(store::FILE);
                    vec![Reply::Done(Word::LoggedOut), reply]
                } else {
                    vec![reply]
                }
            }
            Request::Select { hids } => {
                // One by one: all together would be too many.
                for hid in &hids {
                    let reply = self.store()?.select(hid).map_err(io::Error::other)?;
                    self.client.send(&reply)?;
                }
                vec![Reply::SelectEnd]
            }
            Request::Insert { .. }
            | Request::Update { .. }
            | Request::Delete { .. }
            | Request::Sync
            | Request::Dump => vec![self.entries(request)?],
            request => vec![self.client.answer(&self.accounts, request)?],
        })
    }

    /// What is about entries.
    fn entries(&mut self, request: Request) -> Result<Reply, WireError> {
        let devices = match request {
            Request::Sync => match account::ask_accounts(&self.accounts, &Ask::Devices)? {
                Answer::Devices(devices) => {
                    devices.into_iter().map(|device| device.cookie).collect()
                }
                _ => Vec::new(),
            },
            _ => Vec::new(),
        };
        let cookie = self.client.cookie.clone();
        self.store()?
            .answer(request, (&cookie, &devices))
            .or_else(|e| match store::failure(&e) {
                Some(failure) => Ok(Reply::Failed(failure)),
                None => Err(io::Error::other(e).into()),
            })
    }

    /// The entries, as long as the account is not deleted.
    fn store(&mut self) -> io::Result<&mut Store> {
        let store = self.store.as_mut().filter(|store| store.is_there());
        store.ok_or_else(|| io::Error::other("the account was deleted"))
    }

    /// Ends the login of a client that has said good-bye.
    fn log_out(&mut self) -> Result<(), WireError> {
        account::ask_accounts(&self.accounts, &Ask::LoggedOut)?;
        if self.client.connection.dialect() == super::Dialect::G3 {
            self.client.send(&Reply::Done(Word::LoggedOut))?;
        }
        Ok(())
    }
}

/// What a request does to entries and to the account.
fn effect(request: &Request) -> Effect {
    match request {
        Request::Insert { .. } => Effect::Adds,
        Request::Update { .. }
        | Request::Delete { .. }
        | Request::SetPassword { .. }
        | Request::DeleteAccount { .. }
        | Request::Unlink { .. } => Effect::Changes,
        _ => Effect::Reads,
    }
}

/// What status and audit log call a request.
fn name(request: &Request) -> &'static str {
    match request {
        Request::Insert { .. } => "INSERT",
        Request::Update { .. } => "UPDATE",
        Request::Select { .. } => "SELECT",
        Request::Delete { .. } => "DELETE",
        Request::Sync => "SYNC",
        Request::Dump => "DUMP",
        Request::SetPassword { .. } => "PASSWORD",
        Request::DeleteAccount { .. } => "DELETE-ACCOUNT",
        Request::Unlink { .. } => "UNLINK",
        Request::LogIn { .. } => "LOGIN",
        Request::LogOut => "LOGOUT",
        _ => "ACCOUNT",
    }
}
