//! What has happened in a change of the book, for the figures and the audit log, which
//! get it once the change is on disk.

use std::io;

use super::figures::{FAILED, HEALS, PASSED, Publisher, REFUSED};
use crate::hub::wire::{Name, User, Value};
use crate::ipc::Pipe;
use crate::session::audit::{Outcome, Record};

/// Something that has happened.
#[derive(Debug)]
pub(super) enum Event {
    /// A copy was made in place of another one.
    Healed {
        owner: User,
        name: Name,
        size: u64,
        old: User,
        new: User,
    },
    /// A keeper has shown that it has a file.
    Passed,
    /// A keeper has not.
    Failed {
        holder: User,
        name: Name,
        why: &'static str,
    },
    /// An owner has deleted a file that may do so in a window alone.
    Pruned { owner: User, name: Name },
    /// A request was refused.
    Refused,
}

impl Event {
    fn figure(&self) -> Option<usize> {
        Some(match self {
            Event::Healed { .. } => HEALS,
            Event::Passed => PASSED,
            Event::Failed { .. } => FAILED,
            Event::Refused => REFUSED,
            Event::Pruned { .. } => return None,
        })
    }

    fn record(&self) -> Option<Record> {
        Some(match self {
            Event::Healed {
                owner,
                name,
                size,
                old,
                new,
            } => Record {
                path: name.text().into_bytes(),
                other: format!("{} to {}", old.as_str(), new.as_str()).into_bytes(),
                bytes: *size,
                ..Record::of("HEAL", owner.as_str())
            },
            Event::Failed { holder, name, why } => Record {
                path: name.text().into_bytes(),
                other: why.as_bytes().to_vec(),
                outcome: Outcome::Failed(None),
                ..Record::of("AUDIT", holder.as_str())
            },
            Event::Pruned { owner, name } => Record {
                path: name.text().into_bytes(),
                ..Record::of("PRUNE", owner.as_str())
            },
            Event::Passed | Event::Refused => return None,
        })
    }

    /// Counts it, and reports it to the auditor, if there is one.
    ///
    /// # Errors
    /// When the auditor is gone.
    pub(super) fn report(
        &self,
        figures: &Publisher,
        auditor: Option<&Pipe<Record, ()>>,
    ) -> io::Result<()> {
        if let Some(figure) = self.figure() {
            figures.count(figure);
        }
        match auditor.zip(self.record()) {
            Some((auditor, record)) => auditor.send(&record),
            None => Ok(()),
        }
    }
}
