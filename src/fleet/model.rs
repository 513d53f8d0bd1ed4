//! What the process at the store knows of this server, and has yet to say there: it
//! outlives each connection, so that nothing is lost that was counted without the store.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use redis::Cmd;

use super::keys::{BEGIN, FREED, KICKS, Keys, LOGINS, RENEW};
use super::message::{Attempt, FromState, Kicked, Said, What};
use super::reply::{self, ReplyError};
use super::store::{Store, StoreError};
use super::usage::Usage;
use crate::ipc::orders::Tag;
use crate::text::hex;
use crate::users::throttle::shared::LoginState;
use crate::users::throttle::{KNOWN, LONGEST, Limits, MEMORY, Target, WHOLE_ADDRESS};

/// How long a session counts that its server does not renew, and how often it does.
const LEASE: Duration = Duration::from_secs(30);
const RENEW_EVERY: Duration = Duration::from_secs(10);

/// Sessions that are renewed by one command.
const AT_ONCE: usize = 256;

/// How long orders to end sessions last, and the most of them.
const KICKS_LAST: Duration = Duration::from_secs(600);
const MOST_KICKS: usize = 256;

/// How long it is known that an operator has freed somebody: as long as failures are.
const FREED_LASTS: u64 = 2 * MEMORY;

/// The most sources whose failures wait for the store; those of others are not merged.
const MOST_WAITING: usize = 4096;

/// What is said and heard in turn.
enum Step {
    Ended,
    Freed,
    Merge,
    Renew,
    Kicks,
    Usage,
}

/// A session of this server.
#[derive(Debug)]
struct Session {
    account: String,
    /// Whether the store has it.
    is_in: bool,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) keys: Keys,
    /// What distinguishes this server from the others.
    pub(super) server: String,
    limits: Limits,
    sessions: HashMap<Tag, Session>,
    /// Those that the store may have, and that are over.
    ended: Vec<(Tag, String)>,
    renew_at: Instant,
    /// Failures that the store has not counted.
    failures: HashMap<Attempt, u32>,
    freed: Vec<(Target, Instant)>,
    /// Orders for the others.
    orders: Vec<(String, Instant)>,
    /// Orders that were followed here, or given.
    seen: HashSet<String>,
    pub(super) usage: Usage,
}

impl Model {
    /// That of a server that has just begun.
    pub(super) fn new(keys: Keys, server: String, limits: Limits) -> Model {
        Model {
            keys,
            server,
            limits,
            sessions: HashMap::new(),
            ended: Vec::new(),
            renew_at: Instant::now(),
            failures: HashMap::new(),
            freed: Vec::new(),
            orders: Vec::new(),
            seen: HashSet::new(),
            usage: Usage::default(),
        }
    }

    /// A session runs.
    pub(super) fn begin(&mut self, tag: Tag, account: String) {
        let session = Session {
            account,
            is_in: false,
        };
        self.sessions.insert(tag, session);
    }

    /// A session is over, or has not begun; the store may have it, in each case.
    pub(super) fn end(&mut self, tag: Tag, account: String) {
        self.sessions.remove(&tag);
        self.ended.push((tag, account));
        self.ended.truncate(MOST_WAITING);
    }

    /// Sessions are to end everywhere.
    pub(super) fn kick(&mut self, whom: &Kicked) {
        let mut random = [0; reply::ORDER / 2];
        if self.orders.len() >= MOST_KICKS || getrandom::fill(&mut random).is_err() {
            return;
        }
        let order = reply::write_order(&hex(&random), whom);
        self.seen.insert(order.clone());
        self.orders.push((order, Instant::now()));
    }

    /// An operator has freed somebody.
    pub(super) fn free(&mut self, target: Target) {
        self.failures.retain(|attempt, _| match &target {
            Target::Address(address) => attempt.source != *address,
            Target::Account(name) => attempt.account.as_ref() != Some(name),
        });
        self.freed.push((target, Instant::now()));
        self.freed.truncate(MOST_WAITING);
    }

    /// A failure that the store has not counted.
    pub(super) fn remember(&mut self, what: What) {
        let What::Failed(attempt) = what else { return };
        if self.failures.len() < MOST_WAITING || self.failures.contains_key(&attempt) {
            *self.failures.entry(attempt).or_default() += 1;
        }
    }

    /// Asks the store what the authenticator wants to know.
    pub(super) fn ask(&self, what: &What, store: &mut Store) -> Result<Said, StoreError> {
        match what {
            What::Check(attempt) => self.login("check", attempt, 1, store).map(Said::Login),
            What::Failed(attempt) => self.login("failed", attempt, 1, store).map(Said::Login),
            What::Succeeded(attempt) => self.login("succeeded", attempt, 1, store).map(Said::Login),
            What::Begin { tag, account, most } => {
                let mut command = script(BEGIN, &[self.keys.sessions(account)]);
                let command = command.arg(self.member(*tag)).arg(*most).arg(millis(LEASE));
                let may = reply::yes_or_no(&store.ask(command)?);
                Ok(Said::May(may.ok_or(ReplyError::Garbage)?))
            }
        }
    }

    fn login(
        &self,
        what: &str,
        attempt: &Attempt,
        times: u32,
        store: &mut Store,
    ) -> Result<LoginState, StoreError> {
        let (source, account) = (attempt.source, attempt.account.as_deref());
        let mut keys = vec![
            self.keys.failures(source, None),
            self.keys.freed(&Target::Address(source)),
        ];
        keys.extend(account.into_iter().flat_map(|name| {
            [
                self.keys.failures(source, Some(name)),
                self.keys.known(source, name),
                self.keys.freed(&Target::Account(name.to_owned())),
            ]
        }));
        let block = self.limits.block.as_secs().max(1);
        let longest = LONGEST.max(block);
        let mut command = script(LOGINS, &keys);
        command
            .arg(what)
            .arg(times)
            .arg(self.limits.failures)
            .arg(WHOLE_ADDRESS);
        command.arg(block).arg(longest).arg(MEMORY).arg(KNOWN);
        command.arg(u8::from(attempt.is_known));
        let state = reply::login(&store.ask(&command)?, longest);
        Ok(state.ok_or(ReplyError::Garbage)?)
    }

    /// Takes note that the store may have lost everything.
    pub(super) fn is_connected(&mut self) {
        self.renew_at = Instant::now();
        self.usage.is_connected();
    }

    /// Whether something waits to be said.
    pub(super) fn is_stale(&self) -> bool {
        let waits = !self.failures.is_empty()
            || !self.ended.is_empty()
            || !self.orders.is_empty()
            || !self.freed.is_empty();
        waits || self.sessions.values().any(|session| !session.is_in) || self.usage.is_stale()
    }

    /// Says all that waits, and hears what concerns this server. What the store has no
    /// room for waits on; the first such refusal is the result then.
    pub(super) fn exchange(
        &mut self,
        store: &mut Store,
        hear: &mut impl FnMut(FromState),
    ) -> Result<(), StoreError> {
        let mut refused = Ok(());
        for step in [
            Step::Ended,
            Step::Freed,
            Step::Merge,
            Step::Renew,
            Step::Kicks,
            Step::Usage,
        ] {
            let taken = match step {
                Step::Ended => self.say_ended(store),
                Step::Freed => self.say_freed(store),
                Step::Merge => self.merge(store),
                Step::Renew => self.renew(store),
                Step::Kicks => self.kicks(store, hear),
                Step::Usage => self.usage.exchange(&self.keys, &self.server, store, hear),
            };
            match taken {
                Err(e) if !e.is_refusal() => return Err(e),
                taken => refused = refused.and(taken),
            }
        }
        refused
    }

    fn say_ended(&mut self, store: &mut Store) -> Result<(), StoreError> {
        while let Some((tag, account)) = self.ended.last() {
            let mut command = redis::cmd("ZREM");
            command
                .arg(self.keys.sessions(account))
                .arg(self.member(*tag));
            match store.ask(&command) {
                Err(e) if !e.is_refusal() => return Err(e),
                // Of another kind than ours: the next who counts replaces it.
                _ => drop(self.ended.pop()),
            }
        }
        Ok(())
    }

    fn say_freed(&mut self, store: &mut Store) -> Result<(), StoreError> {
        while let Some((target, at)) = self.freed.last() {
            let mut command = script(FREED, &[self.keys.freed(target)]);
            store.ask(command.arg(at.elapsed().as_secs()).arg(FREED_LASTS))?;
            self.freed.pop();
        }
        Ok(())
    }

    /// Adds the failures that were counted without the store.
    fn merge(&mut self, store: &mut Store) -> Result<(), StoreError> {
        let waiting: Vec<_> = self.failures.iter().take(AT_ONCE).collect();
        let waiting: Vec<_> = waiting
            .into_iter()
            .map(|(of, times)| (of.clone(), *times))
            .collect();
        for (attempt, times) in waiting {
            self.login("merge", &attempt, times, store)?;
            self.failures.remove(&attempt);
        }
        Ok(())
    }

    fn renew(&mut self, store: &mut Store) -> Result<(), StoreError> {
        let is_due = Instant::now() >= self.renew_at;
        let wanted = self.sessions.iter().filter(|(_, of)| is_due || !of.is_in);
        let wanted: Vec<Tag> = wanted.map(|(tag, _)| *tag).collect();
        for tags in wanted.chunks(AT_ONCE) {
            let key = |tag: &Tag| Some(self.keys.sessions(&self.sessions.get(tag)?.account));
            let keys: Vec<String> = tags.iter().filter_map(key).collect();
            let mut command = script(RENEW, &keys);
            command.arg(millis(LEASE));
            for tag in tags {
                command.arg(self.member(*tag));
            }
            store.ask(&command)?;
            for tag in tags {
                if let Some(session) = self.sessions.get_mut(tag) {
                    session.is_in = true;
                }
            }
        }
        if is_due {
            self.renew_at = Instant::now() + RENEW_EVERY;
        }
        Ok(())
    }

    fn kicks(
        &mut self,
        store: &mut Store,
        hear: &mut impl FnMut(FromState),
    ) -> Result<(), StoreError> {
        let mut command = script(KICKS, &[self.keys.kicks()]);
        command.arg(millis(KICKS_LAST)).arg(MOST_KICKS);
        let orders = reply::orders(&store.ask(&command)?).ok_or(ReplyError::Garbage)?;
        let is_new = |order: &&(String, u64, Kicked)| !self.seen.contains(&order.0);
        for (_, age, whom) in orders.iter().filter(is_new).cloned() {
            hear(FromState::Kick { whom, age });
        }
        if self.seen.len() > 4 * MOST_KICKS {
            self.seen.clear();
        }
        self.seen
            .extend(orders.into_iter().map(|(order, ..)| order));
        if !self.orders.is_empty() {
            for (order, at) in &self.orders {
                command.arg(order).arg(millis(at.elapsed()));
            }
            store.ask(&command)?;
            self.orders.clear();
        }
        Ok(())
    }

    /// What a session is called in the store.
    fn member(&self, Tag { slot, mark }: Tag) -> String {
        format!("{}:{slot}:{mark:x}", self.server)
    }
}

/// A call of a script with these keys.
pub(super) fn script(text: &str, keys: &[String]) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(text).arg(keys.len()).arg(keys);
    command
}

/// Whole milliseconds.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
