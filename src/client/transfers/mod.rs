//! Many files, whole trees and large files, there and back: as fast as the
//! link, resumed when the connection is lost, checked by SHA-256, and in place
//! only when they are whole.

mod download;
mod download_many;
mod existing;
mod keep;
mod local;
mod mirror;
mod pump;
mod queue;
mod requests;
mod resume;
mod run;
mod scan;
mod single;
mod trees;
mod upload;
mod upload_many;

use std::cell::RefCell;

use run::{Line, Run};

use super::access::Access;
use super::connect::Connection;
use super::error::{ClientError, Result};
use super::observe::Observer;
pub use keep::Keep;
pub use mirror::{Direction, Mirror};
pub use scan::filter::{Backup, Existing, Filter, Rule};
pub use single::Progress;

/// How files are moved.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many connections are used at the most: for many files, or for the
    /// ranges of a large one. `None` is one, and a second to put hundreds of files
    /// and for the digest of a large one.
    pub streams: Option<usize>,
    /// How often in a row a lost connection is reopened, without anything
    /// moved, before it is given up.
    pub retries: u32,
    /// Whether SHA-256 digests are compared.
    pub verify: bool,
    /// The most bytes a second, over all connections.
    pub limit: Option<u64>,
    /// Whether directories are moved with all their entries; they are refused
    /// if not.
    pub recursive: bool,
    /// Whether local symbolic links are followed; they are left out if not.
    pub follow: bool,
    /// What is left out.
    pub filter: Filter,
    /// What becomes of files that exist at the target.
    pub existing: Existing,
    /// What is kept besides names and bytes.
    pub keep: Keep,
    /// A name for this machine: others that send to the same place use another.
    pub machine: Vec<u8>,
}

impl Default for Options {
    /// Verified; ten attempts to reconnect, over more than a minute.
    fn default() -> Options {
        Options {
            streams: None,
            retries: 10,
            verify: true,
            limit: None,
            recursive: false,
            follow: false,
            filter: Filter::default(),
            existing: Existing::default(),
            keep: Keep::default(),
            machine: rustix::system::uname().nodename().to_bytes().to_vec(),
        }
    }
}

/// What a run did.
#[derive(Debug, Default)]
pub struct Summary {
    /// Files that are in their places.
    pub files: u64,
    /// Their bytes together.
    pub bytes: u64,
    /// Files that were the same already.
    pub unchanged: u64,
    /// Entries deleted.
    pub deleted: u64,
    /// Files left as they are, by a size or because one exists.
    pub skipped: u64,
    /// Links, pipes and devices: they are not moved.
    pub left_out: u64,
    /// Directories left out, because listings would hide them on the server.
    pub secure: u64,
    /// Files that were not tried, as the run ended before.
    pub left: u64,
    /// What could not be moved, and why.
    pub failures: Vec<Failure>,
}

/// An entry that could not be moved.
#[derive(Debug)]
pub struct Failure {
    /// Its remote path, or a local one where it has none.
    pub name: Vec<u8>,
    /// Why.
    pub error: ClientError,
}

/// Moves files between this machine and a server.
///
/// ```no_run
/// use tfd::client::{Access, Options, PublicKey, Target, Transfers};
///
/// let key = PublicKey::from_file("public.pem".as_ref())?;
/// let target = Target::new("files.example.org:10345", key, "the hash");
/// let access = Access::new(target);
/// let options = Options { recursive: true, streams: Some(4), ..Options::default() };
/// let transfers = Transfers::new(&access, &options, &());
/// let summary = transfers.put(&["reports".into()], "2026/")?;
/// println!("{} files, {} failed", summary.files, summary.failures.len());
/// transfers.get(&["2026/reports".to_owned()], "copy".as_ref())?;
/// # Ok::<(), tfd::client::ClientError>(())
/// ```
pub struct Transfers<'t> {
    access: &'t Access,
    options: &'t Options,
    observer: &'t dyn Observer,
    open: RefCell<Option<Connection>>,
}

impl<'t> Transfers<'t> {
    /// Nothing is connected yet. `()` is an observer that ignores all events.
    /// Cancelling the target of `access` interrupts a run; what is under way
    /// stays to be resumed.
    #[must_use]
    pub fn new(
        access: &'t Access,
        options: &'t Options,
        observer: &'t dyn Observer,
    ) -> Transfers<'t> {
        Transfers {
            access,
            options,
            observer,
            open: RefCell::default(),
        }
    }

    /// Begins with a connection that is open already.
    #[must_use]
    pub fn with(self, connection: Option<Connection>) -> Transfers<'t> {
        Transfers {
            open: RefCell::new(connection),
            ..self
        }
    }

    /// The connection, if one is still open.
    #[must_use]
    pub fn into_connection(self) -> Option<Connection> {
        self.open.into_inner()
    }

    /// Does the work of a run with its lines, none or the first of them open; the
    /// first connection stays open.
    fn run(&self, work: impl FnOnce(&Run<'_>, &mut [Line<'_>]) -> Result<()>) -> Result<Summary> {
        let run = Run::new(self.access, self.options, self.observer);
        let mut lines: Vec<_> = (0..self.options.streams.unwrap_or(2).max(1))
            .map(|_| Line::new(&run))
            .collect();
        if let Some(connection) = self.open.take() {
            lines[0].take(connection);
        }
        work(&run, &mut lines)?;
        let mut lines = lines.into_iter();
        self.open
            .replace(lines.next().and_then(Line::into_connection));
        lines.for_each(Line::end);
        Ok(run.into_summary())
    }
}
