//! A file that arrives whole: readers see the old one or the new one, never
//! a part; a writer that dies leaves the old one as it was.

use rustix::fs::{Access, AtFlags, Stat};
use rustix::io::Errno;

use super::behind::WriteBehind;
use super::part::{PartFile, Taken, is_directory, is_file};
use super::path::RootPath;
use super::quota::{Quota, Reservation};
use super::root::{Entry, Root};

/// An upload in progress.
#[derive(Debug)]
pub struct Upload {
    part: PartFile,
    target: Entry,
    replace: bool,
    length: u64,
    behind: WriteBehind,
    quota: Quota,
    taken: Reservation,
}

/// Why an upload can't begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UploadError {
    /// The name is a directory's.
    #[error("a directory")]
    Directory,
    /// The name exists and may not be replaced.
    #[error("exists")]
    Exists,
    /// The name is that of a device, pipe or socket.
    #[error("not a regular file")]
    Special,
    /// The system's error.
    #[error(transparent)]
    System(#[from] Errno),
}

impl Upload {
    /// Begins a file at `path`. If the path ends in a link, the link is kept and
    /// the file appears where it leads. With `replace` an old file is replaced and its
    /// permission bits kept, provided this process may write it.
    ///
    /// # Errors
    /// Why not. Nothing has changed then.
    pub fn begin(
        root: &Root,
        path: &RootPath,
        replace: bool,
        mode: u32,
        quota: Quota,
    ) -> Result<Upload, UploadError> {
        if path.is_root() || path.names_directory() {
            return Err(if replace {
                UploadError::Directory
            } else {
                UploadError::Exists
            });
        }
        let target = root.final_entry(path)?;
        let old = match target.stat() {
            Ok(stat) => Some(check_old(&target, &stat, replace)?),
            Err(Errno::NOENT) => None,
            Err(e) => return Err(e.into()),
        };
        let part = PartFile::create(&target, mode)?;
        if let Some(mode) = old {
            part.set_mode(mode)?;
        }
        let taken = quota.reserve(0)?;
        let behind = WriteBehind::new(0, false);
        Ok(Upload {
            part,
            target,
            replace,
            length: 0,
            behind,
            quota,
            taken,
        })
    }

    /// Starts writing to disk early, if the bytes must be there at the end.
    pub fn with_write_behind(mut self, wanted: bool) -> Upload {
        self.behind = WriteBehind::new(0, wanted);
        self
    }

    /// Appends data. All of it is stored, or an error comes back.
    pub fn write(&mut self, mut data: &[u8]) -> Result<(), Errno> {
        self.taken.grow(data.len() as u64)?;
        while !data.is_empty() {
            match rustix::io::pwrite(self.part.file(), data, self.length) {
                Ok(0) => return Err(Errno::IO),
                Ok(n) => {
                    self.length += n as u64;
                    data = &data[n..];
                }
                Err(Errno::INTR) => {}
                Err(e) => return Err(e),
            }
        }
        self.behind.wrote(self.part.file(), self.length);
        Ok(())
    }

    /// Lets the file appear. With `sync`, bytes and name are on disk first.
    ///
    /// # Errors
    /// `EEXIST` when a file of that name was made during the upload and may not be
    /// replaced, else the system's. The old file is then unchanged.
    pub fn commit(self, sync: bool) -> Result<(), Errno> {
        let on = if self.replace {
            Taken::Replace(&self.quota)
        } else {
            Taken::Refuse
        };
        self.part.publish(self.target.name(), on, sync)?;
        self.taken.keep();
        Ok(())
    }
}

/// Checks that an old file may be replaced and returns its permission bits.
fn check_old(target: &Entry, stat: &Stat, replace: bool) -> Result<u32, UploadError> {
    if !replace {
        return Err(UploadError::Exists);
    }
    if is_directory(stat) {
        return Err(UploadError::Directory);
    }
    if !is_file(stat) {
        return Err(UploadError::Special);
    }
    let flags = AtFlags::EACCESS | AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::accessat(&target.directory, target.name(), Access::WRITE_OK, flags)?;
    Ok(stat.st_mode & 0o777)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Policy;
    use std::fs;

    fn path(text: &str) -> RootPath {
        RootPath::parse(text.as_bytes(), &Policy::NONE).expect("allowed")
    }

    #[test]
    fn an_upload_is_seen_when_it_is_whole_and_never_after_a_failure() {
        let dir = tempfile::tempdir().expect("tempdir");
        let root = Root::open(dir.path()).expect("root");
        fs::write(dir.path().join("f"), "old").expect("write");
        let mut upload =
            Upload::begin(&root, &path("f"), true, 0o644, Quota::none()).expect("begin");
        upload.write(b"new").expect("write");
        assert_eq!(fs::read(dir.path().join("f")).expect("read"), b"old");
        drop(upload);
        assert_eq!(fs::read_dir(dir.path()).expect("dir").count(), 1);
        let mut upload =
            Upload::begin(&root, &path("f"), true, 0o644, Quota::none()).expect("begin");
        upload.write(b"new").expect("write");
        upload.commit(true).expect("commit");
        assert_eq!(fs::read(dir.path().join("f")).expect("read"), b"new");
        assert_eq!(fs::read_dir(dir.path()).expect("dir").count(), 1);
    }

    #[test]
    fn an_upload_that_goes_to_disk_meanwhile_is_as_whole() {
        let dir = tempfile::tempdir().expect("tempdir");
        let root = Root::open(dir.path()).expect("root");
        let begun = Upload::begin(&root, &path("f"), false, 0o644, Quota::none());
        let mut upload = begun.expect("begin").with_write_behind(true);
        let content: Vec<u8> = (0..20_000_000_u32).map(|i| (i >> 7) as u8).collect();
        for piece in content.chunks(300_000) {
            upload.write(piece).expect("write");
        }
        upload.commit(true).expect("commit");
        assert!(fs::read(dir.path().join("f")).expect("read") == content);
    }

    #[test]
    fn a_name_taken_meanwhile_is_kept() {
        let dir = tempfile::tempdir().expect("tempdir");
        let root = Root::open(dir.path()).expect("root");
        let upload = Upload::begin(&root, &path("f"), false, 0o644, Quota::none()).expect("begin");
        fs::write(dir.path().join("f"), "theirs").expect("write");
        assert_eq!(upload.commit(false), Err(Errno::EXIST));
        assert_eq!(fs::read(dir.path().join("f")).expect("read"), b"theirs");
        assert_eq!(fs::read_dir(dir.path()).expect("dir").count(), 1);
    }
}
