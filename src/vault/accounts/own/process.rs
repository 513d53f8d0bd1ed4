//! How the process that keeps the accounts answers gates and sessions of the own
//! dialect. Names that no account has are answered as others are, as long as no proof
//! is right.

use std::net::IpAddr;
use std::time::Instant;

use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;

use super::book::Account;
use super::{Answer, Ask};
use crate::ipc::gates::{DELAY, Next};
use crate::session::failure::Failure as LoginFailure;
use crate::vault::accounts;
use crate::vault::accounts::book::Trouble;
use crate::vault::accounts::process::{Caller, Keeper, Who, lock, reply, seconds};
use crate::vault::accounts::users_file::{counted_name, log_unsaved};
use crate::vault::now;
use crate::vault::own::message::{
    CodeFor, Failure, Id, Kdf, LogIn, MAX_USER, Over, Proof, Refusal, Register,
};

/// Why a client is not let in.
enum No {
    /// It hears that.
    Refused(Refusal),
    /// It has to send a code.
    CodeWanted(CodeFor),
    /// The database or the system failed.
    Failed(Trouble),
}

impl From<Trouble> for No {
    fn from(trouble: Trouble) -> No {
        use accounts::Refusal as R;
        let (Trouble::Refused(why) | Trouble::Counted(why)) = trouble else {
            return No::Failed(trouble);
        };
        No::Refused(match why {
            R::NewDevice => return No::CodeWanted(CodeFor::Device),
            R::UserExists => Refusal::NameTaken,
            R::NotFound => Refusal::Name,
            R::EmailInUse => Refusal::Mail,
            R::WrongCode => Refusal::CodeWrong,
            R::OldCode | R::NoCode => Refusal::CodeOld,
            R::TooManyCodes => Refusal::TooMany,
            _ => Refusal::Credentials,
        })
    }
}

impl From<Refusal> for No {
    fn from(why: Refusal) -> No {
        No::Refused(why)
    }
}

fn own(answer: Answer) -> accounts::Answer {
    accounts::Answer::Own(answer)
}

/// A time that is left, in seconds.
fn left(seconds: u64) -> u32 {
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

impl Keeper {
    /// Answers one question of the own dialect.
    pub(in crate::vault::accounts) fn answer_own(
        &self,
        mut caller: Caller,
        ask: Ask,
    ) -> Next<Caller> {
        let answer = match (&caller.who, ask) {
            (Who::Gate(_), Ask::Params { user }) if user.len() <= MAX_USER => self.params(&user),
            (Who::Gate(_), ask @ (Ask::Register { .. } | Ask::LogIn { .. })) => {
                return self.enter(caller, ask);
            }
            (Who::Session(account, None), Ask::Serve { device }) => {
                let account = *account;
                self.serve(&mut caller, account, device)
            }
            (Who::Own(account, _, number), Ask::Pushed) => {
                self.sessions.changed(*account, *number);
                return Next::Again(caller);
            }
            (Who::Own(account, device, number), ask) => {
                self.of_own_session((*account, device, *number), caller.peer, ask)
            }
            _ => {
                self.leave(&caller);
                return Next::Done;
            }
        };
        let answer = answer.unwrap_or_else(|trouble| {
            log::error!(error:% = trouble; "vault accounts");
            Answer::Failed(Failure::Internal)
        });
        reply(caller, &own(answer)).into()
    }

    /// How the keys of a name are made: for one that no account has as for another,
    /// and always the same.
    fn params(&self, user: &str) -> Result<Answer, Trouble> {
        let salt = self.salt(user).map_err(|_| Trouble::Random)?;
        let found = self.book().find_own(user)?;
        Ok(Answer::Params(
            found.map_or_else(|| Kdf::usual(salt), |account| account.kdf),
        ))
    }

    fn salt(&self, user: &str) -> Result<[u8; 32], openssl::error::ErrorStack> {
        let key = PKey::hmac(&self.salts)?;
        let mut signer = Signer::new(MessageDigest::sha256(), &key)?;
        signer.update(user.as_bytes())?;
        let mut salt = [0; 32];
        signer.sign(&mut salt)?;
        Ok(salt)
    }

    /// Takes a session in.
    fn serve(&self, caller: &mut Caller, account: i64, device: Id) -> Result<Answer, Trouble> {
        if !self.book().has_own_device(account, &device)? {
            return Ok(Answer::Failed(Failure::NotFound));
        }
        let number = self.sessions.add(account, device, &caller.channel);
        caller.who = Who::Own(account, device, number);
        Ok(Answer::Done)
    }

    /// What a session may ask for its account.
    fn of_own_session(
        &self,
        (account, device, number): (i64, &Id, u64),
        peer: IpAddr,
        ask: Ask,
    ) -> Result<Answer, Trouble> {
        match ask {
            Ask::Listen => self.sessions.listen(account, number),
            Ask::Devices => {
                let mut devices = self.book().own_devices(account)?;
                for known in &mut devices {
                    known.is_online = self.sessions.has(account, &known.id);
                    known.is_this = known.id == *device;
                }
                return Ok(Answer::Devices(devices));
            }
            Ask::Unlink { device } => match self.book().unlink_own(account, &device) {
                Err(Trouble::Refused(_)) => return Ok(Answer::Failed(Failure::NotFound)),
                ended => {
                    ended?;
                    self.sessions.end(account, Some(&device), Over::Unlinked);
                }
            },
            Ask::SetPassword(new) => self.book().set_own_password(account, &new)?,
            Ask::Delete { proof } => {
                let found = self.book().own(account)?;
                let Some(found) = found else {
                    return Ok(Answer::Failed(Failure::NotFound));
                };
                if self
                    .check_proof(peer, &found.name, Some(&found), &proof)
                    .is_err()
                {
                    return Ok(Answer::Failed(Failure::Credentials));
                }
                self.book().delete_own(account)?;
                log::info!(peer:%, user = found.name; "vault account deleted");
                self.sessions.end(account, None, Over::Deleted);
            }
            _ => return Ok(Answer::Failed(Failure::Internal)),
        }
        Ok(Answer::Done)
    }

    /// Answers who wants to be let in. One that may makes a gate's channel the daemon's.
    fn enter(&self, caller: Caller, ask: Ask) -> Next<Caller> {
        let peer = caller.peer;
        let (user, entered, is_delayed) = match ask {
            Ask::Register { user, account } if user.len() <= MAX_USER => {
                let entered = self.register_own(peer, &user, &account);
                (user, entered, false)
            }
            Ask::LogIn { user, login } if user.len() <= MAX_USER => {
                let name = counted_name(&user);
                let is_delayed = lock(&self.throttle).is_delayed(&name, peer, seconds());
                let entered = self.log_in_own(peer, &user, &login);
                (user, entered, is_delayed)
            }
            _ => return Next::Done,
        };
        let answer = match entered {
            Ok((account, of_users_file)) => {
                let wrapped = account.wrapped;
                let who = (account.id, account.name, of_users_file);
                return self
                    .admit(caller, who, &own(Answer::Admitted { wrapped }))
                    .into();
            }
            Err(No::Refused(why)) => {
                log::warn!(peer:%, user, reason:% = why; "login refused");
                Answer::Refused(why)
            }
            Err(No::CodeWanted(kind)) => {
                self.wake.wake();
                let is_mailed = kind == CodeFor::Device && self.is_mailed(&user);
                Answer::CodeWanted { kind, is_mailed }
            }
            Err(No::Failed(trouble)) => {
                log::error!(error:% = trouble; "vault accounts");
                Answer::Refused(Refusal::Internal)
            }
        };
        match answer {
            // No thread waits for that.
            Answer::Refused(Refusal::Credentials) if is_delayed => {
                let due = Instant::now() + DELAY;
                Next::Delayed(due, Box::new(move || reply(caller, &own(answer))))
            }
            answer => reply(caller, &own(answer)).into(),
        }
    }

    /// Whether the code of a new device goes to the address of an account.
    fn is_mailed(&self, user: &str) -> bool {
        self.rules.mails_devices && self.book().has_mail(user).unwrap_or(false)
    }

    fn log_in_own(&self, peer: IpAddr, user: &str, login: &LogIn) -> Result<(Account, bool), No> {
        self.expect_unblocked(peer, user)?;
        let found = self.book().find_own(user)?;
        self.check_proof(peer, user, found.as_ref(), &login.proof)?;
        let account = found.ok_or(Refusal::Credentials)?;
        let banned = account.banned_until - now();
        if banned > 0 {
            let seconds = left(banned.unsigned_abs());
            return Err(Refusal::Banned { seconds }.into());
        }
        let of_users_file = self.is_of_users_file((account.id, user), peer)?;
        let is_recovery = matches!(login.proof, Proof::Recovery(_));
        let needs_code = self.rules.confirms_devices && !is_recovery;
        let code = login.code.as_ref().map(|code| code.as_slice());
        let device = (&login.device, code);
        let admitted = self.book().admit_own(account.id, device, needs_code, now());
        let failure = match admitted {
            Err(Trouble::Refused(accounts::Refusal::Credentials)) => {
                Some(LoginFailure::WrongPassword)
            }
            Err(Trouble::Refused(_) | Trouble::Counted(accounts::Refusal::WrongCode)) => {
                Some(LoginFailure::WrongCode)
            }
            _ => None,
        };
        if let Some(failure) = failure {
            self.failed(peer, user, failure);
        }
        admitted?;
        let saved = lock(&self.throttle).succeeded(peer, &counted_name(user), seconds());
        log_unsaved(saved);
        Ok((account, of_users_file))
    }

    /// Refuses an address that has failed too often, whatever it proves.
    fn expect_unblocked(&self, peer: IpAddr, user: &str) -> Result<(), No> {
        let name = counted_name(user);
        let of_user = || {
            let blocked = lock(&self.throttle).login_blocked(&name, peer, seconds());
            blocked.map(|seconds| (LoginFailure::BlockedUser, seconds))
        };
        let Some((failure, seconds)) = self.block(peer, &name).or_else(of_user) else {
            return Ok(());
        };
        self.report(failure);
        let seconds = left(seconds);
        Err(Refusal::Blocked { seconds }.into())
    }

    /// Counts a failure.
    fn failed(&self, peer: IpAddr, user: &str, failure: LoginFailure) {
        let saved = lock(&self.throttle).failed(peer, &counted_name(user), seconds());
        log_unsaved(saved.map(drop));
        self.report(failure);
    }

    /// Compares a proof with an account, or with none in the same time.
    fn check_proof(
        &self,
        peer: IpAddr,
        user: &str,
        account: Option<&Account>,
        proof: &Proof,
    ) -> Result<(), No> {
        let nobody = Account::nobody();
        let is_right = account.unwrap_or(&nobody).opens(proof);
        if is_right && account.is_some() {
            return Ok(());
        }
        let failure = match account {
            Some(_) => LoginFailure::WrongPassword,
            None => LoginFailure::UnknownUser,
        };
        self.failed(peer, user, failure);
        Err(Refusal::Credentials.into())
    }

    fn register_own(
        &self,
        peer: IpAddr,
        user: &str,
        new: &Register,
    ) -> Result<(Account, bool), No> {
        self.expect_unblocked(peer, user)?;
        let of_users_file = self.in_users_file(user).is_some();
        if of_users_file || !self.rules.is_open {
            self.check_registration(peer, (user, of_users_file), new)?;
        }
        let from = peer.to_string();
        let new = (new, of_users_file);
        let id = self.book().register_own(user, new, (&from, now()))?;
        let of_users_file = self.is_of_users_file((id, user), peer)?;
        log::info!(peer:%, user; "vault account registered");
        let account = self.book().own(id)?;
        Ok((account.ok_or(Refusal::Internal)?, of_users_file))
    }

    /// Asks for a code, or checks it: where the server is closed, of every name, though
    /// only accounts of the users file ever have one.
    fn check_registration(
        &self,
        peer: IpAddr,
        (user, of_users_file): (&str, bool),
        new: &Register,
    ) -> Result<(), No> {
        if self.rules.users_file.is_empty() {
            return Err(Refusal::Closed.into());
        }
        let may_have = of_users_file && self.book().find(user)?.is_none();
        let Some(code) = &new.code else {
            if may_have {
                self.book().schedule_registration(user, now())?;
            }
            return Err(No::CodeWanted(CodeFor::Registration));
        };
        let taken = match may_have {
            true => self.book().take_registration(user, code, now()),
            false => Err(accounts::Refusal::WrongCode.into()),
        };
        if taken.is_err() {
            self.failed(peer, user, LoginFailure::WrongCode);
        }
        Ok(taken?)
    }
}
