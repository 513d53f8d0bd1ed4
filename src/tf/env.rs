//! What a command works on: the root, the session's lock name, its key and
//! the settings.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::io::Errno;

pub use super::command::lock::Lock;
pub use super::command::xs1::Files;
pub use super::extension::digests::Digests;
pub use super::locks::Locks;
use super::notify::Listed;
use super::settings::Settings;
use super::status::{Reply, Status};
use super::wire::Wire;
use crate::config::Durability;
use crate::session::audit::Subject;
use crate::session::jail::JAIL_FILE;
use crate::session::shortage::LastShortage;
use crate::session::uploads::Uploads;
use crate::store::copy::Rules;
use crate::store::directory::Making;
use crate::store::part::sync_directory;
use crate::store::path::is_upload_part;
use crate::store::upload::{Upload, UploadError};
use crate::store::{Policy, Quota, Root, RootPath};
use crate::users::{Names, Rights};

/// The file in which the public C server keeps who may use a directory, and the
/// beginning of the names of its copies. The identities in it are its secrets.
pub const SECUREFS_FILE: &[u8] = b".securefs_metadata";

/// Names beneath the root: the token files of jails and the lists of the C server
/// are hidden, and secure directories stay (document, "Secured Directory").
pub const POLICY: Policy = Policy {
    hidden: &[JAIL_FILE],
    hidden_beginning: Some(SECUREFS_FILE),
    kept_ending: Some(b".sd"),
};

/// A pool of servers.
pub trait Pool: std::fmt::Debug {
    /// The tuple of the server that a client is to take (TLB); `None` when
    /// there is none.
    fn tuple(&self) -> Option<Vec<u8>>;
}

/// The surroundings of a command.
#[derive(Debug)]
pub struct Env {
    /// The root of this session.
    pub root: Root,
    /// Its lock name (LOCK).
    pub lock: Lock,
    /// Its unguessable key (PROCKEY).
    pub process_key: String,
    /// The names CHOWN knows.
    pub names: Rc<Names>,
    /// What the configuration says.
    pub settings: Settings,
    /// What the session may do to files, beside what the system lets it.
    pub rights: Rights,
    /// What it may store.
    pub quota: Quota,
    /// What there was no room for in the request under way, or the last.
    pub shortage: LastShortage,
    /// What the next upload is a part of, if the client has said that.
    pub target: Option<RootPath>,
    /// Has to know of each file that is whole.
    pub uploads: Uploads,
    /// Who knows which server a client is to take, if there is a pool.
    pub pool: Option<Box<dyn Pool>>,
    /// What STARTNTFY will watch, in the order of ADDNTFY.
    pub watches: Vec<Listed>,
    /// The files it has locked.
    pub locks: Locks,
    /// The files it has open (XS1).
    pub files: Files,
    /// The digests of files that it has just stored or sent.
    pub digests: Digests,
}

impl Env {
    /// Refuses when the directory an entry lives in is locked.
    ///
    /// # Errors
    /// `DirectoryLocked`.
    pub fn check_lock_around(&self, path: &RootPath) -> Result<(), Status> {
        self.check_lock_in(&path.parent())
    }

    /// Refuses when the directory itself is locked.
    ///
    /// # Errors
    /// `DirectoryLocked`.
    pub fn check_lock_in(&self, directory: &RootPath) -> Result<(), Status> {
        if self.lock.closes(&self.root, directory) {
            return Err(Status::DirectoryLocked);
        }
        Ok(())
    }

    /// Whether what is there may be replaced or written to.
    pub fn may_replace(&self) -> bool {
        self.rights != Rights::AppendOnly
    }

    /// Whether what is acknowledged must be on disk.
    pub fn sync(&self) -> bool {
        self.settings.durability == Durability::File
    }

    /// Lets an upload appear, with the session's lock on what it replaces.
    ///
    /// # Errors
    /// As [`Upload::commit`].
    pub fn publish(&mut self, upload: Upload) -> Result<(), Errno> {
        let sync = self.sync();
        let published = self.locks.publish(upload, sync);
        published.map_err(|e| self.note(e))
    }

    /// Reports that a file has arrived whole, if it has, before the client is told.
    ///
    /// # Errors
    /// When that can't be reported.
    pub fn arrived(&self, stored: Result<(), Errno>, path: &RootPath) -> Result<(), Errno> {
        stored.and_then(|()| self.uploads.arrived(path))
    }

    /// Takes note of an error that reports a lack of room, and returns it.
    pub fn note(&self, error: Errno) -> Errno {
        self.shortage.note(error, &self.quota)
    }

    /// The same for an upload that can't begin.
    pub fn note_upload(&self, error: UploadError) -> UploadError {
        if let UploadError::System(error) = error {
            self.note(error);
        }
        error
    }

    /// Names an upload by its target where the client has said that, with the part
    /// behind it. Holds for one upload.
    pub fn name_upload(&mut self, subject: &mut Subject) {
        let is_upload = matches!(subject.command, "PUT" | "PUTCAN" | "SUP" | "SNDFILE");
        if !is_upload {
            return;
        }
        let name = subject.path.rsplit(|c| *c == b'/').next();
        if let Some(target) = self.target.take()
            && name.is_some_and(is_upload_part)
        {
            let target = target.as_bytes().to_vec();
            subject.other = std::mem::replace(&mut subject.path, target);
        }
    }

    /// Sets how long the client may be silent, by the settings and its locks.
    ///
    /// # Errors
    /// What the system says of the socket.
    pub fn limit_silence(&self, wire: &mut Wire) -> std::io::Result<()> {
        let limits = [self.settings.idle_limit, self.locks.limit()];
        wire.link()
            .set_idle_limit(limits.into_iter().flatten().min())
    }

    /// How copies are made.
    pub fn copies(&self) -> Rules<'_> {
        Rules {
            policy: self.root.policy(),
            sync: self.sync(),
            quota: &self.quota,
            bits: self.settings.mode_bits,
        }
    }

    /// How directories are made.
    pub fn directories(&self) -> Making<'_> {
        Making {
            root: &self.root,
            mode: self.settings.directory_mode,
            sync: self.sync(),
        }
    }

    /// `OK` once a change of names in a directory is as durable as the
    /// settings ask.
    pub fn settle(&self, directory: &OwnedFd) -> Result<Reply, Errno> {
        if self.sync() {
            sync_directory(directory)?;
        }
        Ok(Reply::Ok)
    }
}

/// Writes a changed file to disk, if that is wanted before it is acknowledged.
///
/// # Errors
/// What the system says.
pub fn settle_file(file: BorrowedFd<'_>, wanted: bool) -> Result<(), Errno> {
    if wanted {
        rustix::fs::fdatasync(file)?;
    }
    Ok(())
}
