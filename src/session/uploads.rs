//! What a session reports of files that have arrived whole, before it answers the
//! client: so a client that has its answer has a job for its file, as long as the
//! process lives that keeps the jobs (`on_upload`).

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;

use crate::ipc::Pipe;
use crate::ipc::channel::Channel;
use crate::ipc::codec::codec;
use crate::store::RootPath;
use crate::store::path::is_upload_part;

/// A session's report.
#[derive(Debug)]
pub(crate) enum Report {
    /// Its root, before it has a client, and never again.
    Root(OwnedFd),
    /// A file that is whole, by its path from there.
    Arrived(Vec<u8>),
}

codec!(enum Report { 1 => Root(directory), 2 => Arrived(path) });

/// A session's end, or nothing where nobody wants to know.
#[derive(Debug, Default)]
pub struct Uploads {
    reports: Option<Pipe<Report, ()>>,
    is_lost: Cell<bool>,
}

impl Uploads {
    /// For a session with this root, which has no client yet.
    ///
    /// # Errors
    /// When nobody takes its reports.
    pub fn begin(reports: Option<OwnedFd>, root: &OwnedFd) -> io::Result<Uploads> {
        let reports = reports.map(|handle| Pipe::from(Channel::from_handle(handle)));
        if let Some(reports) = &reports {
            reports.send(&Report::Root(root.as_fd().try_clone_to_owned()?))?;
        }
        Ok(Uploads {
            reports,
            is_lost: Cell::new(false),
        })
    }

    /// Reports a file, unless it is a part of one.
    ///
    /// # Errors
    /// `EPIPE` when nobody takes reports any more: the client must not be told that
    /// all is well, and the session is to end.
    pub fn arrived(&self, path: &RootPath) -> Result<(), Errno> {
        let Some(reports) = &self.reports else {
            return Ok(());
        };
        if path.name().is_none_or(is_upload_part) {
            return Ok(());
        }
        let sent = reports.send(&Report::Arrived(path.as_bytes().to_vec()));
        sent.map_err(|e| {
            log::error!(path:%, error:% = e; "no job for an upload");
            self.is_lost.set(true);
            Errno::PIPE
        })
    }

    /// Whether a report could not be sent.
    pub fn is_lost(&self) -> bool {
        self.is_lost.get()
    }
}
