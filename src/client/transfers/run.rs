//! What all parts of one run of transfers share: the way to the server, the
//! options, who is told, and the sum of what was done.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::line::Line;
use super::local::Target;
use super::names::{join, part_name};
use super::requests::{data_of, request};
use super::{Failure, Options, Summary};
use crate::client::access::Access;
use crate::client::error::{ClientError, Result};
use crate::client::observe::{Deed, Event, Note, Observer};
use crate::client::transfer::BUFFER;
use crate::tf::status::Status;
use crate::tf::wire::Pace;

/// A run of transfers.
pub(super) struct Run<'r> {
    pub(super) access: &'r Access,
    pub(super) options: &'r Options,
    observer: &'r dyn Observer,
    pub(super) pace: Option<Pace>,
    summary: Mutex<Summary>,
    next_file: AtomicUsize,
    direct: AtomicBool,
    spare: AtomicBool,
}

/// A file of a run: how it is told of.
#[derive(Clone, Debug)]
pub(super) struct Id {
    pub(super) number: usize,
    /// Its remote path.
    pub(super) name: Vec<u8>,
    /// What a mirror does with it, and its path there.
    pub(super) deed: Option<(Deed, Vec<u8>)>,
}

impl<'r> Run<'r> {
    pub(super) fn new(
        access: &'r Access,
        options: &'r Options,
        observer: &'r dyn Observer,
    ) -> Run<'r> {
        Run {
            access,
            options,
            observer,
            pace: options.limit.map(Pace::new),
            summary: Mutex::default(),
            next_file: AtomicUsize::new(0),
            direct: AtomicBool::new(false),
            spare: AtomicBool::new(false),
        }
    }

    /// Whether the account may only add: then a part could take no place, and
    /// files are sent under their own names.
    pub(super) fn direct(&self) -> bool {
        self.direct.load(Ordering::Relaxed)
    }

    /// Finds that out by deleting what is not there.
    ///
    /// # Errors
    /// That the server asks for an account or a jail first, or the connection
    /// is lost.
    pub(super) fn find_rights(&self, line: &mut Line<'_>, directory: &[u8]) -> Result<()> {
        let asked = request("DEL", &join(directory, &part_name(&[b"nothing"], b"")));
        let reply = line.steadily(|connection, _| connection.request(&asked))?;
        let refusal = data_of(&asked, &reply).err();
        let status = refusal.as_ref().and_then(ClientError::status);
        self.direct
            .store(status == Some(Status::AccessDenied), Ordering::Relaxed);
        match (status, refusal) {
            // Else SUP were refused by a message where a code is awaited.
            (Some(Status::BeforeLogin | Status::BeforeJail), Some(e)) => Err(e),
            _ => Ok(()),
        }
    }

    /// The handle by which the files of a tree are opened; `None` where links
    /// are followed.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn top(&self, path: &Path) -> Result<Option<Arc<Target>>> {
        match self.options.follow {
            true => Ok(None),
            false => Target::open(path).map(|top| Some(Arc::new(top))),
        }
    }

    /// Whether one more connection than the lines that work may be opened.
    pub(super) fn may_open_another(&self) -> bool {
        self.spare.load(Ordering::Relaxed)
    }

    /// Says so.
    pub(super) fn allow_another(&self, may: bool) {
        self.spare.store(may, Ordering::Relaxed);
    }

    pub(super) fn tell(&self, event: &Event<'_>) {
        self.observer.tell(event);
    }

    /// A number for a file.
    pub(super) fn id(&self, name: Vec<u8>) -> Id {
        Id {
            number: self.next_file.fetch_add(1, Ordering::Relaxed),
            name,
            deed: None,
        }
    }

    /// Whether to go on.
    ///
    /// # Errors
    /// `Interrupted` when the user asked to stop.
    pub(super) fn go_on(&self) -> Result<()> {
        match self.access.target.cancel.is_cancelled() {
            true => Err(ClientError::Interrupted),
            false => Ok(()),
        }
    }

    /// The bytes of a frame: fewer where a low rate would make long ones
    /// stutter.
    pub(super) fn frame(&self) -> usize {
        let tenth = self.options.limit.map_or(BUFFER as u64, |rate| rate / 10);
        tenth.clamp(4096, BUFFER as u64) as usize
    }

    /// A file is in its place.
    pub(super) fn done(&self, id: &Id, size: u64) {
        self.sum(|summary| {
            summary.files += 1;
            summary.bytes += size;
        });
        if let Some((deed, name)) = &id.deed {
            self.tell(&Event::Mirror { deed: *deed, name });
        }
        self.tell(&Event::Done {
            file: id.number,
            name: &id.name,
            size,
        });
    }

    /// A file could not be moved.
    pub(super) fn failed(&self, id: &Id, error: ClientError) {
        self.fail(Some(id.number), &id.name, error);
    }

    /// Another entry could not be moved.
    pub(super) fn failed_entry(&self, name: &[u8], error: ClientError) {
        self.fail(None, name, error);
    }

    fn fail(&self, file: Option<usize>, name: &[u8], error: ClientError) {
        self.tell(&Event::Failed {
            file,
            name,
            error: &error,
        });
        self.sum(|summary| {
            summary.failures.push(Failure {
                name: name.to_vec(),
                error,
            })
        });
    }

    /// Whether anything has failed so far.
    pub(super) fn has_failed(&self) -> bool {
        let mut failed = false;
        self.sum(|summary| failed = !summary.failures.is_empty());
        failed
    }

    /// Something a user should know of an entry.
    pub(super) fn note(&self, name: &[u8], what: Note) {
        if matches!(what, Note::Link | Note::Special) {
            self.sum(|summary| summary.left_out += 1);
        }
        self.tell(&Event::Note { name, what });
    }

    pub(super) fn sum(&self, change: impl FnOnce(&mut Summary)) {
        change(&mut self.summary.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn into_summary(self) -> Summary {
        self.summary
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
