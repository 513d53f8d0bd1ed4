//! The root: one directory handle beneath which the kernel resolves every
//! path (`openat2` with `RESOLVE_BENEATH` and `RESOLVE_NO_MAGICLINKS`). This
//! module never checks path strings, and leaves no time between check and use:
//! a path that would lead outside fails in the kernel, with `EXDEV`.
//!
//! Links are followed while they stay beneath the root. An absolute link is
//! refused even when its target is inside, because the kernel can't know that.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::path::{Policy, RootPath};

/// How often to retry a resolution that renames elsewhere in the system made
/// uncertain (`EAGAIN`).
const TRIES: usize = 64;

/// How often to look again for a file that another machine has replaced meanwhile: on NFS
/// what was found by its name is stale then (`ESTALE`).
const LOOKS: usize = 8;

/// The most links followed in the last place of a path, as in the kernel.
const MAX_LINKS: usize = 40;

/// A directory handle and everything beneath it.
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
    policy: Policy,
}

/// An entry and its parent directory, for calls that make, rename or remove
/// it.
#[derive(Debug)]
pub struct Entry {
    /// The directory.
    pub directory: OwnedFd,
    /// The name in it.
    pub name: Vec<u8>,
}

impl Entry {
    /// The name as the system takes it.
    pub fn name(&self) -> &OsStr {
        OsStr::from_bytes(&self.name)
    }

    /// The entry itself; of a link not its target.
    pub fn stat(&self) -> Result<Stat, Errno> {
        rustix::fs::statat(&self.directory, self.name(), AtFlags::SYMLINK_NOFOLLOW)
    }
}

impl Root {
    /// The handle of the directory.
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Opens the directory that is to be the root.
    pub fn open(path: &std::path::Path) -> Result<Root, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Root {
            directory: rustix::fs::open(path, flags, Mode::empty())?,
            policy: Policy::NONE,
        })
    }

    /// The root behind a directory handle.
    pub fn from_handle(directory: OwnedFd) -> Root {
        Root {
            directory,
            policy: Policy::NONE,
        }
    }

    /// The same with a protocol's rules on names.
    pub fn with_policy(self, policy: Policy) -> Root {
        Root { policy, ..self }
    }

    /// Its rules on names.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The directory handle.
    pub fn handle(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Opens a path. Links are followed, except to names that are the server's
    /// own.
    ///
    /// # Errors
    /// `EXDEV` when the path leads out of the root or to such a name, else the
    /// system's.
    pub fn open_at(&self, path: &RootPath, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        while_stale(|| self.open_once(path, flags, mode))
    }

    fn open_once(&self, path: &RootPath, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let open = |flags| open_beneath(self.handle(), path.as_os_str(), flags, mode);
        if flags.contains(OFlags::DIRECTORY) {
            return open(flags);
        }
        match open(flags | OFlags::NOFOLLOW) {
            Err(Errno::LOOP) => {}
            Ok(opened) if flags.contains(OFlags::PATH) && is_link(&opened)? => {}
            other => return other,
        }
        match self.final_entry(path) {
            Ok(entry) => {
                let flags = flags | OFlags::NOFOLLOW;
                open_beneath(entry.directory.as_fd(), entry.name(), flags, mode)
            }
            // Perhaps a link to `a/` or `a/..`, which have no name of their own.
            Err(Errno::XDEV) => open(flags | OFlags::DIRECTORY).map_err(|e| match e {
                Errno::NOTDIR => Errno::XDEV,
                e => e,
            }),
            Err(e) => Err(e),
        }
    }

    /// Opens a directory for reading its entries and for calls beneath it.
    ///
    /// # Errors
    /// As [`Root::open_at`]; `ENOTDIR` when it is none.
    pub fn open_dir(&self, path: &RootPath) -> Result<OwnedFd, Errno> {
        self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
    }

    /// What a path leads to, links followed.
    ///
    /// # Errors
    /// As [`Root::open_at`]; `ENOTDIR` for `a/` where `a` is a file.
    pub fn stat(&self, path: &RootPath) -> Result<Stat, Errno> {
        let directory = if path.names_directory() {
            OFlags::DIRECTORY
        } else {
            OFlags::empty()
        };
        while_stale(|| {
            rustix::fs::fstat(self.open_at(path, OFlags::PATH | directory, Mode::empty())?)
        })
    }

    /// The entry of a path in its directory; a link in the last place is the
    /// entry itself.
    ///
    /// # Errors
    /// `EINVAL` for the root, which has no parent; else as
    /// [`Root::open_at`].
    pub fn entry(&self, path: &RootPath) -> Result<Entry, Errno> {
        let name = path.name().ok_or(Errno::INVAL)?.to_vec();
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        Ok(Entry {
            directory: self.open_at(&path.parent(), flags, Mode::empty())?,
            name,
        })
    }

    /// As [`Root::entry`], but no directory of the path may be a link.
    ///
    /// # Errors
    /// As [`Root::entry`]; `ELOOP` for a link.
    pub fn entry_without_links(&self, path: &RootPath) -> Result<Entry, Errno> {
        let name = path.name().ok_or(Errno::INVAL)?.to_vec();
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let parent = path.parent();
        let way = parent.as_os_str();
        Ok(Entry {
            directory: open_resolved(
                self.handle(),
                way,
                flags,
                Mode::empty(),
                ResolveFlags::NO_SYMLINKS,
            )?,
            name,
        })
    }

    /// The entry a path leads to after the links in its last place: where a
    /// new file must appear so that a reader of the path sees it.
    ///
    /// # Errors
    /// `EXDEV` when a link leads out of the root, is absolute, or names what
    /// is the server's own; `ELOOP` after too many of them, else as
    /// [`Root::entry`].
    pub fn final_entry(&self, path: &RootPath) -> Result<Entry, Errno> {
        let mut entry = self.entry(path)?;
        let mut way = path.parent().as_os_str().as_bytes().to_vec();
        for _ in 0..MAX_LINKS {
            let target = match rustix::fs::readlinkat(&entry.directory, entry.name(), Vec::new()) {
                Ok(target) => target.into_bytes(),
                Err(Errno::INVAL | Errno::NOENT) => return Ok(entry),
                Err(e) => return Err(e),
            };
            let cut = target
                .iter()
                .rposition(|c| *c == b'/')
                .map_or(0, |at| at + 1);
            let name = &target[cut..];
            let odd = matches!(name, b"" | b"." | b"..");
            if target.starts_with(b"/") || odd || self.policy.hides(name) {
                return Err(Errno::XDEV);
            }
            // The kernel walks the whole way again from the root, so that a
            // `..` of the link can't leave it.
            way.push(b'/');
            way.extend_from_slice(&target[..cut]);
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let directory =
                open_beneath(self.handle(), OsStr::from_bytes(&way), flags, Mode::empty())?;
            entry = Entry {
                directory,
                name: name.to_vec(),
            };
        }
        Err(Errno::LOOP)
    }
}

/// Does something again while a file is replaced on another machine.
pub(super) fn while_stale<T>(mut work: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    for _ in 1..LOOKS {
        match work() {
            Err(Errno::STALE) => {}
            other => return other,
        }
    }
    work()
}

fn is_link(handle: &OwnedFd) -> Result<bool, Errno> {
    let mode = rustix::fs::fstat(handle)?.st_mode;
    Ok(rustix::fs::FileType::from_raw_mode(mode).is_symlink())
}

/// Opens a path beneath any directory handle, resolved by the kernel.
///
/// # Errors
/// `EXDEV` when the path leads out of the directory, else the system's.
pub fn open_beneath(
    directory: BorrowedFd<'_>,
    path: &OsStr,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    open_resolved(directory, path, flags, mode, ResolveFlags::empty())
}

/// The same with further rules on what is on the way.
fn open_resolved(
    directory: BorrowedFd<'_>,
    path: &OsStr,
    flags: OFlags,
    mode: Mode,
    rules: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let mut flags = flags | OFlags::CLOEXEC;
    if !flags.contains(OFlags::PATH) {
        flags |= OFlags::NOCTTY;
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | rules;
    let mut result = Err(Errno::AGAIN);
    for _ in 0..TRIES {
        result = rustix::fs::openat2(directory, path, flags, mode, resolve);
        if !matches!(result, Err(Errno::AGAIN | Errno::INTR)) {
            break;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    const POLICY: Policy = Policy {
        hidden: &[b"jail.key"],
        hidden_beginning: None,
        kept_ending: None,
    };

    fn path(text: &str) -> RootPath {
        RootPath::parse(text.as_bytes(), &POLICY).expect("allowed")
    }

    fn tree() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().expect("tempdir");
        let top = dir.path().join("root");
        fs::create_dir_all(top.join("a/b")).expect("mkdir");
        fs::write(dir.path().join("outside"), "no").expect("write");
        fs::write(top.join("a/f"), "yes").expect("write");
        symlink("../a/f", top.join("a/inner")).expect("link");
        symlink("b/../inner", top.join("a/twice")).expect("link");
        symlink("../../outside", top.join("a/outer")).expect("link");
        symlink("/etc/passwd", top.join("absolute")).expect("link");
        symlink("loop", top.join("loop")).expect("link");
        symlink("new", top.join("dangling")).expect("link");
        symlink("a/", top.join("slash")).expect("link");
        fs::write(top.join("jail.key"), "token").expect("write");
        symlink("../jail.key", top.join("a/token")).expect("link");
        symlink("a/token", top.join("token")).expect("link");
        let root = Root::open(&top).expect("root").with_policy(POLICY);
        (dir, root)
    }

    #[test]
    fn links_are_followed_only_beneath_the_root() {
        let (_dir, root) = tree();
        assert_eq!(root.stat(&path("a/twice")).expect("stat").st_size, 3);
        for outside in ["a/outer", "absolute"] {
            assert_eq!(
                root.stat(&path(outside)).err(),
                Some(Errno::XDEV),
                "{outside}"
            );
        }
        assert_eq!(root.stat(&path("loop")).err(), Some(Errno::LOOP));
        assert_eq!(root.stat(&path("dangling")).err(), Some(Errno::NOENT));
        assert!(root.stat(&path("slash")).is_ok());
    }

    #[test]
    fn no_link_leads_to_the_servers_own_files() {
        let (_dir, root) = tree();
        for way in ["token", "a/token"] {
            assert_eq!(root.stat(&path(way)).err(), Some(Errno::XDEV), "{way}");
            let opened = root.open_at(&path(way), OFlags::RDONLY, Mode::empty());
            assert!(opened.is_err(), "{way}");
            assert_eq!(
                root.final_entry(&path(way)).err(),
                Some(Errno::XDEV),
                "{way}"
            );
        }
    }

    #[test]
    fn the_final_entry_is_behind_the_links_and_never_outside() {
        let (_dir, root) = tree();
        assert_eq!(
            root.final_entry(&path("a/twice")).expect("entry").name,
            b"f"
        );
        assert_eq!(
            root.final_entry(&path("dangling")).expect("entry").name,
            b"new"
        );
        assert_eq!(root.final_entry(&path("a/outer")).err(), Some(Errno::XDEV));
        assert_eq!(root.final_entry(&path("absolute")).err(), Some(Errno::XDEV));
        assert_eq!(root.final_entry(&path("loop")).err(), Some(Errno::LOOP));
    }
}
