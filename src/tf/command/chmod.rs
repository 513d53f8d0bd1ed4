//! CHMOD (document, "CHMOD"): sets the permission bits, in octal, of a file
//! or directory, links followed.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Mode, OFlags, fsync};
use rustix::io::Errno;

use crate::store::Entry;
use crate::store::RootPath;
use crate::store::part::{is_directory, is_file};
use crate::tf::env::Env;
use crate::tf::status::{Reply, Status};

/// Sets the mode, octal from 0 to 7777, of the entry that the path leads to.
///
/// # Errors
/// 1, 9 or 41.
pub(crate) fn run(env: &Env, path: &RootPath, mode: &[u8]) -> Result<Reply, Status> {
    let mode = parse_mode(mode).ok_or(Status::ChangeMode)?;
    let mode = mode & Mode::from_raw_mode(env.settings.mode_bits);
    let changed = if path.is_root() {
        env.root.open_dir(path).and_then(|root| {
            rustix::fs::fchmod(&root, mode)?;
            if env.sync() { fsync(root) } else { Ok(()) }
        })
    } else {
        env.root.final_entry(path).and_then(|entry| {
            let file = env.sync().then(|| open_to_sync(&entry)).transpose()?;
            set_mode(&entry, mode)?;
            file.map_or(Ok(()), fsync)
        })
    };
    changed.map(|()| Reply::Ok).map_err(|e| match e {
        Errno::NOENT | Errno::NOTDIR => Status::FileMissing,
        Errno::XDEV | Errno::ACCESS => Status::AccessDenied,
        _ => Status::ChangeMode,
    })
}

/// An octal number from 0 to 7777.
pub(in crate::tf) fn parse_mode(text: &[u8]) -> Option<Mode> {
    let octal = text.len() <= 8 && text.iter().all(|c| (b'0'..=b'7').contains(c));
    let text = std::str::from_utf8(text).ok().filter(|_| octal)?;
    let bits = u32::from_str_radix(text, 8).ok()?;
    (bits <= 0o7777).then(|| Mode::from_raw_mode(bits))
}

/// Opens what is to be on disk with its new mode: a file or directory itself, else
/// its directory. It has to be open before, since the mode may close it to us.
pub(in crate::tf) fn open_to_sync(entry: &Entry) -> Result<OwnedFd, Errno> {
    let stat = entry.stat()?;
    let open = |name: &OsStr, flags| {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::openat(&entry.directory, name, flags, Mode::empty())
    };
    if is_file(&stat) || is_directory(&stat) {
        let file = open(entry.name(), OFlags::RDONLY);
        if let Ok(file) = file.or_else(|_| open(entry.name(), OFlags::WRONLY)) {
            return Ok(file);
        }
    }
    open(OsStr::new("."), OFlags::RDONLY | OFlags::DIRECTORY)
}

/// Sets the mode of an entry unless it is a link, even one put there just now.
pub(in crate::tf) fn set_mode(entry: &Entry, mode: Mode) -> Result<(), Errno> {
    let (directory, name) = (&entry.directory, entry.name());
    match rustix::fs::chmodat(directory, name, mode, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
        other => return other,
    }
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(directory, name, flags | OFlags::RDONLY, Mode::empty())
        .or_else(|_| rustix::fs::openat(directory, name, flags | OFlags::WRONLY, Mode::empty()));
    match opened {
        Ok(file) => rustix::fs::fchmod(file, mode),
        Err(Errno::NOENT) => Err(Errno::NOENT),
        Err(_) => Err(Errno::PERM),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal_and_nothing_else() {
        for (text, bits) in [("0", 0), ("644", 0o644), ("00755", 0o755), ("7777", 0o7777)] {
            assert_eq!(
                parse_mode(text.as_bytes()),
                Some(Mode::from_raw_mode(bits)),
                "{text}"
            );
        }
        for text in ["8", "10000", "-1", "+1", "0x1", "644 ", "abc", "777777777"] {
            assert_eq!(parse_mode(text.as_bytes()), None, "{text}");
        }
    }
}
