//! Opening files that decide what root does: every link on the way must belong
//! to root or to the calling user. A link planted by another user could lead to
//! any file of the system.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use zeroize::Zeroizing;

/// The most links in one path, as in the kernel.
const MAX_LINKS: usize = 40;

/// Opens a file with these flags and, if it is new, this mode.
pub fn open(path: &Path, flags: OFlags, mode: Mode) -> io::Result<File> {
    let (directory, name) = resolve(path)?;
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(
        directory, name, flags, mode,
    )?))
}

/// Opens a file for reading, without waiting for a pipe's writer.
pub fn open_to_read(path: &Path) -> io::Result<File> {
    open(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())
}

/// Opens a log for appending, and makes it if it is missing. Refuses a link or a
/// file that another user could have put in its place.
pub fn open_log(path: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NONBLOCK;
    ours(open(path, flags, Mode::RUSR | Mode::WUSR)?)
}

/// Whether [`open_log`] could open a log; does not make one.
pub fn check_log(path: &Path) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NONBLOCK;
    match open(path, flags, Mode::empty()).and_then(ours) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let parent = path
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty());
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            open(parent.unwrap_or(Path::new(".")), flags, Mode::empty())?;
            Ok(())
        }
        other => other.map(drop),
    }
}

/// Refuses a log that another user has put there.
fn ours(log: File) -> io::Result<File> {
    if !log.metadata()?.is_file() || !is_ours(&log)? {
        return Err(io::Error::other("not owned by root: remove it"));
    }
    Ok(log)
}

/// Whether an open file belongs to root or to the calling user.
pub fn is_ours(file: &File) -> io::Result<bool> {
    Ok(is_our_uid(file.metadata()?.uid()))
}

/// Whether only root and the calling user may change an open file.
pub fn is_ours_to_change(file: &File) -> io::Result<bool> {
    let metadata = file.metadata()?;
    Ok(is_our_uid(metadata.uid()) && metadata.mode() & 0o022 == 0)
}

/// Whether a uid is root's or that of the calling user.
pub fn is_our_uid(uid: u32) -> bool {
    uid == 0 || uid == nix::unistd::geteuid().as_raw()
}

/// The directory that a path ends in, and the name in it, which isn't a link.
fn resolve(path: &Path) -> io::Result<(OwnedFd, OsString)> {
    let mut directory = start(path)?;
    let mut waiting = names(path);
    let mut links = 0;
    while let Some(name) = waiting.pop() {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let entry = match rustix::fs::openat(&directory, &name, flags, Mode::empty()) {
            Err(Errno::NOENT) if waiting.is_empty() => return Ok((directory, name)),
            other => other?,
        };
        let stat = rustix::fs::fstat(&entry)?;
        if FileType::from_raw_mode(stat.st_mode).is_symlink() {
            let target = rustix::fs::readlinkat(&entry, "", Vec::new())?.into_bytes();
            let target = OsString::from_vec(target);
            links += 1;
            if links > MAX_LINKS {
                return Err(Errno::LOOP.into());
            }
            if !is_our_uid(stat.st_uid) {
                return Err(foreign(&name, stat.st_uid));
            }
            if target.as_bytes().starts_with(b"/") {
                directory = start(Path::new(&target))?;
            }
            waiting.extend(names(Path::new(&target)));
        } else if waiting.is_empty() {
            return Ok((directory, name));
        } else {
            directory = entry;
        }
    }
    Ok((directory, OsString::from(".")))
}

fn foreign(name: &OsStr, uid: u32) -> io::Error {
    io::Error::other(format!(
        "{} is a link that belongs to uid {uid}: chown -h root it, or remove it",
        name.display()
    ))
}

/// Where a path begins.
fn start(path: &Path) -> io::Result<OwnedFd> {
    let from = if path.is_absolute() { "/" } else { "." };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(from, flags, Mode::empty())?)
}

/// The names of a path, last to first.
fn names(path: &Path) -> Vec<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(_) | Component::ParentDir => Some(component.as_os_str().to_owned()),
        _ => None,
    };
    path.components().rev().filter_map(name).collect()
}

/// Reads a file that only its owner may read, root or the user who asks.
/// Fails with what is wrong with it and what to do.
pub fn read_secret(path: &Path, remedy: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let shown = path.display();
    let mut file = open_to_read(path).map_err(|e| format!("{shown}: {e}: {remedy}"))?;
    if !is_ours(&file).map_err(|e| format!("{shown}: {e}"))? {
        return Err(format!(
            "{shown} belongs to somebody else: chown root {shown}"
        ));
    }
    let metadata = file.metadata().map_err(|e| format!("{shown}: {e}"))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(format!(
            "{shown}: others may read the key: chmod 600 {shown}"
        ));
    }
    let mut pem = Zeroizing::new(Vec::with_capacity(
        usize::try_from(metadata.len()).unwrap_or(0),
    ));
    file.read_to_end(&mut pem)
        .map_err(|e| format!("{shown}: {e}"))?;
    Ok(pem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    #[test]
    fn own_links_are_followed_wherever_they_lead() {
        let dir = tempfile::tempdir().expect("directory");
        fs::create_dir_all(dir.path().join("a/b")).expect("mkdir");
        fs::write(dir.path().join("a/f"), "read").expect("write");
        symlink("../f", dir.path().join("a/b/relative")).expect("link");
        symlink(dir.path().join("a/b"), dir.path().join("way")).expect("link");
        symlink("loop", dir.path().join("loop")).expect("link");
        for way in [
            "a/f",
            "a/b/../f",
            "a/b/relative",
            "way/relative",
            "way/../f",
        ] {
            let mut text = String::new();
            let file = open_to_read(&dir.path().join(way));
            file.expect(way).read_to_string(&mut text).expect("read");
            assert_eq!(text, "read", "{way}");
        }
        let error = |way| {
            open_to_read(&dir.path().join(way))
                .expect_err(way)
                .raw_os_error()
        };
        assert_eq!(error("loop"), Some(libc::ELOOP));
        assert_eq!(error("a/none"), Some(libc::ENOENT));
        assert_eq!(error("a/f/x"), Some(libc::ENOTDIR));
    }
}
