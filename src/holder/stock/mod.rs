//! The stock: the process that has the store, the holder's key and the tickets. It
//! sees no byte of the network: gates, sessions and the hub's line ask it, over
//! channels that the daemon has made, and it hands out files that are open.

mod asks;
mod errands;
pub mod figures;
mod gates;
pub mod message;
mod orders;
mod peers;
pub mod process;
mod slow;
mod space;
mod start;
#[cfg(test)]
mod tests;
mod tick;
mod tickets;

use std::collections::{HashMap, VecDeque};
use std::io;

use self::asks::{Asks, Replay};
use self::errands::Errands;
use self::message::{Pass, ToLine};
use self::peers::Peer;
use self::slow::Waiting;
use self::tickets::{Calls, Tickets};
use super::store::catalog::{Catalog, Filed, Owner, State, Time};
use super::store::shelves::{Shelf, Shelves};
use crate::hub::peer::signer::Keys;
use crate::hub::wire::request::Wrn;
use crate::hub::wire::{Code, Label, Line, Message, Request, User, Wrong};

/// The most files of one sort that a turn deals with.
const AT_ONCE: u32 = 64;

/// What the stock follows of the configuration and of the key file.
#[derive(Debug)]
pub struct Settings {
    /// The hub's name, which signatures have.
    pub hub: Label,
    /// Who keeps.
    pub user: User,
    /// Bytes that are kept for others at most.
    pub share: u64,
    /// Bytes of the disk that stay free.
    pub spare: u64,
    /// How long a file stays in the trash that its owner has not signed away, in
    /// seconds.
    pub trash: Time,
}

/// Why something is not done.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    /// The other end gets this code. Nothing has changed.
    #[error("refused: {}", .0.text())]
    Refused(Code),
    /// The database. The process ends, and begins again with what is on disk.
    #[error("stock.db: {0}")]
    Sql(#[from] rusqlite::Error),
    /// The disk.
    #[error("store: {0}")]
    Io(#[from] io::Error),
    /// The disk with the files is not there. The process ends, says nothing about files,
    /// and looks again later.
    #[error(
        "holder.store: the disk with the files is not mounted: mount it at store/files there, or \
         remove store/stock.db if they are lost for good"
    )]
    NotMounted,
}

impl Trouble {
    /// Whether the process can't go on.
    fn is_fatal(&self) -> bool {
        matches!(self, Trouble::Sql(_) | Trouble::NotMounted)
    }
}

impl From<Code> for Trouble {
    fn from(code: Code) -> Trouble {
        Trouble::Refused(code)
    }
}

impl From<openssl::error::ErrorStack> for Trouble {
    fn from(e: openssl::error::ErrorStack) -> Trouble {
        Trouble::Io(e.into())
    }
}

type Result<T, E = Trouble> = std::result::Result<T, E>;

/// What it knows, and what it has to send.
#[derive(Debug)]
struct Stock {
    settings: Settings,
    keys: Keys,
    catalog: Catalog,
    shelves: Shelves,
    tickets: Tickets,
    /// Peers that do not reach us.
    calls: Calls,
    /// Peers that gates have let in, until their sessions begin.
    passes: HashMap<Pass, (Peer, Time)>,
    /// Peers that have sessions, by the numbers of these.
    peers: HashMap<u64, Peer>,
    /// Bytes in the store, and those of them that may go at once.
    held: u64,
    loose: u64,
    /// This machine's time, and how far the hub's clock is ahead of it.
    now: Time,
    ahead: Time,
    /// Whether the hub hears us.
    is_online: bool,
    /// What goes to the hub.
    to_hub: Vec<ToLine>,
    /// What the hub is asked.
    asks: Asks,
    /// How far the hub has heard of all files, if it wants to.
    replay: Option<Replay>,
    /// Files that go to other holders, and come from them.
    errands: Errands,
    /// What the slow thread is to do.
    slow: VecDeque<Waiting>,
    /// Files that could not be opened.
    lost: Vec<(Owner, Filed)>,
    /// Sessions that are to end.
    stopped: Vec<u64>,
}

impl Stock {
    fn new(settings: Settings, keys: Keys, catalog: Catalog, shelves: Shelves) -> Stock {
        Stock {
            settings,
            keys,
            catalog,
            shelves,
            tickets: Tickets::default(),
            calls: Calls::default(),
            passes: HashMap::new(),
            peers: HashMap::new(),
            held: 0,
            loose: 0,
            now: jiff::Timestamp::now().as_second(),
            ahead: 0,
            is_online: false,
            to_hub: Vec::new(),
            asks: Asks::default(),
            replay: None,
            errands: Errands::default(),
            slow: VecDeque::new(),
            lost: Vec::new(),
            stopped: Vec::new(),
        }
    }

    /// Does something whole: what it has written goes when it fails.
    fn whole<T>(&mut self, body: impl FnOnce(&mut Stock) -> Result<T>) -> Result<T> {
        self.catalog.begin_part()?;
        let result = body(self);
        self.catalog.end_part(result.is_ok())?;
        result
    }

    /// The time of the hub's clock.
    fn hub_time(&self) -> u64 {
        u64::try_from(self.now + self.ahead).unwrap_or(0)
    }

    /// Where a file lies.
    fn shelf(file: &Filed) -> Shelf {
        match file.until {
            Some(_) => Shelf::Trash,
            None => Shelf::Live,
        }
    }

    /// Sends the hub a notice.
    fn notify(&mut self, notice: impl Into<Request>) {
        let message = Message::Request(notice.into());
        self.to_hub.push(ToLine::Line(Line { id: None, message }));
    }

    /// Takes note that a file can't be read, or is another. The hub hears of it with
    /// the others, and heals it.
    fn give_up(&mut self, owner: &Owner, file: &Filed, state: State) -> Result<()> {
        let (user, name) = (owner.user.as_str(), file.name);
        let reason = match state {
            State::Missing => Wrong::Missing,
            _ => Wrong::Corrupt,
        };
        log::error!(owner = user, name:? = name, reason = reason.word(); "file lost");
        self.leaves(file);
        Ok(self.catalog.scrubbed(owner.id, name, state, self.now)?)
    }

    /// Warns the hub of files that are lost.
    fn warn(&mut self) -> Result<()> {
        if !self.is_online {
            return Ok(());
        }
        for file in self.catalog.unwarned(AT_ONCE)? {
            let owner = self.catalog.owner_of(file.owner)?;
            self.catalog.reported(owner.id, file.name)?;
            let reason = match file.state {
                State::Missing => Wrong::Missing,
                _ => Wrong::Corrupt,
            };
            self.notify(Wrn {
                reason: Some(reason),
                name: Some(file.name),
                ..Wrn::new(owner.user)
            });
        }
        Ok(())
    }
}
