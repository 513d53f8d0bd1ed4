//! What accounts have moved since the start, for the metrics: those of a number of
//! accounts apart, the first that log in, and all others together, so that the
//! number of series is bounded and none ever counts down.

use std::collections::BTreeMap;

use crate::session::slots::Activity;

/// The name of all others together; no account has a name with a blank.
pub const OTHERS: &str = "all others";

/// What an account has moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Sessions that it has now.
    pub sessions: u64,
    /// Requests that name a path.
    pub requests: u64,
    /// Those that failed.
    pub failed: u64,
    /// Bytes from it.
    pub received: u64,
    /// Bytes to it.
    pub sent: u64,
}

/// The accounts.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    /// How many are counted apart; none at all are counted with 0.
    most: usize,
    moved: BTreeMap<String, Moved>,
}

impl Accounts {
    /// Counts so many apart from now on. Those that are counted stay.
    pub fn limit(&mut self, most: usize) {
        self.most = most;
    }

    /// How many are counted apart.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Whether any are counted.
    pub fn are_counted(&self) -> bool {
        self.most > 0
    }

    /// Takes note of an account that has a session.
    pub fn meet(&mut self, account: &str) {
        if self.most > 0 {
            let name = self.name(account).to_owned();
            self.moved.entry(name).or_default();
        }
    }

    /// The name under which it is counted.
    fn name<'n>(&self, account: &'n str) -> &'n str {
        let apart = self.moved.keys().filter(|name| *name != OTHERS).count();
        if self.moved.contains_key(account) || apart < self.most {
            account
        } else {
            OTHERS
        }
    }

    /// Adds what a connection has moved, and `sessions` that it stands for now.
    pub fn add(&mut self, account: &str, activity: &Activity, sessions: u64) {
        let name = self.name(account);
        let Some(moved) = self.moved.get_mut(name) else {
            return;
        };
        let (requests, failed) = activity.counts.totals();
        moved.sessions += sessions;
        moved.requests = moved.requests.wrapping_add(requests);
        moved.failed = moved.failed.wrapping_add(failed);
        moved.received = moved.received.wrapping_add(activity.received);
        moved.sent = moved.sent.wrapping_add(activity.sent);
    }

    /// All of them, by name.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Moved)> {
        self.moved
            .iter()
            .map(|(name, moved)| (name.as_str(), moved))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_accounts_as_wanted_are_counted_apart() {
        let mut accounts = Accounts::default();
        accounts.meet("ann");
        assert_eq!(accounts.all().count(), 0);
        accounts.limit(2);
        for name in ["ann", "bob", "cho", "dan", "ann"] {
            accounts.meet(name);
            let activity = Activity {
                received: 3,
                ..Activity::default()
            };
            accounts.add(name, &activity, 0);
        }
        let all: Vec<_> = accounts
            .all()
            .map(|(name, of)| (name, of.received))
            .collect();
        assert_eq!(all, [(OTHERS, 6), ("ann", 6), ("bob", 3)]);
    }
}
