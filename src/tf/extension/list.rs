//! TFD_LIST: entries with all that a copy needs of them, beneath a directory or
//! of one path. The listing is whole whatever the names are. Secure directories
//! beneath the path, and what is in them, are left out.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, openat, readlinkat, statat};
use rustix::io::Errno;

use super::set::entry_of;
use crate::session::audit::Outcome;
use crate::store::inherit::user_attributes;
use crate::store::tree::{Met, Step, Visit, walk_whole};
use crate::store::{Root, RootPath};
use crate::tf::command::fstat::missing_or_denied;
use crate::tf::env::Env;
use crate::tf::status::Status;
use crate::tf::transfer::refuse;
use crate::tf::wire::{Result, Wire, WireError, message_header};
use crate::users::Names;

/// Behind the last entry: the list is whole.
const DONE: i32 = -10;
/// The list broke off.
const FAILED: i32 = -11;

/// So many bytes of entries are sent at once, in one frame.
const BATCH: usize = 64 * 1024;

/// The most bytes of extended attributes of one entry: a frame has room for them.
const MAX_EXTENDED: usize = 256 * 1024;

/// What is listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Also what is in the directories of the directory.
    pub recursive: bool,
    /// Extended attributes, too.
    pub extended: bool,
    /// The entry alone that the path names.
    pub alone: bool,
    /// A link in the last place of the path itself.
    pub link: bool,
}

impl Flags {
    /// Reads letters, or `-` for none.
    pub fn parse(text: &[u8]) -> Option<Flags> {
        let mut flags = Flags::default();
        if text == b"-" {
            return Some(flags);
        }
        for letter in text {
            match letter {
                b'r' => flags.recursive = true,
                b'x' => flags.extended = true,
                b'd' => flags.alone = true,
                b'l' => flags.link = true,
                _ => return None,
            }
        }
        (!text.is_empty()).then_some(flags)
    }
}

/// Runs the command: 1, 30, 9, or `OK` and frames of entries, then -10, or -11 if
/// the walk fails.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn run(wire: &mut Wire, env: &Env, flags: Flags, path: &RootPath) -> Result<Outcome> {
    let top = match open_top(env, flags, path) {
        Ok(top) => top,
        Err(status) => return refuse(wire, status),
    };
    wire.write_message_later(b"OK");
    let mut list = List {
        wire,
        names: &env.names,
        extended: flags.extended,
        users: HashSet::new(),
        groups: HashSet::new(),
        bytes: vec![0; 4],
    };
    let listed = list.fill(&env.root, flags, top);
    let (end, outcome) = match listed {
        Ok(()) => (DONE, Outcome::Done),
        Err(Interrupted::Wire(e)) => return Err(e),
        Err(Interrupted::System(_)) => (FAILED, Outcome::Failed(None)),
    };
    list.send()?;
    list.wire.reply_i32(end)?;
    Ok(outcome)
}

/// What the path names.
struct Top {
    stat: Stat,
    target: Vec<u8>,
    extended: Vec<(OsString, Vec<u8>)>,
    /// The directory whose entries are wanted, unless it can't be read.
    directory: Option<std::result::Result<OwnedFd, Errno>>,
}

fn open_top(env: &Env, flags: Flags, path: &RootPath) -> std::result::Result<Top, Status> {
    env.check_lock_around(path)?;
    let (stat, target) = if flags.link {
        let entry = entry_of(&env.root, path).map_err(missing_or_denied)?;
        let stat = entry.stat().map_err(missing_or_denied)?;
        let target = target_of(entry.directory.as_fd(), entry.name(), &stat);
        (stat, target.map_err(missing_or_denied)?)
    } else {
        let stat = env.root.stat(path).map_err(missing_or_denied)?;
        (stat, Vec::new())
    };
    let kind = FileType::from_raw_mode(stat.st_mode);
    let extended = if flags.extended && (kind.is_file() || kind.is_dir()) {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let file = env.root.open_at(path, flags, Mode::empty());
        file.map_or_else(|_| Vec::new(), |file| user_attributes(file.as_fd()))
    } else {
        Vec::new()
    };
    let directory = if kind.is_dir() && !flags.alone {
        env.check_lock_in(path)?;
        Some(env.root.open_dir(path))
    } else {
        None
    };
    Ok(Top {
        stat,
        target,
        extended,
        directory,
    })
}

/// Where a link leads; empty for anything else.
fn target_of(directory: BorrowedFd<'_>, name: &OsStr, stat: &Stat) -> rustix::io::Result<Vec<u8>> {
    if FileType::from_raw_mode(stat.st_mode).is_symlink() {
        return Ok(readlinkat(directory, name, Vec::new())?.into_bytes());
    }
    Ok(Vec::new())
}

/// Why a list ended before its end.
#[derive(Debug, thiserror::Error)]
enum Interrupted {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error(transparent)]
    System(#[from] Errno),
}

/// A list that is being sent.
struct List<'a> {
    wire: &'a mut Wire,
    names: &'a Names,
    extended: bool,
    /// The numbers whose names are sent.
    users: HashSet<u32>,
    groups: HashSet<u32>,
    /// A frame: room for its header, and entries.
    bytes: Vec<u8>,
}

impl List<'_> {
    fn fill(
        &mut self,
        root: &Root,
        flags: Flags,
        top: Top,
    ) -> std::result::Result<(), Interrupted> {
        self.push(b"", &top.stat, &top.target, &top.extended)?;
        let directory = match top.directory {
            None => return Ok(()),
            Some(Err(_)) => return Ok(self.push_unread(b"")?),
            Some(Ok(directory)) => directory,
        };
        let policy = root.policy();
        walk_whole(directory.as_fd(), |met| {
            let visit = match met {
                Met::Entered(_) => return Ok(Step::Over),
                Met::Unread(path) => {
                    self.push_unread(path.as_bytes())?;
                    return Ok(Step::Over);
                }
                Met::Entry(visit) => visit,
            };
            let (name, is_directory) = (visit.name().as_bytes(), visit.kind.is_dir());
            if policy.hides(name) || is_directory && policy.keeps(name) {
                return Ok(Step::Over);
            }
            self.push_entry(&visit)?;
            Ok(if flags.recursive {
                Step::Enter
            } else {
                Step::Over
            })
        })
    }

    /// Adds an entry of a directory, unless it has gone.
    fn push_entry(&mut self, visit: &Visit<'_>) -> Result<()> {
        let (directory, name) = (visit.directory, visit.name());
        let found = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
            .and_then(|stat| Ok((target_of(directory, name, &stat)?, stat)));
        let (target, stat) = match found {
            Ok(found) => found,
            Err(Errno::NOENT) => return Ok(()),
            Err(_) => return self.push_unread(visit.path.as_bytes()),
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let mut extended = Vec::new();
        if self.extended && (kind.is_file() || kind.is_dir()) {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            if let Ok(file) = openat(directory, name, flags, Mode::empty()) {
                extended = user_attributes(file.as_fd());
            }
        }
        self.push(visit.path.as_bytes(), &stat, &target, &extended)
    }

    /// Adds what can't be read.
    fn push_unread(&mut self, path: &[u8]) -> Result<()> {
        let line = format!("U 0 0 0.000000000 0 0 0 0 0 0 {} 0 0\n", path.len());
        self.bytes.extend_from_slice(line.as_bytes());
        self.bytes.extend_from_slice(path);
        self.send_batch()
    }

    /// Adds an entry, behind the names of its owner and its group.
    fn push(
        &mut self,
        path: &[u8],
        stat: &Stat,
        target: &[u8],
        extended: &[(OsString, Vec<u8>)],
    ) -> Result<()> {
        let (uid, gid) = (stat.st_uid, stat.st_gid);
        if self.users.insert(uid)
            && let Some(name) = self.names.name_of_user(uid)
        {
            self.bytes
                .extend_from_slice(format!("u {uid} {name}\n").as_bytes());
        }
        if self.groups.insert(gid)
            && let Some(name) = self.names.name_of_group(gid)
        {
            self.bytes
                .extend_from_slice(format!("g {gid} {name}\n").as_bytes());
        }
        let extended = extended_bytes(extended);
        let line = format!(
            "{} {:o} {} {}.{:09} {} {} {} {uid} {gid} {} {} {} {}\n",
            kind_of(stat),
            stat.st_mode & 0o7777,
            stat.st_size,
            stat.st_mtime,
            stat.st_mtime_nsec,
            stat.st_nlink,
            stat.st_dev,
            stat.st_ino,
            stat.st_blocks,
            path.len(),
            target.len(),
            extended.len(),
        );
        for bytes in [line.as_bytes(), path, target, &extended] {
            self.bytes.extend_from_slice(bytes);
        }
        self.send_batch()
    }

    fn send_batch(&mut self) -> Result<()> {
        if self.bytes.len() < BATCH {
            return Ok(());
        }
        self.send()
    }

    fn send(&mut self) -> Result<()> {
        let len = self.bytes.len() - 4;
        if len == 0 {
            return Ok(());
        }
        self.bytes[..4].copy_from_slice(&message_header(len));
        self.wire.write_units(&mut self.bytes, &[4, len])?;
        self.wire.count_data(len);
        self.bytes.truncate(4);
        Ok(())
    }
}

/// Names and values, each with its length; those beyond [`MAX_EXTENDED`] are left
/// out.
fn extended_bytes(extended: &[(OsString, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in extended {
        let name = name.as_bytes();
        let line = format!("{} {}\n", name.len(), value.len());
        if bytes.len() + line.len() + name.len() + value.len() > MAX_EXTENDED {
            log::debug!(name:% = name.escape_ascii(); "not listed, too many attributes");
            continue;
        }
        for part in [line.as_bytes(), name, value] {
            bytes.extend_from_slice(part);
        }
    }
    bytes
}

fn kind_of(stat: &Stat) -> char {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => 'F',
        FileType::Directory => 'D',
        FileType::Symlink => 'L',
        FileType::Fifo => 'P',
        FileType::Socket => 'S',
        FileType::CharacterDevice => 'C',
        FileType::BlockDevice => 'B',
        FileType::Unknown => 'U',
    }
}
