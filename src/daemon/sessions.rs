//! The sessions that the daemon has forked itself: those behind LOGIN or
//! INJAIL.

use std::collections::HashMap;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid};

use super::confinement::finish;
use super::generation::{Admission, Generation};
use super::memory::Shared;
use super::registry::Registry;
use super::sandbox::Sandbox;
use super::session::{Card, key_text};
use super::usher::{self, Usher};
use crate::store::Quota;
use crate::sys::process::fork;
use crate::tf::status::Status;

/// What a session is started from.
pub struct Around<'a> {
    /// The generation that its gate belongs to.
    pub generation: &'a Generation,
    /// What it enters.
    pub sandbox: &'a Sandbox,
    /// What it shares with others.
    pub shared: Shared<'a>,
}

/// The sessions that run, by process.
#[derive(Debug, Default)]
pub struct Sessions(HashMap<Pid, Running>);

#[derive(Debug)]
struct Running {
    slot: u32,
    user: String,
}

impl Sessions {
    /// Starts the session of a client; the slot is shared with its gate until
    /// that ends. A client that gets none is told 37.
    pub fn start(&mut self, registry: &mut Registry, around: &Around<'_>, admission: Admission) {
        let Admission { slot, login, gate } = admission;
        let Around { generation, sandbox, shared } = *around;
        let (Some((peer, key)), Some(nowhere)) =
            (registry.connection(slot), generation.nowhere.as_ref())
        else {
            return;
        };
        let refuse = |reason: &str| {
            log::warn!("login refused peer={peer} user={} reason=\"{reason}\"", login.name);
            let _ = gate.try_send(&[Status::LoginFailed.code()], &[]);
        };
        let running = self.0.values().filter(|session| session.user == login.name).count();
        if login.max_sessions.is_some_and(|max| running >= max as usize) {
            return refuse("too many sessions of this user");
        }
        let card = Card {
            peer,
            slot,
            process_key: key_text(key),
            user: login.name.clone(),
            rights: login.rights,
            rate: login.rate,
            quota: Quota::none(),
        };
        let usher = Usher {
            gate: &gate,
            nowhere,
            root: &generation.root,
            home: &login.home,
            identity: &login.identity,
            after_login: generation.multi_user,
            jail: generation.jail,
            sandbox,
            settings: generation.settings.clone(),
            records: shared.records,
            counters: shared.limits.map(|limits| (shared.usage, limits)),
            card,
        };
        let daemon = getpid();
        let forked = fork(|| {
            let mapped = shared.map(slot);
            finish("session", mapped.and_then(|page| usher::run(usher, page, daemon)))
        });
        match forked {
            Ok(pid) => {
                registry.share(slot);
                self.0.insert(pid, Running { slot, user: login.name });
            }
            Err(e) => refuse(&e.to_string()),
        }
    }

    /// Takes note that a process has ended; its slot, if it was a session.
    pub fn ended(&mut self, pid: Pid, killed: Option<Signal>) -> Option<u32> {
        let session = self.0.remove(&pid)?;
        if let Some(signal) = killed {
            log::error!("session killed pid={pid} signal={signal}");
        }
        Some(session.slot)
    }

    /// Sends all of them a signal.
    pub fn signal_all(&self, signal: Signal) {
        for pid in self.0.keys() {
            let _ = kill(*pid, signal);
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
