//! A local tree, read without following links unless the user asked for that.

use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Found, Tree, is_excluded, is_secure};
use crate::client::error::{ClientError, Result};
use crate::client::observe::Note;
use crate::client::transfers::keep::local::xattrs_at;
use crate::client::transfers::requests::{join, last};
use crate::client::transfers::run::Run;

/// Reads a local tree, to send it or to compare it. What can't be read is reported, and the rest read.
///
/// # Errors
/// When its top can't be read, or `Interrupted`.
pub(in crate::client::transfers) fn scan_local(
    run: &Run<'_>,
    top: &Path,
    is_source: bool,
) -> Result<Tree> {
    let metadata = fs::metadata(top).map_err(|e| ClientError::local(top, e))?;
    let mut scan = Scan {
        run,
        is_source,
        tree: Tree {
            is_detailed: true,
            top: Some(Found::local(&metadata)),
            ..Tree::empty()
        },
        above: vec![(metadata.dev(), metadata.ino())],
    };
    scan.read_directory(top, b"")?;
    Ok(scan.tree)
}

/// A local tree that is being read.
struct Scan<'s> {
    run: &'s Run<'s>,
    /// Whether it is sent, and not only compared.
    is_source: bool,
    tree: Tree,
    /// Device and inode of the directories that lead to the current one.
    above: Vec<(u64, u64)>,
}

impl Scan<'_> {
    fn read_directory(&mut self, directory: &Path, relative: &[u8]) -> Result<()> {
        self.run.go_on()?;
        let error = |e| ClientError::local(directory, e);
        for entry in fs::read_dir(directory).map_err(error)? {
            let entry = entry.map_err(error)?;
            let name = join(relative, entry.file_name().as_bytes());
            let path = entry.path();
            let metadata = match self.run.options.follow {
                true => fs::metadata(&path),
                false => entry.metadata(),
            };
            let is_directory = metadata.as_ref().is_ok_and(Metadata::is_dir);
            if is_excluded(&self.run.options.filter, &name, is_directory) {
                self.tree.leave_out(&name);
                continue;
            }
            match metadata {
                Ok(metadata) => self.take(&path, name, &metadata)?,
                Err(e) => self.fail(&name, ClientError::local(&path, e)),
            }
        }
        Ok(())
    }

    fn take(&mut self, path: &Path, name: Vec<u8>, metadata: &Metadata) -> Result<()> {
        let identity = (metadata.dev(), metadata.ino());
        let keep = self.run.options.keep;
        if metadata.is_symlink() && keep.links {
            match fs::read_link(path) {
                Ok(target) => self.insert(name, Found::link(metadata, target)),
                Err(e) => self.fail(&name, ClientError::local(path, e)),
            }
        } else if metadata.is_symlink() || metadata.is_dir() && self.above.contains(&identity) {
            self.leave_out(&name, Note::Link);
        } else if metadata.is_dir() && self.is_left_out_as_secure(&name) {
            self.tree.leave_out(&name);
            if self.is_source {
                self.run.note(&name, Note::Secure);
            }
        } else if metadata.is_dir() {
            self.add(path, name.clone(), metadata);
            self.above.push(identity);
            let read = self.read_directory(path, &name);
            self.above.pop();
            match read {
                Err(e @ ClientError::Local { .. }) => self.fail(&name, e),
                other => other?,
            }
        } else if metadata.is_file() {
            self.add(path, name, metadata);
        } else {
            self.leave_out(&name, Note::Special);
        }
        Ok(())
    }

    fn is_left_out_as_secure(&self, name: &[u8]) -> bool {
        is_secure(last(name)) && !self.run.options.filter.include_secure
    }

    /// Adds a file or directory.
    fn add(&mut self, path: &Path, name: Vec<u8>, metadata: &Metadata) {
        let mut found = Found::local(metadata);
        if self.run.options.keep.xattrs {
            match xattrs_at(path) {
                Ok(xattrs) => found.xattrs = xattrs,
                Err(e) => return self.fail(&name, ClientError::local(path, e.into())),
            }
        }
        self.insert(name, found);
    }

    fn insert(&mut self, name: Vec<u8>, found: Found) {
        self.tree.entries.insert(name, found);
    }

    fn leave_out(&mut self, name: &[u8], why: Note) {
        self.tree.leave_out(name);
        self.run.note(name, why);
    }

    fn fail(&mut self, name: &[u8], error: ClientError) {
        self.tree.fail(self.run, name, error);
    }
}
