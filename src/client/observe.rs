//! Events of transfers: the library prints nothing itself.

use std::path::Path;
use std::time::Duration;

use super::error::ClientError;

/// Something that happened. Names are remote paths as bytes; clean them before
/// they reach a terminal.
#[derive(Debug)]
pub enum Event<'a> {
    /// Everything to transfer is known.
    Planned {
        /// How many files.
        files: u64,
        /// Their bytes together.
        bytes: u64,
    },
    /// A file's transfer has begun, or restarted.
    Begun {
        /// Its number in this run.
        file: usize,
        /// Its remote path.
        name: &'a [u8],
        /// Its size in bytes.
        size: u64,
        /// How many bytes of it were transferred before.
        from: u64,
    },
    /// The digest of what is at the target already is made, or that of the whole
    /// file is compared.
    Checking {
        /// Its number in this run.
        file: usize,
        /// Its remote path.
        name: &'a [u8],
        /// Its size in bytes.
        size: u64,
        /// How far the digest of a part is, from 0 on; `None` for the whole.
        position: Option<u64>,
    },
    /// So many bytes of a file have been transferred.
    At {
        /// Its number in this run.
        file: usize,
        /// Bytes from its beginning.
        position: u64,
    },
    /// A file is in its place, whole.
    Done {
        /// Its number in this run.
        file: usize,
        /// Its remote path.
        name: &'a [u8],
        /// Its size in bytes.
        size: u64,
    },
    /// An entry could not be transferred; the others continue.
    Failed {
        /// Its number in this run, for a file.
        file: Option<usize>,
        /// Its remote path.
        name: &'a [u8],
        /// Why.
        error: &'a ClientError,
    },
    /// An entry is skipped, or loses something in the transfer.
    Note {
        /// Its path.
        name: &'a [u8],
        /// What the user should know about it.
        what: Note,
    },
    /// The connection was lost, and will be opened again.
    Retrying {
        /// The number of this attempt, from 1 on.
        attempt: u32,
        /// The most attempts.
        attempts: u32,
        /// How long it waits before it.
        wait: Duration,
        /// What happened.
        error: &'a ClientError,
    },
    /// The server refuses further sessions; the transfer goes on with those it has.
    FewerSessions {
        /// Why one was refused.
        error: &'a ClientError,
    },
    /// A mirror does something, or would do it.
    Mirror {
        /// What.
        operation: Operation,
        /// The path, from the mirrored directory.
        name: &'a [u8],
    },
}

/// What a user should know about an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// A symbolic link, which is not followed.
    Link,
    /// A pipe, device or socket.
    Special,
    /// Its mode is not kept: the server has no extension to report it, or to set it for
    /// a path with a space.
    ModeNotKept,
    /// The server refused to set its mode or time.
    ModeRefused,
    /// The server refused to set its owner.
    OwnerRefused,
    /// A directory that would be deleted but is not empty.
    Held,
    /// A mirror that was to delete deletes nothing.
    NothingDeleted,
    /// It has arrived under a name that listings omit.
    Unlisted,
    /// A directory that listings would omit, left out.
    Secure,
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Note::Link => "skipped, a symbolic link",
            Note::Special => "skipped, neither a file nor a directory",
            Note::ModeNotKept => "got the default mode: the server cannot report or set it",
            Note::NothingDeleted => {
                "nothing is deleted, because not everything could be read and transferred"
            }
            Note::Held => "stays: it contains skipped entries",
            Note::Unlisted => "sent, but not listed: its name has a newline, or ends in .sd",
            Note::Secure => {
                "left out: the server hides directories whose names end in .sd (--include-secure uploads it)"
            }
            Note::ModeRefused => "got the default mode: the server refused to set mode and time",
            Note::OwnerRefused => "got the server's owner: the server refused another",
        })
    }
}

/// What a mirror does with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A new file or directory.
    Add,
    /// A file that differs.
    Change,
    /// An entry that differs in mode, owner, time or extended attributes alone.
    Attributes,
    /// An entry that is not in the source.
    Delete,
}

/// Gets the events, from several threads at once.
pub trait Observer: Sync {
    /// Something happened.
    fn notify(&self, event: &Event<'_>);

    /// Whether a local file may be replaced by one that is downloaded.
    fn may_replace(&self, _path: &Path) -> bool {
        true
    }
}

/// Ignores all events.
impl Observer for () {
    fn notify(&self, _: &Event<'_>) {}
}
