//! The process that keeps the accounts: it answers gates and sessions, each on a
//! channel of its own, and hands the channel of a gate whose client has logged in
//! to the daemon. It never sees an entry.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::book::{Account, Book, Trouble};
use super::codes::Kind;
use super::mails::{self, Wake};
use super::own;
use super::password::{self, Checker};
use super::users_file::{counted_name, log_unsaved};
use super::{Admitted, Answer, Ask, Asked, Login, NewCaller, Outcome, Refusal};
use crate::ipc::Pipe;
use crate::ipc::gates::{self, DELAY, Next};
use crate::ipc::orders::Tag;
use crate::session::failure::Failure;
use crate::users;
use crate::users::hash;
use crate::users::throttle::{Limits, Throttle};
use crate::vault::now;
use crate::vault::own::message::{Id, Over};

/// Callers answered at once. Each check of a password takes 19 MiB while it lasts, and
/// one of all, of an imported hash, 256 MiB and a second.
const WORKERS: usize = 3;

/// What it follows of the configuration.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Whether anybody may make an account.
    pub is_open: bool,
    /// Whether a device that is new to an account needs a code.
    pub confirms_devices: bool,
    /// Whether codes for that are mailed.
    pub mails_devices: bool,
    /// How many cookies that no account has an address may have.
    pub most_cookies: u32,
    /// When failed logins are blocked.
    pub limits: Limits,
    /// The accounts of the users file that may have one here, without their hashes.
    pub users_file: Vec<users::Account>,
}

/// The channel to the daemon.
pub type ToDaemon = Pipe<Outcome, Option<NewCaller>>;

/// All it keeps.
pub struct Keeper {
    daemon: Arc<ToDaemon>,
    pub(super) rules: Rules,
    book: Mutex<Book>,
    pub(super) throttle: Mutex<Throttle>,
    checker: Checker,
    /// A hash for names that no account has.
    nobody: String,
    /// What the salts of these are made of.
    pub(super) salts: own::Digest,
    /// How many sessions each device has.
    online: Mutex<HashMap<String, usize>>,
    /// Says that there may be a code to be mailed.
    pub wake: Wake,
    /// The sessions of the own dialect.
    pub(super) sessions: own::Online,
}

/// Who asks.
pub(super) struct Caller {
    pub(super) channel: Arc<Asked>,
    pub(super) peer: IpAddr,
    pub(super) who: Who,
}

pub(super) enum Who {
    Gate(Tag),
    /// With the device it serves, once it has said that.
    Session(i64, Option<String>),
    Mailer,
    /// The same of the own dialect, with its number.
    Own(i64, Id, u64),
    Daemon,
}

impl From<NewCaller> for Caller {
    fn from(new: NewCaller) -> Caller {
        match new {
            NewCaller::Gate(gate) => Caller {
                channel: Arc::new(gate.channel.into_channel().into()),
                peer: gate.peer,
                who: Who::Gate(gate.tag),
            },
            NewCaller::Session {
                account,
                peer,
                channel,
            } => Caller {
                channel: Arc::new(channel),
                peer,
                // Another number is no account's.
                who: Who::Session(i64::try_from(account).unwrap_or(-1), None),
            },
            NewCaller::Mailer(channel) => Caller {
                channel: Arc::new(channel.into_channel().into()),
                peer: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                who: Who::Mailer,
            },
            NewCaller::Daemon { channel } => Caller {
                channel: Arc::new(channel),
                peer: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                who: Who::Daemon,
            },
        }
    }
}

impl AsFd for Caller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

/// Serves callers, with the file of blocked logins, until the daemon has ended, or has
/// said that no more will come and the last has ended.
///
/// # Errors
/// When the database can't be opened.
pub fn run(store: &Path, rules: Rules, blocked: File, daemon: ToDaemon) -> io::Result<()> {
    let daemon = Arc::new(daemon);
    let keeper = Keeper::open(store, rules, blocked, Arc::clone(&daemon))?;
    let keeper = Arc::new(keeper);
    gates::serve(&daemon, WORKERS, move |caller: Caller| match caller.who {
        Who::Mailer => {
            let Some(channel) = Arc::into_inner(caller.channel) else {
                return Next::Done;
            };
            let mailer = channel.into_channel().into();
            mails::serve(Arc::clone(&keeper), mailer);
            Next::Done
        }
        _ => keeper.answer(caller),
    })
}

impl Keeper {
    fn open(
        store: &Path,
        rules: Rules,
        blocked: File,
        daemon: Arc<ToDaemon>,
    ) -> io::Result<Keeper> {
        let mut book = Book::open(store).map_err(io::Error::other)?;
        if let Err(trouble) = book.sweep() {
            log::error!(error:% = trouble; "vault accounts");
        }
        let mut password = [0; 32];
        getrandom::fill(&mut password).map_err(io::Error::other)?;
        Ok(Keeper {
            daemon,
            throttle: Mutex::new(Throttle::new(rules.limits, Some(blocked))),
            checker: Checker::default(),
            rules,
            salts: book.own_key().map_err(io::Error::other)?,
            book: Mutex::new(book),
            nobody: hash::make(&password).map_err(io::Error::other)?,
            online: Mutex::default(),
            sessions: own::Online::default(),
            wake: Wake::default(),
        })
    }

    /// The database.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.book)
    }

    /// Whether codes for devices are mailed.
    pub fn mails_devices(&self) -> bool {
        self.rules.mails_devices
    }

    /// Answers one question.
    fn answer(&self, mut caller: Caller) -> Next<Caller> {
        let asked = caller.channel.receive().ok().flatten();
        let Some(ask) = asked.filter(Ask::is_valid) else {
            self.leave(&caller);
            return Next::Done;
        };
        let ask = match ask {
            Ask::LogIn(login) => return self.answer_login(caller, &login),
            Ask::Own(ask) => return self.answer_own(caller, ask),
            ask => ask,
        };
        let from = caller.peer.to_string();
        let answer = match caller.who {
            Who::Session(account, ref mut device) => {
                self.of_session((account, device), ask, (&from, now()))
            }
            Who::Gate(_) => self.of_anybody(caller.peer, ask, (&from, now())),
            Who::Mailer => return Next::Done,
            Who::Daemon => {
                self.sessions.end_all(Over::Stopping);
                Ok(Answer::Yes)
            }
            Who::Own(..) => Err(Refusal::Forbidden.into()),
        };
        self.wake.wake();
        match answer {
            Ok(answer) => reply(caller, &answer).into(),
            Err(Trouble::Refused(why) | Trouble::Counted(why)) => {
                reply(caller, &Answer::No(why)).into()
            }
            Err(trouble) => {
                log::error!(error:% = trouble; "vault accounts");
                self.leave(&caller);
                Next::Done
            }
        }
    }

    /// Takes note that a session has ended.
    pub(super) fn leave(&self, caller: &Caller) {
        if let Who::Own(account, _, number) = &caller.who {
            self.sessions.remove(*account, *number);
        }
        if let Who::Session(_, Some(device)) = &caller.who {
            let mut online = lock(&self.online);
            if let Some(count) = online.get_mut(device) {
                *count -= 1;
            }
            online.retain(|_, count| *count > 0);
        }
    }

    /// What anybody may ask.
    fn of_anybody(
        &self,
        peer: IpAddr,
        ask: Ask,
        (from, now): (&str, i64),
    ) -> Result<Answer, Trouble> {
        match ask {
            Ask::Cookie => {
                return self
                    .book()
                    .cookie(self.rules.most_cookies, (from, now))
                    .map(Answer::Cookie);
            }
            Ask::HasCookie { cookie } => self.book().has_cookie(&cookie)?,
            Ask::Authorize { cookie, about } => {
                self.book().authorize(&cookie, &about, (from, now))?;
            }
            Ask::Register(new) if !self.may_register(&new.user) => {
                return Err(Refusal::Forbidden.into());
            }
            Ask::Register(new) => {
                let hash = hash::make(&new.password).map_err(|_| Refusal::Forbidden)?;
                let of_users_file = self.in_users_file(&new.user).is_some();
                self.book()
                    .register(&new, &hash, of_users_file, (from, now))?;
                log::info!(peer:%, user = new.user; "vault account registered");
            }
            Ask::Verify { user, code } => self.book().verify(&user, &code, now)?,
            Ask::Check { user, password } => {
                self.check(peer, &user, &password)?;
            }
            Ask::SetEmail {
                user,
                cookie,
                email,
            } => self.book().set_email(&user, &cookie, &email)?,
            Ask::Resend { user, email } => self.book().resend(&user, &email, now)?,
            _ => return Err(Refusal::Forbidden.into()),
        }
        Ok(Answer::Yes)
    }

    /// What a session may ask for its account; anything else as anybody.
    fn of_session(
        &self,
        (account, device): (i64, &mut Option<String>),
        ask: Ask,
        at: (&str, i64),
    ) -> Result<Answer, Trouble> {
        match ask {
            Ask::Serve { cookie } => {
                if device.is_some() || !self.book().has_device(account, &cookie)? {
                    return Err(Refusal::NotFound.into());
                }
                *lock(&self.online).entry(cookie.clone()).or_default() += 1;
                *device = Some(cookie);
            }
            Ask::LoggedOut => self.book().note(account, "LOGOUT", at)?,
            Ask::Devices => return self.devices(account).map(Answer::Devices),
            Ask::Unlink { cookie } => self.book().unlink(account, &cookie)?,
            Ask::Schedule { deletion } => {
                let kind = match deletion {
                    true => Kind::Deletion,
                    false => Kind::Password,
                };
                self.book().schedule(account, kind, at)?;
            }
            Ask::SetPassword { password, code } => {
                let hash = hash::make(&password).map_err(|_| Refusal::Forbidden)?;
                self.book().set_password(account, (&hash, &code), at)?;
            }
            Ask::Delete { code } => {
                self.book().delete(account, &code, at.1)?;
                log::info!(account; "vault account deleted");
            }
            Ask::Rename { name } => self.book().rename(account, &name, at.1)?,
            Ask::Details => {
                let (changed, email, name) = self.book().details(account)?;
                return Ok(Answer::Details {
                    changed,
                    email,
                    name,
                });
            }
            Ask::Events => return self.book().events(account).map(Answer::Events),
            other => {
                let peer = at.0.parse().map_err(|_| Refusal::Forbidden)?;
                return self.of_anybody(peer, other, at);
            }
        }
        Ok(Answer::Yes)
    }

    fn devices(&self, account: i64) -> Result<Vec<crate::vault::reply::Device>, Trouble> {
        let mut devices = self.book().devices(account)?;
        let online = lock(&self.online);
        for device in &mut devices {
            if online.contains_key(&device.cookie) {
                device.seen = None;
            }
        }
        Ok(devices)
    }

    /// Answers a login. One that is right makes a gate's channel the daemon's.
    fn answer_login(&self, caller: Caller, login: &Login) -> Next<Caller> {
        let own = match caller.who {
            Who::Session(account, _) | Who::Own(account, ..) => Some(account),
            Who::Gate(_) => None,
            Who::Daemon | Who::Mailer => return Next::Done,
        };
        let name = counted_name(&login.user);
        let is_delayed = lock(&self.throttle).is_delayed(&name, caller.peer, seconds());
        match self.log_in(caller.peer, login, own) {
            Ok((account, of_users_file)) => {
                let who = (account.id, account.name, of_users_file);
                self.admit(caller, who, &Answer::Admitted).into()
            }
            Err(Trouble::Refused(why) | Trouble::Counted(why)) if !is_delayed => {
                reply(caller, &Answer::No(why)).into()
            }
            // No thread waits for that.
            Err(Trouble::Refused(why) | Trouble::Counted(why)) => {
                let due = Instant::now() + DELAY;
                Next::Delayed(due, Box::new(move || reply(caller, &Answer::No(why))))
            }
            Err(trouble) => {
                log::error!(error:% = trouble; "vault accounts");
                self.leave(&caller);
                Next::Done
            }
        }
    }

    fn log_in(
        &self,
        peer: IpAddr,
        login: &Login,
        own: Option<i64>,
    ) -> Result<(Account, bool), Trouble> {
        let user = &login.user;
        let account = self.check(peer, user, &login.password)?;
        if own.is_some_and(|own| own != account.id) {
            log::warn!(peer:%, user, reason = "another account on this connection"; "login failed");
            return Err(Refusal::Credentials.into());
        }
        let of_users_file = self.is_of_users_file((account.id, &account.name), peer)?;
        let code = login.code.as_ref().map(|code| code.as_slice());
        let device = (login.cookie.as_str(), code);
        let from = peer.to_string();
        let confirms = self.rules.confirms_devices;
        let at = (from.as_str(), now());
        let admitted = self.book().admit(account.id, device, confirms, at);
        if let Err(Trouble::Refused(why) | Trouble::Counted(why)) = admitted {
            log::warn!(peer:%, user, reason:% = why; "login refused");
            if matches!(why, Refusal::WrongCode) {
                self.report(Failure::WrongCode);
            }
            self.wake.wake();
        }
        admitted.map(|()| (account, of_users_file))
    }

    /// The account of a name and a password, of an address that may try.
    fn check(&self, peer: IpAddr, user: &str, secret: &[u8]) -> Result<Account, Trouble> {
        let name = &counted_name(user);
        if let Some((failure, _)) = self.block(peer, name) {
            return Err(self.refuse(peer, user, failure));
        }
        let found = self.book().find(user)?;
        // An account of the own dialect has no password here.
        let found = found.filter(|account| !account.hash.is_empty());
        let hash = found.as_ref().map_or(&self.nobody, |account| &account.hash);
        let fits = self.checker.fits(hash, user, secret);
        let now = seconds();
        let mut throttle = lock(&self.throttle);
        let is_blocked = throttle.login_blocked(name, peer, now).is_some();
        let is_known = found.is_some();
        match found.filter(|_| fits && !is_blocked) {
            Some(account) => {
                let saved = throttle.succeeded(peer, name, now);
                drop(throttle);
                log_unsaved(saved);
                if password::is_of_original(&account.hash) {
                    self.replace_hash(&account, secret);
                }
                Ok(account)
            }
            None => {
                log_unsaved(throttle.failed(peer, name, now).map(drop));
                drop(throttle);
                let failure = match is_known {
                    true if is_blocked => Failure::BlockedUser,
                    true => Failure::WrongPassword,
                    false => Failure::UnknownUser,
                };
                Err(self.refuse(peer, user, failure))
            }
        }
    }

    /// What keeps a name from being tried from an address, and for how many seconds.
    pub(super) fn block(&self, peer: IpAddr, name: &str) -> Option<(Failure, u64)> {
        let (mut throttle, now) = (lock(&self.throttle), seconds());
        if let Some(until) = throttle.barred(name, peer, now) {
            return Some((Failure::Barred, until.saturating_sub(now)));
        }
        let blocked = throttle.address_blocked(peer, now)?;
        let is_known = throttle.knows(name, peer);
        (!is_known).then_some((Failure::BlockedAddress, blocked))
    }

    /// Logs and reports a failure, of which the client learns nothing.
    fn refuse(&self, peer: IpAddr, user: &str, failure: Failure) -> Trouble {
        log::warn!(peer:%, user, reason = failure.reason(); "login failed");
        self.report(failure);
        Refusal::Credentials.into()
    }

    /// Reports a failure to the daemon, which counts them.
    pub(super) fn report(&self, failure: Failure) {
        // Under a flood some stay uncounted.
        let _ = self.daemon.try_send(&Err(failure));
    }

    /// Lets the caller's client in: by a session, unless it is one.
    pub(super) fn admit(
        &self,
        caller: Caller,
        (account, name, of_users_file): (i64, String, bool),
        answer: &Answer,
    ) -> Option<Caller> {
        let Who::Gate(tag) = caller.who else {
            return reply(caller, answer);
        };
        caller.channel.try_send(answer).ok()?;
        // Nobody else has a gate's channel.
        let gate = Arc::into_inner(caller.channel)?.into_channel().into();
        let admitted = Admitted {
            tag,
            account: account.unsigned_abs(),
            name,
            of_users_file,
            gate,
        };
        if let Err(e) = self.daemon.send(&Ok(admitted)) {
            log::error!(error:% = e; "vault accounts: daemon out of reach");
        }
        None
    }

    /// Exchanges an imported hash for one that takes less memory and has a salt. If
    /// that fails, the next login tries.
    fn replace_hash(&self, account: &Account, password: &[u8]) {
        let made = hash::make(password);
        let replaced = made.and_then(|hash| {
            let replaced = self.book().replace_hash(account, &hash);
            replaced.map_err(|e| e.to_string())
        });
        if let Err(e) = replaced {
            log::error!(user = account.name, error:% = e; "imported hash stays");
        }
    }
}

/// Sends an answer; the caller, if it takes it.
pub(super) fn reply(caller: Caller, answer: &Answer) -> Option<Caller> {
    // One whose queue is full is hostile.
    caller.channel.try_send(answer).ok()?;
    Some(caller)
}

pub(super) fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time as the throttle counts it.
pub(super) fn seconds() -> u64 {
    u64::try_from(now()).unwrap_or(0)
}
