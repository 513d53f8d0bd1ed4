//! What a responder knows: the daemon's tables as they were when it was forked,
//! and the pages of the connections as they are now.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::daemon::registry::{Held, Registry};
use crate::daemon::sessions::Sessions;
use crate::ipc::tag::mark;
use crate::session::slots::{Doing, Slots};
use crate::store::usage::Usage;

/// The daemon's tables.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The connections, and what was counted.
    pub registry: &'a Registry,
    /// The users behind LOGIN or INJAIL.
    pub sessions: &'a Sessions,
    /// The user of all other sessions.
    pub shared_user: &'a str,
    /// The pages.
    pub slots: &'a Slots,
    /// How much is stored.
    pub usage: &'a Usage,
    /// The most bytes beneath the root.
    pub quota: Option<u64>,
    /// The most connections.
    pub limit: u32,
    /// The daemon's process.
    pub process: u32,
    /// When it was started.
    pub born: Instant,
    /// Whether it is stopping.
    pub stopping: bool,
    /// How many generations serve clients.
    pub generations: usize,
    /// The configuration's path.
    pub config: &'a Path,
    /// The addresses listened on.
    pub listening: &'a [SocketAddr],
}

/// A connection at a moment.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its slot.
    pub slot: u32,
    /// The client.
    pub peer: SocketAddr,
    /// How long it has been there.
    pub age: Duration,
    /// The user, if known.
    pub user: Option<String>,
    /// Whether the client is logged in.
    pub admitted: bool,
    /// The process that serves it.
    pub process: u64,
    /// The protocol it speaks: letters and digits.
    pub protocol: String,
    /// Bytes from the client.
    pub received: u64,
    /// Bytes to the client.
    pub sent: u64,
    /// The request in progress.
    pub doing: Option<Doing>,
}

impl Entry {
    /// Bytes moved either way.
    pub(crate) fn moved(&self) -> u64 {
        self.received.wrapping_add(self.sent)
    }
}

impl View<'_> {
    /// All connections still served, by slot.
    pub fn entries(&self) -> Vec<Entry> {
        self.registry
            .all()
            .into_iter()
            .filter_map(|held| self.entry(held))
            .collect()
    }

    fn entry(&self, held: Held) -> Option<Entry> {
        let Held {
            slot,
            peer,
            key,
            since,
        } = held;
        let page = self.slots.page(slot);
        if page.mark != mark(key) || page.process == 0 {
            return None;
        }
        let user = match self.sessions.user(slot) {
            Some(user) => Some(user),
            None => page.admitted.then_some(self.shared_user),
        };
        Some(Entry {
            slot,
            peer,
            age: since.elapsed(),
            user: user.map(str::to_owned),
            admitted: page.admitted,
            process: page.process,
            protocol: name(&page.protocol),
            received: page.received,
            sent: page.sent,
            doing: page.doing,
        })
    }

    /// Whether a connection is still served.
    pub fn lasts(&self, held: &Held) -> bool {
        let page = self.slots.page(held.slot);
        page.mark == mark(held.key) && page.process != 0
    }
}

/// The letters and digits of a name that a session has written.
fn name(bytes: &[u8]) -> String {
    let bytes = bytes.iter().filter(|byte| byte.is_ascii_alphanumeric());
    bytes.map(|byte| char::from(*byte)).collect()
}
