//! What a file takes from the one that it replaces or is a copy of, besides its
//! bytes: mode, group, access list and attributes. What it can't take narrows its
//! mode: it never lets in anybody whom the other has kept out.

use std::ffi::{OsStr, OsString};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Gid, Mode, Stat, XattrFlags, fchmod, fchown, fgetxattr, flistxattr, fsetxattr};
use rustix::io::Errno;

/// The access list of a file (acl(5)).
const LIST: &str = "system.posix_acl_access";

/// How the names of attributes begin that a user gives.
const OF_USERS: &[u8] = b"user.";

/// The longest attribute, and the longest list of their names, in bytes.
const MAX_ATTRIBUTE: usize = 64 * 1024;

/// Gives a new file what an old one has; of its mode these bits.
///
/// # Errors
/// The system's, when even the narrow mode can't be set.
pub fn inherit(
    old: BorrowedFd<'_>,
    stat: &Stat,
    new: BorrowedFd<'_>,
    bits: u32,
) -> Result<(), Errno> {
    let mut mode = stat.st_mode & bits;
    let has_group = take_group(stat, new)?;
    if !has_group {
        mode &= !0o2070;
    }
    // Behind the change of the group, which clears bits.
    fchmod(new, Mode::from_raw_mode(mode))?;
    let listed = match read(old, OsStr::new(LIST)) {
        Ok(Some(list)) if has_group => fsetxattr(new, LIST, &list, XattrFlags::empty()),
        Ok(Some(_)) => Err(Errno::PERM),
        Ok(None) => remove_list(new, mode),
        Err(e) => Err(e),
    };
    if listed.is_err() {
        // Without its list the other bits may let in whom the list kept out.
        mode &= !0o2077;
        remove_list(new, mode)?;
        fchmod(new, Mode::from_raw_mode(mode))?;
    }
    copy_attributes(old, new);
    Ok(())
}

/// Gives a new file the group of an old one; whether it has that now.
///
/// # Errors
/// When the new one can't be looked at.
pub fn take_group(stat: &Stat, new: BorrowedFd<'_>) -> Result<bool, Errno> {
    let group = Some(Gid::from_raw(stat.st_gid));
    Ok(rustix::fs::fstat(new)?.st_gid == stat.st_gid || fchown(new, None, group).is_ok())
}

/// An attribute; `None` if the file has none of that name.
fn read(file: BorrowedFd<'_>, name: &OsStr) -> Result<Option<Vec<u8>>, Errno> {
    let mut value = vec![0; 1024];
    loop {
        match fgetxattr(file, name, &mut *value) {
            Ok(len) => {
                value.truncate(len);
                return Ok(Some(value));
            }
            Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(None),
            Err(Errno::RANGE) if value.len() < MAX_ATTRIBUTE => value.resize(MAX_ATTRIBUTE, 0),
            Err(e) => return Err(e),
        }
    }
}

/// Removes the list that a new file has from its directory: one that says what the
/// mode says is none.
fn remove_list(file: BorrowedFd<'_>, mode: u32) -> Result<(), Errno> {
    if read(file, OsStr::new(LIST))?.is_none() {
        return Ok(());
    }
    const VERSION: u32 = 2;
    let mut list = VERSION.to_le_bytes().to_vec();
    for (tag, shift) in [(0x01_u8, 6), (0x04, 3), (0x20, 0)] {
        let permissions = (mode >> shift & 0o7).to_le_bytes();
        list.extend_from_slice(&[tag, 0, permissions[0], 0, 0xff, 0xff, 0xff, 0xff]);
    }
    fsetxattr(file, LIST, &list, XattrFlags::empty())
}

/// Copies the attributes of users, as far as that is possible: they protect
/// nothing.
pub fn copy_attributes(old: BorrowedFd<'_>, new: BorrowedFd<'_>) {
    for (name, value) in user_attributes(old) {
        let _ = fsetxattr(new, name, &value, XattrFlags::empty());
    }
}

/// The attributes of users that a file has, in the order of their names, as far as
/// they can be read.
pub fn user_attributes(file: BorrowedFd<'_>) -> Vec<(OsString, Vec<u8>)> {
    let mut names = vec![0; 1024];
    let mut listed = flistxattr(file, &mut *names);
    if listed == Err(Errno::RANGE) {
        names.resize(MAX_ATTRIBUTE, 0);
        listed = flistxattr(file, &mut *names);
    }
    names.truncate(listed.unwrap_or(0));
    let mut names: Vec<_> = names.split(|c| *c == 0).collect();
    names.sort_unstable();
    let of_users = names.into_iter().filter(|name| name.starts_with(OF_USERS));
    let value = |name: &[u8]| {
        let name = OsStr::from_bytes(name);
        Some((name.to_owned(), read(file, name).ok()??))
    };
    of_users.filter_map(value).collect()
}
