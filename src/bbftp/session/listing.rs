//! LIST and LIST_V2. Names that are hidden are in none of them.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Dir, FileType};
use rustix::io::Errno;

use super::env::{Env, POLICY};
use super::pattern::NamePattern;
use super::reply::Reply;
use crate::bbftp::request::{Named, resolve};
use crate::bbftp::wire::{Code, Entry, Kind, MAX_LISTING, encode_listing, encode_names};
use crate::store::wanted::check_entry;
use crate::store::{Root, RootPath};

/// LIST: the paths that match, sorted, written as the pattern is. Each part of the
/// pattern may have wildcards.
pub fn names(env: &mut Env, file: &Named) -> Reply {
    match matching(env, &file.text) {
        Ok(mut found) => {
            found.sort();
            let payload = encode_names(found.iter().map(Vec::as_slice));
            env.moved = payload.len() as u64;
            Reply::Message(Code::ListRepl, payload)
        }
        Err(e) => Reply::failed("Error during glob call", &file.text, e),
    }
}

/// A path that has matched so far, as it is written and what it leads to.
struct Found {
    text: Vec<u8>,
    path: RootPath,
}

fn matching(env: &Env, pattern: &[u8]) -> Result<Vec<Vec<u8>>, Errno> {
    let start = match pattern.first() {
        Some(b'/') => RootPath::root(),
        _ => env.directory.clone(),
    };
    let mut found = vec![Found {
        text: Vec::new(),
        path: start,
    }];
    for part in pattern.split_inclusive(|c| *c == b'/') {
        let name = part.strip_suffix(b"/").unwrap_or(part);
        let is_directory = name.len() < part.len();
        let mut next = Vec::new();
        let mut bytes = 0;
        for before in found {
            match_part(
                &env.root,
                &before,
                (name, is_directory),
                &mut |text, path| {
                    check_entry()?;
                    bytes += text.len() + 1;
                    next.push(Found { text, path });
                    match bytes > MAX_LISTING {
                        true => Err(Errno::OVERFLOW),
                        false => Ok(()),
                    }
                },
            )?;
        }
        found = next;
    }
    Ok(found.into_iter().map(|found| found.text).collect())
}

/// Finds what matches one part of a pattern, behind which a `/` may stand.
fn match_part(
    root: &Root,
    before: &Found,
    (name, is_directory): (&[u8], bool),
    find: &mut impl FnMut(Vec<u8>, RootPath) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let slash: &[u8] = if is_directory { b"/" } else { b"" };
    let written = |name: &[u8]| [&before.text, name, slash].concat();
    let is_there = |path: &RootPath| match is_directory || path.is_root() {
        true => root.open_dir(path).is_ok() || is_closed_directory(root, path),
        false => root.entry(path).and_then(|entry| entry.stat()).is_ok(),
    };
    let pattern = NamePattern::new(name);
    if matches!(name, b"" | b"." | b"..") || pattern.is_name() {
        let path = match name {
            b"" | b"." => before.path.clone(),
            b".." => before.path.parent(),
            name if POLICY.hides(name) => return Ok(()),
            name => before.path.join(name),
        };
        return match is_there(&path) {
            true => find(written(name), path),
            false => Ok(()),
        };
    }
    let Ok(directory) = root.open_dir(&before.path) else {
        return Ok(());
    };
    for entry in Dir::read_from(&directory)? {
        let Ok(entry) = entry else { break };
        let name = entry.file_name().to_bytes();
        if POLICY.hides(name) || !pattern.matches(name, false) {
            continue;
        }
        let path = match name {
            b"." => before.path.clone(),
            b".." => before.path.parent(),
            name => before.path.join(name),
        };
        let is_file = entry.file_type() == FileType::RegularFile;
        if !is_directory || !is_file && is_there(&path) {
            find(written(name), path)?;
        }
    }
    Ok(())
}

/// Whether it is a directory that can't be read.
fn is_closed_directory(root: &Root, path: &RootPath) -> bool {
    let stat = root.stat(path);
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir())
}

/// LIST_V2: the entries of one directory, in its order, whose names match the last
/// part of the pattern, `.` and `..` among them.
pub fn entries(env: &mut Env, file: &Named) -> Reply {
    let cut = file.text.iter().rposition(|c| *c == b'/');
    let (before, last) = file.text.split_at(cut.map_or(0, |at| at + 1));
    if last.is_empty() {
        let text = [b"No pattern behind the last / : ", &file.text[..]].concat();
        return Reply::no(text);
    }
    let around = match cut {
        Some(_) => resolve(before, &env.directory),
        None => Ok(env.directory.clone()),
    };
    let prefix: &[u8] = if before.is_empty() { b"./" } else { before };
    let listed = around
        .map_err(|_| Errno::ACCESS)
        .and_then(|around| env.root.open_dir(&around))
        .and_then(|directory| list(&directory, prefix, &NamePattern::new(last)));
    match listed {
        Ok(entries) => {
            let payload = encode_listing(&entries);
            env.moved = payload.len() as u64;
            Reply::Message(Code::ListReplV2, payload)
        }
        Err(e) => Reply::failed("Error listing", &file.text, e),
    }
}

fn list(directory: &OwnedFd, prefix: &[u8], pattern: &NamePattern) -> Result<Vec<Entry>, Errno> {
    let mut entries = Vec::new();
    let mut bytes = 0;
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if POLICY.hides(name) || !pattern.matches(name, true) {
            continue;
        }
        check_entry()?;
        let path = [prefix, name].concat();
        bytes += path.len() + 4;
        if bytes > MAX_LISTING {
            return Err(Errno::OVERFLOW);
        }
        let (is_link, kind) = kind_of(directory, name, entry.file_type());
        entries.push(Entry {
            path,
            is_link,
            kind,
        });
    }
    Ok(entries)
}

/// Whether an entry is a link, and what it is or leads to.
fn kind_of(directory: &OwnedFd, name: &[u8], kind: FileType) -> (bool, Kind) {
    let name = OsStr::from_bytes(name);
    let stat = |flags| rustix::fs::statat(directory, name, flags).ok();
    let of = |stat: rustix::fs::Stat| FileType::from_raw_mode(stat.st_mode);
    let kind = match kind {
        FileType::Unknown => stat(AtFlags::SYMLINK_NOFOLLOW).map_or(kind, of),
        kind => kind,
    };
    let leads_to = match kind {
        FileType::Symlink => stat(AtFlags::empty()).map(of),
        kind => Some(kind),
    };
    let leads_to = match leads_to {
        Some(FileType::Directory) => Kind::Directory,
        Some(_) => Kind::File,
        None => Kind::Nothing,
    };
    (kind == FileType::Symlink, leads_to)
}
