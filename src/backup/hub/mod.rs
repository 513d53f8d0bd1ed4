//! Keepers of a hub as the storage of a repository.

mod audit;
mod book;
mod books;
mod client;
mod emergency;
mod inventory;
mod join;
mod number;
mod peers;
mod port;
mod reading;
mod sending;
mod undelete;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use self::books::Books;
pub(crate) use self::books::KeeperAt;
use self::client::HubClient;
pub(super) use self::emergency::Emergency;
pub(crate) use self::join::{enrol, factor_of, is_known, user_of};
use self::reading::{Reading, wire_kind};
use self::sending::{Begun, Sending};
pub(crate) use self::undelete::{Undeleted, undelete};
use super::account::Account;
use super::keeper::{Kind, Name};
use super::keepers::{Access, Copies, Locks, Opens, Report, Sample};
use super::seed::Seed;
use super::{BackupError, Result};
use crate::hub::wire::{self, Kinds, Value};
use crate::text::{hex, reason};

/// How long a hub may be out of reach in the middle of a run, and of a restore.
const RUN: Duration = Duration::from_secs(3600);
const RESTORE: Duration = Duration::from_secs(60);

/// The files of an account at a hub. A run has a line of its own: lists and sources are
/// not to be had on it.
pub(super) struct Hub {
    reading: Arc<Reading>,
    sending: Arc<Sending>,
    books: Arc<Books>,
    report: Arc<Report>,
}

impl Hub {
    pub(super) fn open(account: &Account, seed: &Seed, report: Arc<Report>) -> Result<Hub> {
        let keys = Arc::new(seed.hub_keys()?);
        let client = |patience| {
            HubClient::new(
                account.clone(),
                Arc::clone(&keys),
                Arc::clone(&report),
                patience,
            )
        };
        let reading = client(RESTORE);
        reading.connect()?;
        let reading = Arc::new(Reading::new(reading));
        let sending = Arc::new(Sending::new(client(RUN), Arc::clone(&report)));
        let books = Books::new(
            seed.clone(),
            Arc::clone(&reading),
            Arc::clone(&sending),
            Arc::clone(&report),
        );
        Ok(Hub {
            reading,
            sending,
            books: Arc::new(books),
            report,
        })
    }
}

/// How an account stands.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Standing {
    pub(crate) hub: String,
    pub(crate) address: String,
    pub(crate) user: String,
    /// Files that are stored, and their bytes, each counted once.
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// Bytes of all copies, and those that are left.
    pub(crate) used: u64,
    pub(crate) left: u64,
    /// What the user's own keeper shares.
    pub(crate) share: u64,
}

/// Asks the hub how an account stands; and what it has to say besides.
pub(crate) fn standing(account: &Account, seed: &Seed) -> Result<(Standing, Vec<String>)> {
    let hub = Hub::open(account, seed, Arc::default())?;
    let files = hub.reading.list(Kinds::All).map_err(failed)?;
    let space = hub.reading.client().space();
    let standing = Standing {
        hub: account.hub().to_owned(),
        address: account.entrance.address.clone(),
        user: account.user().to_owned(),
        files: files.len() as u64,
        bytes: files.values().sum(),
        used: space.as_ref().and_then(|it| it.used).unwrap_or(0),
        left: space.as_ref().map_or(0, |it| it.size),
        share: space.as_ref().and_then(|it| it.share).unwrap_or(0),
    };
    Ok((standing, hub.report.take()))
}

/// The keepers of an account, by its books; and what the hub has to say besides.
pub(crate) fn keepers_of(account: &Account, seed: &Seed) -> Result<(Vec<KeeperAt>, Vec<String>)> {
    let hub = Hub::open(account, seed, Arc::default())?;
    Ok((hub.books.keepers()?, hub.report.take()))
}

fn wire_name(name: &Name) -> io::Result<wire::Name> {
    let missing = || io::Error::from(ErrorKind::InvalidInput);
    wire::Name::read(&name.digits).ok_or_else(missing)
}

impl Copies for Hub {
    fn list(&self, kind: Kind) -> io::Result<BTreeMap<String, u64>> {
        let files = self.reading.list(Kinds::Only(wire_kind(kind)))?;
        let entry = |(name, size): (wire::Name, u64)| (hex(&name.0), size);
        Ok(files.into_iter().map(entry).collect())
    }

    fn read(&self, name: &Name) -> io::Result<Bytes> {
        self.reading.read(wire_name(name)?)
    }

    fn read_at(&self, name: &Name, offset: u32, length: u32) -> io::Result<Bytes> {
        self.reading.read_at(wire_name(name)?, offset, length)
    }

    fn write(&self, name: &Name, bytes: &[Bytes]) -> io::Result<()> {
        let size = bytes.iter().map(|part| part.len() as u64).sum();
        let wire_name = wire_name(name)?;
        self.reading.has_come(wire_name, size);
        let written = self.sending.write(wire_name, wire_kind(name.kind), bytes);
        written.inspect_err(|_| self.report.give_up())
    }

    fn remove(&self, name: &Name) -> io::Result<()> {
        let kind = name.kind;
        let name = wire_name(name)?;
        let size = self.reading.size(name)?;
        if kind == Kind::Snapshot {
            self.books.drops(name);
        }
        self.sending.remove(name, size)
    }

    fn may_remove(&self) -> Result<()> {
        // The hub answers so of a file that nobody has, too.
        let mut nobodys = wire::Name([0; 32]);
        let drawn = getrandom::fill(&mut nobodys.0).map_err(io::Error::other);
        drawn
            .and_then(|()| self.sending.remove(nobodys, 0))
            .map_err(failed)
    }

    fn mend(&self, name: &Name) -> bool {
        wire_name(name).is_ok_and(|name| self.reading.mend(name))
    }

    fn verify(&self, lost: &mut Vec<String>) -> Result<u64> {
        audit::verify(&self.reading, &self.report, self.books.users()?, lost)
    }

    fn prove(&self, samples: &[Sample], opens: &Opens<'_>) {
        let keepers = self.sending.keepers().into_keys();
        audit::prove(&self.reading, &self.report, keepers, samples, opens);
    }

    fn is_far(&self) -> bool {
        true
    }

    fn lock(&self, access: Access) -> Result<Option<Box<dyn Locks>>> {
        if access == Access::Read {
            return Ok(Some(Box::new(Nothing)));
        }
        match self
            .sending
            .begin(access == Access::Remove)
            .map_err(failed)?
        {
            Begun::Closed => Ok(None),
            Begun::Open => Ok(Some(Box::new(Run {
                sending: Arc::clone(&self.sending),
                books: Arc::clone(&self.books),
            }))),
        }
    }

    fn may_be_new(&self) -> bool {
        true
    }

    fn location(&self) -> String {
        let account = self.reading.client().account();
        format!("hub:{}/{}", account.hub.as_str(), account.user.as_str())
    }
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "used as a function of an error"
)]
fn failed(error: io::Error) -> BackupError {
    BackupError::Failed(reason(&error))
}

/// What is removed stays in the keepers' trash for longer than a read takes.
struct Nothing;

impl Locks for Nothing {}

/// An open run, which is given up unless it is finished.
struct Run {
    sending: Arc<Sending>,
    books: Arc<Books>,
}

impl Locks for Run {
    fn finish(self: Box<Self>) -> Result<()> {
        self.books.renew()?;
        self.sending.finish().map_err(failed)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.sending.abort();
    }
}
