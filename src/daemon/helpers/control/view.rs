//! What a responder knows: the daemon's table of connections as it was when it was
//! forked, which of them last, and what their pages say now.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::daemon::registry::{Connection, Registry};
use crate::ipc::figures::Figure;
use crate::session::keys::ReadKeys;
use crate::session::slots::{Activity, Page};
use crate::store::usage::Usage;
use crate::sys::memory::for_reading;
use crate::users::Login;

/// The daemon's tables.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The connections, and what was counted.
    pub registry: &'a Registry,
    /// What goes on, for a responder that waits.
    pub live: Option<&'a Live>,
    /// How much is stored.
    pub usage: &'a Usage,
    /// The most bytes beneath the root.
    pub quota: Option<u64>,
    /// The accounts that clients log in to.
    pub logins: &'a [Login],
    /// What the file of blocked logins is next to, if there are logins.
    pub blocked: Option<&'a Path>,
    /// What services publish.
    pub published: &'a [Published],
    /// Whether the store that several servers share is reached, if there is one.
    pub shared: Option<bool>,
    /// The directory that clients see, if there is one.
    pub root: Option<&'a Path>,
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

/// What a service publishes.
#[derive(Debug)]
pub struct Published {
    /// What it is called.
    pub service: &'static str,
    /// Its figures.
    pub figures: Vec<(&'static Figure, u64)>,
}

/// What of the tables a responder sees change.
#[derive(Debug)]
pub struct Live {
    keys: ReadKeys,
    pages: HashMap<u32, Page>,
}

impl Live {
    /// What belongs to this table, for reading alone.
    pub fn of(registry: &Registry) -> io::Result<Live> {
        let keys = for_reading(registry.keys())?;
        let page =
            |(slot, of): (u32, &Connection)| Ok((slot, Page::from_handle(of.page.reader()?)));
        let pages = registry.all().into_iter().map(page);
        Ok(Live {
            keys: ReadKeys::map(keys.as_fd())?,
            pages: pages.collect::<io::Result<_>>()?,
        })
    }

    /// The descriptors.
    pub fn handles(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.pages.values().map(AsFd::as_fd)
    }
}

/// A connection at a moment.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Its slot.
    pub slot: u32,
    /// What the daemon knows of it.
    pub connection: &'a Connection,
    /// Whether the client is logged in.
    pub is_in: bool,
    /// What its process publishes.
    pub activity: Activity,
}

impl Entry<'_> {
    /// Bytes moved either way.
    pub(crate) fn moved(&self) -> u64 {
        self.activity.received.wrapping_add(self.activity.sent)
    }

    /// How long it has been there.
    pub(crate) fn age(&self) -> Duration {
        self.connection.since.elapsed()
    }
}

impl<'a> View<'a> {
    /// All connections that last, by slot.
    pub fn entries(&self) -> Vec<Entry<'a>> {
        let all = self.registry.all().into_iter();
        all.filter(|(slot, of)| self.lasts(*slot, of))
            .map(|(slot, connection)| self.entry(slot, connection))
            .collect()
    }

    fn entry(&self, slot: u32, connection: &'a Connection) -> Entry<'a> {
        let live = self.live.and_then(|live| live.pages.get(&slot));
        let page = live.unwrap_or(&connection.page);
        Entry {
            slot,
            connection,
            is_in: connection.is_in_by(page),
            activity: page.activity(),
        }
    }

    /// Whether a connection is still served: its key is taken from it at the end.
    pub fn lasts(&self, slot: u32, connection: &Connection) -> bool {
        let key = connection.arrived.key;
        self.live.is_none_or(|live| live.keys.fits(slot, key))
    }
}
