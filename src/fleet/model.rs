//! What the process at the store knows of this server, and has yet to say there: it
//! outlives each connection, so that nothing is lost that was counted without the store.

use std::collections::HashMap;

use redis::Cmd;

use super::keys::{Keys, LOGINS};
use super::message::{Attempt, Said, What};
use super::reply::{self, ReplyError};
use super::store::{Store, StoreError};
use crate::users::throttle::shared::LoginState;
use crate::users::throttle::{KNOWN, LONGEST, Limits, MEMORY, WHOLE_ADDRESS};

/// Failures that are merged at once.
const AT_ONCE: usize = 256;

/// The most sources whose failures wait for the store; those of others are not merged.
const MOST_WAITING: usize = 4096;

/// All of it.
#[derive(Debug)]
pub(super) struct Model {
    keys: Keys,
    limits: Limits,
    /// Failures that the store has not counted.
    failures: HashMap<Attempt, u32>,
}

impl Model {
    /// That of a server that has just begun.
    pub(super) fn new(keys: Keys, limits: Limits) -> Model {
        Model {
            keys,
            limits,
            failures: HashMap::new(),
        }
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
        let mut keys = vec![self.keys.failures(source, None)];
        keys.extend(account.into_iter().flat_map(|name| {
            [
                self.keys.failures(source, Some(name)),
                self.keys.known(source, name),
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

    /// Whether something waits to be said.
    pub(super) fn is_stale(&self) -> bool {
        !self.failures.is_empty()
    }

    /// Says all that waits. What the store has no room for waits on.
    pub(super) fn exchange(&mut self, store: &mut Store) -> Result<(), StoreError> {
        store.ping()?;
        self.merge(store)
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
}

/// A call of a script with these keys.
fn script(text: &str, keys: &[String]) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(text).arg(keys.len()).arg(keys);
    command
}
