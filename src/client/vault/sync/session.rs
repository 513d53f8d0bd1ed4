//! A session with a vault: TLS, the login, and a method for each request.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::account::Server;
use super::keys::{AccountKeys, Key, PasswordKeys};
use super::{Remote, no_key};
use crate::client::ClientError;
use crate::client::cancel::{Cancel, Ticket, notice_silence, reach};
use crate::client::connect::{hello_error, host, link};
use crate::client::vault::VaultError;
use crate::net::Link;
use crate::net::link::Awaited;
use crate::vault::own::ALPN;
use crate::vault::own::frame::{FrameError, receive, send};
use crate::vault::own::message::{
    Change, Changes, CodeFor, Device, DeviceInfo, Failure, Id, Item, Kdf, LogIn, MAX_REPLY,
    NewPassword, Proof, Pushed, Register, Reply, Request, Sealed, Secret, VERSION, Welcome,
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// After this time without an answer a link is dead.
const SILENCE: Duration = Duration::from_secs(60);

/// Asks a person for a code; the flag says whether it was mailed.
pub type AskCode<'a> = &'a mut dyn FnMut(CodeFor, bool) -> Result<Zeroizing<String>, VaultError>;

/// A connection to a vault.
pub struct Session {
    link: Link,
    /// Whether another device's change was announced between answers.
    has_news: bool,
    _ticket: Ticket,
}

impl Session {
    /// Connects and says who is there: how the keys of the account are made.
    ///
    /// # Errors
    /// `Client` or `Refused`.
    pub fn open(
        server: &Server,
        user: &str,
        timeout: Duration,
        cancel: &Cancel,
    ) -> Result<(Session, Kdf), VaultError> {
        let tls = server.tls().map_err(|why| ClientError::Tls {
            server: server.address.clone(),
            why,
        })?;
        let socket = reach(&server.address, timeout, cancel)?;
        let mut link = link(socket, Instant::now() + timeout)?;
        let ticket = cancel.follow(link.socket())?;
        let chosen = tls.connect(&mut link, host(&server.address), &[ALPN]);
        let chosen = chosen.map_err(|e| hello_error(e, &server.address))?;
        if chosen.as_deref() != Some(ALPN) {
            return Err(VaultError::NoVault {
                server: server.address.clone(),
            });
        }
        let mut session = Session {
            link,
            has_news: false,
            _ticket: ticket,
        };
        let hello = Request::Hello {
            version: VERSION,
            user: user.to_owned(),
        };
        match session.ask(&hello)? {
            Reply::Params(kdf) => Ok((session, kdf)),
            other => Err(odd(&other)),
        }
    }

    /// Sets how long the server may take from now on.
    fn be_done_in(&mut self, time: Option<Duration>) -> Result<(), VaultError> {
        let set = self
            .link
            .set_deadline(time.map(|time| Instant::now() + time));
        set.map_err(|e| lost(FrameError::Link(e.into())))
    }

    /// Asks and takes the answer.
    fn ask(&mut self, request: &Request) -> Result<Reply, VaultError> {
        self.be_done_in(Some(PATIENCE))?;
        send(&mut self.link, request).map_err(|e| lost(e.into()))?;
        loop {
            match receive(&mut self.link, MAX_REPLY).map_err(lost)? {
                Reply::Changed { .. } => self.has_news = true,
                Reply::Over { why } => return Err(VaultError::Over(why)),
                Reply::Refused { why } => return Err(VaultError::Refused(why)),
                Reply::Failed { why } => return Err(VaultError::Failed(why)),
                other => return Ok(other),
            }
        }
    }

    /// Logs in.
    ///
    /// # Errors
    /// `Refused`, and those of the one who is asked for a code.
    pub fn log_in(
        &mut self,
        proof: &Proof,
        device: &Device,
        ask: AskCode<'_>,
    ) -> Result<Welcome, VaultError> {
        self.enter(ask, |code| {
            Request::LogIn(LogIn {
                proof: proof.clone(),
                device: device.clone(),
                code,
            })
        })
    }

    /// Makes an account, whose first device this is.
    ///
    /// # Errors
    /// As [`Session::log_in`].
    pub fn register(
        &mut self,
        password: &Password<'_>,
        keys: &AccountKeys,
        device: &Device,
        ask: AskCode<'_>,
    ) -> Result<Welcome, VaultError> {
        let wrapped = password.wrap(keys)?;
        let recovery = keys.proof().map_err(no_key)?;
        self.enter(ask, |code| {
            Request::Register(Register {
                kdf: password.kdf.clone(),
                auth: Secret::from(*password.keys.proof),
                recovery: Secret::from(*recovery),
                wrapped: wrapped.clone(),
                mail: None,
                device: device.clone(),
                code,
            })
        })
    }

    fn enter(
        &mut self,
        ask: AskCode<'_>,
        request: impl Fn(Option<Zeroizing<Vec<u8>>>) -> Request,
    ) -> Result<Welcome, VaultError> {
        let mut code = None;
        loop {
            match self.ask(&request(code.take()))? {
                Reply::Welcome(welcome) => {
                    let silence = notice_silence(self.link.socket(), SILENCE);
                    silence.map_err(|e| ClientError::Lost(std::io::Error::from(e).into()))?;
                    return Ok(welcome);
                }
                Reply::CodeWanted { kind, is_mailed } => {
                    let given = ask(kind, is_mailed)?;
                    code = Some(Zeroizing::new(given.trim().as_bytes().to_vec()));
                }
                other => return Err(odd(&other)),
            }
        }
    }

    /// Has the server announce what other devices change.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn listen(&mut self) -> Result<(), VaultError> {
        self.done(&Request::Listen)
    }

    /// Waits until another device has changed something, or the other descriptor has
    /// something to read, or the time is over: whether the server has news.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn wait(
        &mut self,
        other: BorrowedFd<'_>,
        until: Option<Instant>,
    ) -> Result<bool, VaultError> {
        if std::mem::take(&mut self.has_news) {
            return Ok(true);
        }
        self.be_done_in(None)?;
        let awaited = self.link.wait_for_any(Some(other), until);
        if !matches!(awaited.map_err(|e| lost(e.into()))?, Awaited::Input) {
            return Ok(false);
        }
        self.be_done_in(Some(PATIENCE))?;
        match receive(&mut self.link, MAX_REPLY).map_err(lost)? {
            Reply::Changed { .. } => Ok(true),
            Reply::Over { why } => Err(VaultError::Over(why)),
            other => Err(odd(&other)),
        }
    }

    /// The devices of the account.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn devices(&mut self) -> Result<Vec<DeviceInfo>, VaultError> {
        match self.ask(&Request::Devices)? {
            Reply::Devices { devices } => Ok(devices),
            other => Err(odd(&other)),
        }
    }

    /// Ends a device.
    ///
    /// # Errors
    /// `Failed` where there is none.
    pub fn unlink(&mut self, device: Id) -> Result<(), VaultError> {
        self.done(&Request::Unlink { device })
    }

    /// Sets another master password.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn set_password(
        &mut self,
        password: &Password<'_>,
        keys: &AccountKeys,
    ) -> Result<(), VaultError> {
        self.done(&Request::SetPassword(NewPassword {
            kdf: password.kdf.clone(),
            auth: Secret::from(*password.keys.proof),
            wrapped: password.wrap(keys)?,
        }))
    }

    /// Ends the session.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn end(mut self) -> Result<(), VaultError> {
        self.done(&Request::LogOut)?;
        self.link.close();
        Ok(())
    }

    fn done(&mut self, request: &Request) -> Result<(), VaultError> {
        match self.ask(request)? {
            Reply::Done => Ok(()),
            other => Err(odd(&other)),
        }
    }
}

/// A master password, made into keys.
pub struct Password<'a> {
    /// The account's name.
    pub user: &'a str,
    /// How they were made.
    pub kdf: Kdf,
    /// The keys.
    pub keys: PasswordKeys,
}

impl Password<'_> {
    fn wrap(&self, keys: &AccountKeys) -> Result<Sealed, VaultError> {
        let wrapped = self.keys.wrap(keys.secret(), self.user, &self.kdf.salt);
        wrapped.map(Sealed).map_err(no_key)
    }

    /// The account's secret, which the server keeps sealed.
    pub fn unwrap(&self, wrapped: &Sealed) -> Option<Key> {
        self.keys.unwrap(&wrapped.0, self.user, &self.kdf.salt)
    }

    /// What it proves the account with.
    pub fn proof(&self) -> Proof {
        Proof::Password(Secret::from(*self.keys.proof))
    }
}

/// The connection is lost, or what came is not a message.
fn lost(e: FrameError) -> VaultError {
    match e {
        FrameError::Link(e) => VaultError::Client(ClientError::Lost(e.into())),
        FrameError::Long(_) | FrameError::NoMessage => {
            VaultError::Forged("it does not speak tfd-vault/1")
        }
    }
}

fn odd(_: &Reply) -> VaultError {
    VaultError::Forged("it has answered something else")
}

impl Remote for Session {
    fn pull(&mut self, since: u64, whole: bool) -> Result<Changes, VaultError> {
        match self.ask(&Request::Pull { since, whole })? {
            Reply::Changes(changes) => Ok(changes),
            other => Err(odd(&other)),
        }
    }

    fn push(&mut self, changes: Vec<Change>) -> Result<Vec<Pushed>, VaultError> {
        match self.ask(&Request::Push { changes })? {
            Reply::Pushed { results } => Ok(results),
            other => Err(odd(&other)),
        }
    }

    fn version(&mut self, id: Id, revision: u64) -> Result<Option<Item>, VaultError> {
        match self.ask(&Request::Version { id, revision }) {
            Ok(Reply::Version(item)) => Ok(Some(item)),
            Err(VaultError::Failed(Failure::NotFound)) => Ok(None),
            Ok(other) => Err(odd(&other)),
            Err(e) => Err(e),
        }
    }
}
