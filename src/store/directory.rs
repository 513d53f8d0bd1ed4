//! Making directories, with all that are missing on the way.

use rustix::fs::Mode;
use rustix::io::Errno;

use super::part::sync_directory;
use super::path::RootPath;
use super::root::Root;

/// How directories are made.
#[derive(Clone, Copy, Debug)]
pub struct Making<'a> {
    /// Beneath which root.
    pub root: &'a Root,
    /// With which mode, before the umask.
    pub mode: u32,
    /// Whether their names must be on disk.
    pub sync: bool,
}

impl Making<'_> {
    /// Makes one.
    ///
    /// # Errors
    /// `EEXIST` for a name that is taken, else the system's.
    pub fn one(&self, path: &RootPath) -> Result<(), Errno> {
        if path.is_root() {
            return Err(Errno::EXIST);
        }
        let entry = self.root.entry(path)?;
        let mode = Mode::from_raw_mode(self.mode);
        rustix::fs::mkdirat(&entry.directory, entry.name(), mode)?;
        if self.sync {
            sync_directory(&entry.directory)?;
        }
        Ok(())
    }

    /// Makes those that a path lacks; what exists is left as it is. `check` has to
    /// agree to each before it is made. What was made before a failure stays.
    ///
    /// # Errors
    /// What `check` says, else the system's.
    pub fn all<E: From<Errno>>(
        &self,
        path: &RootPath,
        mut check: impl FnMut(&RootPath) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.is_there(path)? {
            return Ok(());
        }
        let mut way = RootPath::root();
        for name in path.names() {
            way = way.join(name);
            if self.is_there(&way)? {
                continue;
            }
            check(&way)?;
            match self.one(&way) {
                // Another session has just made it.
                Err(Errno::EXIST) if self.is_there(&way)? => {}
                made => made?,
            }
        }
        Ok(())
    }

    /// Whether anything has this path.
    fn is_there(&self, path: &RootPath) -> Result<bool, Errno> {
        match self.root.stat(path) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(e) => Err(e),
        }
    }
}
