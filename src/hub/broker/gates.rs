//! Logins: the broker makes the challenges, compares the responses, and takes keys. A
//! name that nobody has is answered like any other.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use openssl::error::ErrorStack;

use super::Broker;
use super::message::{Answer, Ask};
use crate::hub::book::{Account, Book, Known, Result, Time};
use crate::hub::proofs::{Challenge, Statement};
use crate::hub::wire::{
    Checksum, Exporter, Key, Line, LoginKey, Message, Random, Reply, Role, Signature, User, Version,
};
use crate::ipc::Pipe;
use crate::ipc::orders::Tag;
use crate::session::failure::Failure;
use crate::session::login::AskingGate;

/// How long a challenge can be answered.
const CHALLENGE: Duration = Duration::from_secs(60);

/// A gate.
#[derive(Debug)]
pub struct Gate {
    /// Its connection.
    pub tag: Tag,
    /// The client's address.
    pub peer: IpAddr,
    /// The channel to it.
    pub channel: Pipe<Answer, Ask>,
    /// Who is in, once the session may follow.
    pub admitted: Option<(User, Option<Role>)>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    New,
    Asked(Who, Challenged),
    Keyless(Who),
}

/// Who wants to log in.
#[derive(Clone, Debug)]
struct Who {
    user: User,
    role: Role,
    /// `None` in version 1.0, which has both roles at once.
    exporter: Option<Exporter>,
}

#[derive(Debug)]
struct Challenged {
    time: u64,
    random: Random,
    at: Instant,
}

impl From<AskingGate> for Gate {
    fn from(gate: AskingGate) -> Gate {
        Gate {
            tag: gate.tag,
            peer: gate.peer,
            channel: gate.channel.into_channel().into(),
            admitted: None,
            stage: Stage::New,
        }
    }
}

fn reply(reply: Reply) -> Answer {
    Answer::Reply(Line {
        id: None,
        message: Message::Reply(reply),
    })
}

/// The name by which failures of a user are counted, next to those of other accounts.
fn counted(user: &User) -> String {
    format!("{}@hub", user.as_str())
}

/// Whether a user whose key is known logs in as one of the other version.
fn is_of_other_version(known: &Known, role: Role) -> bool {
    known.account.key.is_some() && known.account.is_base != (role == Role::Both)
}

/// The version of a user whose key is known.
fn version_of(account: &Account) -> Version {
    match account.is_base {
        true => Version::BASE,
        false => Version::SPOKEN,
    }
}

/// The key that signs for a role.
fn key_of(account: &Account, role: Role) -> Option<Key> {
    match role {
        Role::Holder => account.holder_key,
        Role::Owner | Role::Both => account.key,
    }
}

impl Broker {
    /// Answers what a gate asks.
    pub(super) fn hear_gate(
        &mut self,
        book: &Book,
        gate: &mut Gate,
        ask: Ask,
        now: Time,
    ) -> Result<Answer> {
        match ask {
            Ask::LogIn {
                user,
                role,
                exporter,
            } => {
                let who = Who {
                    user,
                    role,
                    exporter,
                };
                self.challenge(book, gate, who, now)
            }
            Ask::Respond { response, sig } => {
                match std::mem::replace(&mut gate.stage, Stage::New) {
                    Stage::Asked(who, challenged) => {
                        self.respond(book, gate, (who, challenged), (&response, sig), now)
                    }
                    _ => Ok(reply(Reply::NotVerified)),
                }
            }
            Ask::Key { key, login, proof } => match &gate.stage {
                Stage::Keyless(who) => {
                    let who = who.clone();
                    self.take_key(book, gate, &who, (key, login, proof))
                }
                _ => Ok(reply(Reply::NotAllowed)),
            },
            Ask::Relay(token) => Ok(match self.relays.admit(token) {
                Some(user) => {
                    gate.admitted = Some((user, None));
                    Answer::Admitted
                }
                None => Answer::Closed,
            }),
        }
    }

    fn challenge(&mut self, book: &Book, gate: &mut Gate, who: Who, now: Time) -> Result<Answer> {
        let is_base = who.role == Role::Both;
        if !self.is_clock_right || is_base != who.exporter.is_none() {
            return Ok(Answer::Closed);
        }
        let known = book.known(&who.user, now)?;
        if let Some(refusal) = self.blocked(gate.peer, &who.user, known.as_ref()) {
            return Ok(refusal);
        }
        let mut random = Random([0; 16]);
        if getrandom::fill(&mut random.0).is_err() {
            return Ok(Answer::Closed);
        }
        let time = u64::try_from(now).unwrap_or(0);
        let at = Instant::now();
        gate.stage = Stage::Asked(who, Challenged { time, random, at });
        Ok(Answer::Challenge { time, random })
    }

    /// The refusal of who may not try now. Nobody else can block a user that has a key:
    /// its login can't be guessed.
    fn blocked(&mut self, peer: IpAddr, user: &User, known: Option<&Known>) -> Option<Answer> {
        let (name, now) = (counted(user), crate::users::throttle::now());
        let throttle = &mut self.throttle;
        if let Some(until) = throttle.barred(&name, peer, now) {
            self.failures.push(Failure::Barred);
            let after = Some(until.saturating_sub(now));
            return Some(reply(Reply::AccountBlocked { after }));
        }
        if let Some(after) = throttle.address_blocked(peer, now)
            && !throttle.knows(&name, peer)
        {
            self.failures.push(Failure::BlockedAddress);
            let after = Some(after);
            return Some(reply(Reply::AddressBlocked { after }));
        }
        let is_guessed = known.is_some_and(|known| known.account.key.is_none());
        let after = throttle.login_blocked(&name, peer, now);
        let after = Some(after.filter(|_| is_guessed)?);
        self.failures.push(Failure::BlockedUser);
        Some(reply(Reply::AccountBlocked { after }))
    }

    fn respond(
        &mut self,
        book: &Book,
        gate: &mut Gate,
        (who, challenged): (Who, Challenged),
        response: (&Checksum, Option<Signature>),
        now: Time,
    ) -> Result<Answer> {
        let peer = gate.peer;
        let Who { user, role, .. } = &who;
        let known = book.known(user, now)?;
        if let Some(refusal) = self.blocked(peer, user, known.as_ref()) {
            return Ok(refusal);
        }
        if challenged.at.elapsed() > CHALLENGE {
            return Ok(reply(Reply::NotVerified));
        }
        let fits = self.fits(known.as_ref(), (&who, &challenged), response);
        let (name, at) = (counted(user), crate::users::throttle::now());
        let Some(known) = known.filter(|_| fits.unwrap_or(false)) else {
            log_unsaved(self.throttle.failed(peer, &name, at).map(drop));
            let failure = match book.find_user(user)? {
                Some(_) => Failure::WrongPassword,
                None => Failure::UnknownUser,
            };
            let user = user.as_str();
            log::warn!(peer:%, user, reason = failure.reason(); "login failed");
            self.failures.push(failure);
            return Ok(reply(Reply::NotVerified));
        };
        if is_of_other_version(&known, *role) {
            let user = user.as_str();
            log::warn!(peer:%, user; "login in another version than that of the user's key");
            let version = version_of(&known.account);
            return Ok(reply(Reply::WrongVersion {
                version: Some(version),
            }));
        }
        log_unsaved(self.throttle.succeeded(peer, &name, at));
        book.seen(known.account.id, now)?;
        if key_of(&known.account, *role).is_none() {
            gate.stage = Stage::Keyless(who);
            return Ok(reply(Reply::KeyNeeded));
        }
        gate.admitted = Some((who.user, Some(who.role)));
        Ok(Answer::Admitted)
    }

    /// Whether a response, and its signature once the hub knows the key, are right. A
    /// name that nobody has takes as long.
    fn fits(
        &self,
        known: Option<&Known>,
        (who, challenged): (&Who, &Challenged),
        (response, sig): (&Checksum, Option<Signature>),
    ) -> std::result::Result<bool, ErrorStack> {
        let challenge = Challenge {
            hub: &self.hub,
            user: &who.user,
            time: challenged.time,
            random: challenged.random,
            exporter: who.exporter,
        };
        let secret = known.map_or(&[0; 32], |known| &*known.secret);
        let is_answered = challenge.is_answered_by(secret, response)?;
        // Version 1.0 signs nothing. Who has the secret of a user of the other version
        // hears that.
        let is_signer =
            |known: &&Known| who.role != Role::Both && !is_of_other_version(known, who.role);
        let key = known.filter(is_signer);
        let key = key.and_then(|known| key_of(&known.account, who.role));
        let is_signed = |key: Key| {
            let statement = Statement::Response(&challenge);
            sig.is_some_and(|sig| statement.is_signed(&key, &sig))
        };
        Ok(known.is_some() && is_answered && key.is_none_or(is_signed))
    }

    fn take_key(
        &self,
        book: &Book,
        gate: &mut Gate,
        who: &Who,
        (key, login, proof): (Key, Option<LoginKey>, Option<Signature>),
    ) -> Result<Answer> {
        let Who {
            user,
            role,
            exporter,
        } = who;
        let Some(account) = book.find_user(user)? else {
            return Ok(reply(Reply::NotAllowed));
        };
        let hub = &self.hub;
        let (statement, signer) = match (role, *exporter) {
            (Role::Holder, _) => (Some(Statement::HolderKey { hub, user, key }), account.key),
            (_, Some(exporter)) => {
                let own = Statement::OwnKey {
                    hub,
                    user,
                    key,
                    exporter,
                };
                (Some(own), Some(key))
            }
            // Version 1.0 has no proofs.
            (_, None) => (None, Some(key)),
        };
        let Some(signer) = signer else {
            return Ok(reply(Reply::NotAllowed));
        };
        let is_proved = |statement: Statement<'_>| {
            proof.is_some_and(|proof| statement.is_signed(&signer, &proof))
        };
        if !statement.is_none_or(is_proved) {
            return Ok(reply(Reply::PeerNotVerified));
        }
        let learned = match (role, &login) {
            (Role::Holder | Role::Both, _) => book.learn_key(account.id, *role, key),
            (_, None) => return Ok(reply(Reply::PeerNotVerified)),
            (_, Some(login)) => {
                let learned = book.learn_key(account.id, *role, key);
                learned.and_then(|()| book.learn_login(account.id, login))
            }
        };
        match learned {
            Ok(()) => {
                log::info!(peer:% = gate.peer, user = user.as_str(), role = role.word(); "key taken");
                gate.admitted = Some((user.clone(), Some(*role)));
                Ok(Answer::Admitted)
            }
            Err(crate::hub::book::Trouble::Refused(refusal)) => Ok(reply(refusal)),
            Err(trouble) => Err(trouble),
        }
    }
}

fn log_unsaved(saved: std::io::Result<()>) {
    if let Err(e) = saved {
        log::error!(error:% = e; "blocked logins not saved");
    }
}
