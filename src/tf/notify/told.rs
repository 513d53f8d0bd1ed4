//! A file the client is told of: found just before, and deleted only if it
//! still is that file.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::store::RootPath;
use crate::tf::env::Env;
use crate::users::Rights;

/// A file and its name. The handle keeps its inode from being another's.
pub(super) struct Told {
    pub(super) name: Vec<u8>,
    file: OwnedFd,
}

impl Told {
    /// The entry of this name, if there is one that is neither directory nor
    /// link.
    pub(super) fn find(directory: &OwnedFd, name: &[u8]) -> Option<Told> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(directory, OsStr::from_bytes(name), flags, Mode::empty());
        let file = file.ok()?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&file).ok()?.st_mode);
        let is_one = !kind.is_dir() && !kind.is_symlink();
        is_one.then(|| Told {
            name: name.to_vec(),
            file,
        })
    }

    /// Deletes it from the directory it was found in.
    ///
    /// # Errors
    /// `EPERM` where the session may delete nothing, `ESTALE` when another
    /// file has its name now, else the system's.
    pub(super) fn delete(&self, env: &Env, path: &RootPath) -> Result<(), Errno> {
        if env.rights != Rights::Full {
            return Err(Errno::PERM);
        }
        let name = OsStr::from_bytes(&self.name);
        let directory = env.root.open_dir(path)?;
        env.quota
            .unlink_exactly(&directory, name, &rustix::fs::fstat(&self.file)?)?;
        env.settle(&directory).map(drop)
    }
}
