//! What the daemon has counted since its start, for the metrics. Bytes are what
//! ended connections have published, which a process taken over can falsify; the
//! daemon decides nothing by them.

use std::collections::BTreeMap;

use super::accounts::Accounts;
use super::admission::Full;
use super::helpers::keeper::Refusal;
use crate::session::counts::Counts;
use crate::session::failure::Failure;
use crate::session::slots::Activity;

/// Helper processes that are started again. A protocol's are counted together.
pub const HELPERS: [&str; 12] = [
    "zygote",
    "launcher",
    "keeper",
    "authenticator",
    "pam",
    "proxy",
    "protocol",
    "auditor",
    "dialer",
    "uploads",
    "state",
    "logger",
];

/// The counters.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Connections that got a slot.
    pub connections: u64,
    /// Connections that got none, by [`Full`].
    pub refused: [u64; Full::ALL.len()],
    /// Clients that have not shown key or hash, by [`Refusal`].
    pub refused_handshakes: [u64; Refusal::ALL.len()],
    /// Logins that failed, by [`Failure`].
    pub failed_logins: [u64; Failure::ALL.len()],
    /// Processes of connections that did not end by themselves.
    pub killed: u64,
    /// Bytes from clients whose connections have ended.
    pub received: u64,
    /// Bytes to them.
    pub sent: u64,
    /// What the requests of ended connections came to, by protocol.
    pub requests: BTreeMap<&'static str, Counts>,
    /// What accounts have moved.
    pub accounts: Accounts,
    /// Generations started.
    pub generations: u64,
    /// Helper processes that ended unasked, or could no longer fork, by [`HELPERS`].
    pub restarts: [u64; HELPERS.len()],
}

impl Counters {
    /// Counts a connection that got no slot.
    pub fn refuse(&mut self, why: Full) {
        self.refused[why as usize] += 1;
    }

    /// Counts a client that has not shown key or hash.
    pub fn refuse_handshake(&mut self, what: Refusal) {
        self.refused_handshakes[what as usize] += 1;
    }

    /// Counts a failed login.
    pub fn fail_login(&mut self, why: Failure) {
        self.failed_logins[why as usize] += 1;
    }

    /// Counts a helper process that is to be started again.
    pub fn restart(&mut self, helper: &str) {
        let at = HELPERS.iter().position(|known| *known == helper);
        if let Some(at) = at {
            self.restarts[at] += 1;
        }
    }

    /// How many of all.
    pub fn failures(&self) -> u64 {
        self.restarts.iter().sum()
    }

    /// Adds what a connection has moved; `sessions` is 1 for one that lasts.
    pub fn add(
        &mut self,
        protocol: &'static str,
        account: Option<&str>,
        activity: &Activity,
        sessions: u64,
    ) {
        self.received = self.received.wrapping_add(activity.received);
        self.sent = self.sent.wrapping_add(activity.sent);
        self.requests
            .entry(protocol)
            .or_default()
            .add(&activity.counts);
        if let Some(account) = account {
            self.accounts.add(account, activity, sessions);
        }
    }
}
