//! TFD_LINK: a symbolic link, or one more name of a file. A symbolic link is made
//! only if it leads to where its text says, beneath the root; where it leads a
//! session later is for the kernel to decide, as with every link.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, linkat, symlinkat, unlinkat};
use rustix::io::Errno;

use crate::store::part::{is_directory, is_file, part_name};
use crate::store::path::PATH_MAX;
use crate::store::{Entry, RootPath};
use crate::tf::command::fstat::missing_or_denied;
use crate::tf::env::{Env, POLICY};
use crate::tf::status::{Reply, Status};

/// A link that a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    target: Target,
    /// Only if the name is free.
    new: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    /// A text, and how many directories it leads up first.
    Symbolic(Vec<u8>, usize),
    Hard(RootPath),
}

impl Link {
    /// A symbolic link; `None` for a text that is absolute, goes up behind a name,
    /// or has a name of the server's own.
    pub fn symbolic(text: &[u8], new: bool) -> Option<Link> {
        let names = || {
            text.split(|c| *c == b'/')
                .filter(|name| !matches!(*name, b"" | b"."))
        };
        let up = names().take_while(|name| *name == b"..").count();
        let fine = |name: &[u8]| name != b".." && !POLICY.hides(name);
        let is_path = !text.is_empty() && text.len() < PATH_MAX && !text.contains(&0);
        let may_be = is_path && !text.starts_with(b"/") && names().skip(up).all(fine);
        let target = Target::Symbolic(text.to_vec(), up);
        may_be.then_some(Link { target, new })
    }

    /// One more name of the file of this path.
    pub fn hard(old: RootPath, new: bool) -> Link {
        let target = Target::Hard(old);
        Link { target, new }
    }

    /// What the client wrote.
    pub fn text(&self) -> &[u8] {
        match &self.target {
            Target::Symbolic(text, _) => text,
            Target::Hard(path) => path.as_bytes(),
        }
    }
}

/// Makes the link. What has the name is replaced, unless it is a directory.
///
/// # Errors
/// 30, 8, 1, 10, 9, 23, 12, 13, 202.
pub(crate) fn run(env: &Env, link: &Link, path: &RootPath) -> Result<Reply, Status> {
    env.check_lock_around(path)?;
    if path.is_root() {
        return Err(Status::IsDirectory);
    }
    let entry = match &link.target {
        Target::Symbolic(_, up) if *up > path.parent().names().count() => {
            return Err(Status::AccessDenied);
        }
        // Behind a link the text would lead from another place.
        Target::Symbolic(..) => env.root.entry_without_links(path),
        Target::Hard(_) => env.root.entry(path),
    };
    let entry = entry.map_err(|e| match missing_or_denied(e) {
        Status::FileMissing => Status::DirectoryMissing,
        status => status,
    })?;
    let old = match &link.target {
        Target::Symbolic(..) => None,
        Target::Hard(path) => Some(file_of(env, path)?),
    };
    let replace = env.may_replace() && !link.new;
    let make = |directory: BorrowedFd<'_>, name: &OsStr| match (&link.target, &old) {
        (Target::Hard(_), Some(old)) => linkat(
            &old.directory,
            old.name(),
            directory,
            name,
            AtFlags::empty(),
        ),
        _ => symlinkat(link.text(), directory, name),
    };
    match make(entry.directory.as_fd(), entry.name()) {
        Ok(()) => {}
        Err(Errno::EXIST) if replace => replace_by(env, &entry, old.as_ref(), make)?,
        Err(Errno::EXIST) => return Err(Status::FileExists),
        Err(e) => return Err(status(env.note(e))),
    }
    env.settle(&entry.directory).map_err(status)
}

/// The entry of a regular file itself.
fn file_of(env: &Env, path: &RootPath) -> Result<Entry, Status> {
    env.check_lock_around(path)?;
    if path.is_root() {
        return Err(Status::SourceNotFile);
    }
    let entry = env.root.entry(path).map_err(missing_or_denied)?;
    let stat = entry.stat().map_err(missing_or_denied)?;
    if is_file(&stat) {
        Ok(entry)
    } else {
        Err(Status::SourceNotFile)
    }
}

/// Makes the link under a name of its own and renames it.
fn replace_by(
    env: &Env,
    entry: &Entry,
    old: Option<&Entry>,
    make: impl Fn(BorrowedFd<'_>, &OsStr) -> Result<(), Errno>,
) -> Result<(), Status> {
    let taken = entry.stat().map_err(status)?;
    if is_directory(&taken) {
        return Err(Status::IsDirectory);
    }
    // The system leaves both names of one file as they are.
    if let Some(old) = old {
        let old = old.stat().map_err(status)?;
        if (old.st_dev, old.st_ino) == (taken.st_dev, taken.st_ino) {
            return Ok(());
        }
    }
    let directory = &entry.directory;
    let part = part_name().map_err(status)?;
    let part = OsStr::from_bytes(&part);
    make(directory.as_fd(), part).map_err(|e| status(env.note(e)))?;
    env.quota
        .replace(directory, part, directory, entry.name())
        .map_err(|e| {
            let _ = unlinkat(directory, part, AtFlags::empty());
            status(e)
        })
}

fn status(e: Errno) -> Status {
    match e {
        Errno::NOSPC | Errno::DQUOT => Status::QuotaExceeded,
        Errno::ACCESS | Errno::ROFS | Errno::XDEV => Status::AccessDenied,
        Errno::ISDIR => Status::IsDirectory,
        _ => Status::Link,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbolic_link_goes_up_in_front_of_its_names_only() {
        for (text, up) in [
            ("f", 0),
            ("a/b", 0),
            ("./a//b/", 0),
            ("../f", 1),
            ("./../../f", 2),
            ("..", 1),
            ("...", 0),
            ("a b\n", 0),
        ] {
            let link = Link::symbolic(text.as_bytes(), false).expect("a link");
            assert_eq!(link.target, Target::Symbolic(text.into(), up));
        }
        for text in [
            "",
            "/",
            "/etc",
            "a/..",
            "a/../b",
            "../a/../..",
            "jail.key",
            "a/.tfd-1.part",
        ] {
            assert_eq!(Link::symbolic(text.as_bytes(), false), None, "{text}");
        }
    }
}
