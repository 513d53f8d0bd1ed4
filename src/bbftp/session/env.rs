//! What a request works on: the root, the working directory, rights and
//! settings.

use rustix::io::Errno;

use super::reply::Reply;
use super::settings::Settings;
use crate::config::Durability;
use crate::net::link::{Meter, Pace};
use crate::session::dialer::Dialer;
use crate::session::jail::JAIL_FILE;
use crate::session::shortage::{LastShortage, Shortage};
use crate::session::uploads::Uploads;
use crate::store::directory::Making;
use crate::store::{Policy, Quota, Root, RootPath};
use crate::users::Rights;

/// Names beneath the root: the token files of jails are hidden.
pub const POLICY: Policy = Policy {
    hidden: &[JAIL_FILE],
    hidden_beginning: None,
    kept_ending: None,
};

/// What a client has that has sent no umask.
const UMASK: u32 = 0o022;

/// The version that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 1
    One,
    /// 2
    Two,
    /// 3
    Three,
}

impl Version {
    /// By its number.
    pub fn from_number(number: u32) -> Option<Version> {
        match number {
            1 => Some(Version::One),
            2 => Some(Version::Two),
            3 => Some(Version::Three),
            _ => None,
        }
    }
}

/// The surroundings of a request.
#[derive(Debug)]
pub struct Env {
    /// The root of this session.
    pub root: Root,
    /// The working directory.
    pub directory: RootPath,
    /// What the configuration says.
    pub settings: Settings,
    /// What the session may do to files, beside what the system lets it.
    pub rights: Rights,
    /// What it may store.
    pub quota: Quota,
    /// What there was no room for in the request under way.
    pub shortage: LastShortage,
    /// The account for which the part of an upload that is cut stays, if one does.
    pub account: Option<Vec<u8>>,
    /// Has to know of each file that is whole.
    pub uploads: Uploads,
    /// Makes its data connections.
    pub dialer: Option<Dialer>,
    /// The rate of all its connections together.
    pub pace: Option<Pace>,
    /// Counts the bytes of all of them.
    pub meter: Option<Meter>,
    /// How many transfers it has agreed to, see [`crate::bbftp::stream::sealed`].
    pub transfers: u32,
    /// Modes of new files and directories, before the system's umask.
    pub modes: Modes,
    /// Bytes of files and listings moved by the request under way.
    pub moved: u64,
    /// Whether the client may still send the start, or the end, of a transfer that
    /// has failed here before.
    pub may_come_late: bool,
}

/// Modes of what is made.
#[derive(Clone, Copy, Debug)]
pub struct Modes {
    /// Of files.
    pub file: u32,
    /// Of directories.
    pub directory: u32,
    /// The umask that the client knows of.
    umask: u32,
}

impl Env {
    /// Those of a session that has just begun, without a quota.
    pub fn new(root: Root, settings: Settings, rights: Rights) -> Env {
        Env {
            root: root.with_policy(POLICY),
            directory: RootPath::root(),
            modes: Modes {
                file: settings.file_mode & 0o777,
                directory: settings.directory_mode & 0o777,
                umask: UMASK,
            },
            settings,
            rights,
            quota: Quota::none(),
            shortage: LastShortage::default(),
            account: None,
            uploads: Uploads::default(),
            dialer: None,
            pace: None,
            meter: None,
            transfers: 0,
            moved: 0,
            may_come_late: false,
        }
    }

    /// Whether what is acknowledged must be on disk.
    pub fn sync(&self) -> bool {
        self.settings.durability == Durability::File
    }

    /// Takes note of an error that reports a lack of room, and returns it.
    pub fn note(&self, error: Errno) -> Errno {
        self.shortage.note(error, &self.quota)
    }

    /// The answer to a request that failed, of which file, and why.
    pub fn failed(&self, what: &str, name: &[u8], error: Errno) -> Reply {
        match Shortage::of(self.note(error), &self.quota) {
            Some(shortage) => {
                let why = format!(" : {shortage}");
                Reply::no([what.as_bytes(), b" ", name, why.as_bytes()].concat())
            }
            None => Reply::failed(what, name, error),
        }
    }

    /// How directories are made.
    pub fn directories(&self) -> Making<'_> {
        Making {
            root: &self.root,
            mode: self.modes.directory,
            sync: self.sync(),
        }
    }

    /// Takes a umask of the client's (CHUMASK).
    pub fn set_umask(&mut self, umask: u32) -> Reply {
        let (before, umask) = (self.modes.umask, umask & 0o777);
        self.modes = Modes {
            file: 0o666 & !umask,
            directory: 0o777 & !umask,
            umask,
        };
        Reply::ok(format!("umask changed from {before:04o} to {umask:04o}"))
    }
}
