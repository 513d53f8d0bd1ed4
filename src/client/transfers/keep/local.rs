//! Attributes of local files: read with what is to be sent, and set on what has
//! come.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use crate::client::extension::{Attributes, Time, Xattr};

/// The extended attributes that any user may read and set.
const OF_USERS: &[u8] = b"user.";

/// The system's limit of one's value, and of the list of their names, in bytes.
const LONGEST: usize = 64 * 1024;

/// Sets attributes of an open file or directory, the time last.
///
/// # Errors
/// The system's, for the first that can't be set.
pub(in crate::client::transfers) fn apply(
    file: impl AsFd,
    attributes: &Attributes,
) -> rustix::io::Result<()> {
    if let Some((uid, gid)) = attributes.owner {
        rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    for (name, value) in &attributes.xattrs {
        match value {
            Some(value) => rustix::fs::fsetxattr(&file, name, value, XattrFlags::empty())?,
            None => match rustix::fs::fremovexattr(&file, name) {
                Err(Errno::NODATA) => {}
                other => other?,
            },
        }
    }
    if let Some(mode) = attributes.mode {
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
    }
    match attributes.modified {
        Some(time) => rustix::fs::futimens(&file, &times(time)),
        None => Ok(()),
    }
}

/// The argument that sets the time of the last change, and that of the last access
/// to now.
pub(in crate::client::transfers) fn times(modified: Time) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_NOW,
        },
        last_modification: Timespec {
            tv_sec: modified.seconds,
            tv_nsec: modified.nanoseconds.into(),
        },
    }
}

/// The extended attributes of an open file, sorted; none where the file system has
/// none.
pub(in crate::client::transfers) fn xattrs_of(file: &File) -> rustix::io::Result<Vec<Xattr>> {
    read_xattrs(
        |buffer| rustix::fs::flistxattr(file, buffer),
        |name, buffer| rustix::fs::fgetxattr(file, name, buffer),
    )
}

/// The same for what a path leads to, a link not followed.
pub(in crate::client::transfers) fn xattrs_at(path: &Path) -> rustix::io::Result<Vec<Xattr>> {
    read_xattrs(
        |buffer| rustix::fs::llistxattr(path, buffer),
        |name, buffer| rustix::fs::lgetxattr(path, name, buffer),
    )
}

fn read_xattrs(
    list: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    get: impl Fn(&[u8], &mut [u8]) -> rustix::io::Result<usize>,
) -> rustix::io::Result<Vec<Xattr>> {
    let mut buffer = vec![0; LONGEST];
    let names = match list(&mut buffer) {
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        length => buffer[..length?].to_vec(),
    };
    let mut found = Vec::new();
    let names = names.split(|c| *c == 0);
    for name in names.filter(|name| name.starts_with(OF_USERS)) {
        match get(name, &mut buffer) {
            // Removed meanwhile.
            Err(Errno::NODATA) => {}
            length => found.push((name.to_vec(), buffer[..length?].to_vec())),
        }
    }
    found.sort_unstable();
    Ok(found)
}
