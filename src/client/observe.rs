//! What is told while files are moved: the library prints nothing itself.

use std::time::Duration;

use super::error::ClientError;

/// Something that happened. Names are remote paths as bytes; clean them before
/// they reach a terminal.
#[derive(Debug)]
pub enum Event<'a> {
    /// All that is to be moved is known.
    Planned {
        /// How many files.
        files: u64,
        /// Their bytes together.
        bytes: u64,
    },
    /// A file's transfer has begun, or begun anew.
    Begun {
        /// Its number in this run.
        file: usize,
        /// Its remote path.
        name: &'a [u8],
        /// Its size in bytes.
        size: u64,
        /// How many bytes of it were there already.
        from: u64,
    },
    /// So many bytes of a file have been moved.
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
    /// An entry could not be moved; the others go on.
    Failed {
        /// Its number in this run, for a file.
        file: Option<usize>,
        /// Its remote path.
        name: &'a [u8],
        /// Why.
        error: &'a ClientError,
    },
    /// An entry is left out, or loses something on its way.
    Note {
        /// Its path.
        name: &'a [u8],
        /// What the user should know of it.
        what: Note,
    },
    /// The connection was lost and will be opened anew.
    Retrying {
        /// The number of this try, from 1 on.
        attempt: u32,
        /// How many there will be before it is given up.
        attempts: u32,
        /// How long it waits before.
        wait: Duration,
        /// What happened.
        error: &'a ClientError,
    },
    /// A mirror does something, or would do it.
    Mirror {
        /// What.
        deed: Deed,
        /// The path, from the mirrored directory.
        name: &'a [u8],
    },
}

/// What a user should know of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// A symbolic link, which is not followed.
    Link,
    /// A pipe, device or socket.
    Special,
    /// Its mode is not kept: the account may only add, or the protocol can't
    /// name its path there, for a space in it.
    ModeNotKept,
    /// The server refused to set its mode.
    ModeRefused,
    /// A directory that would be deleted and is not empty.
    Held,
    /// It has arrived under a name that listings leave out.
    Unlisted,
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Note::Link => "left out, a symbolic link",
            Note::Special => "left out, neither file nor directory",
            Note::ModeNotKept => "its mode is not kept: CHMOD can't name it, or is not allowed",
            Note::Held => "stays: it holds what is left out",
            Note::Unlisted => "sent, but in no listing: its name has a newline, or ends in .sd",
            Note::ModeRefused => "its mode is not kept: the server refused it",
        })
    }
}

/// What a mirror does with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A new file or directory.
    Add,
    /// A file that differs.
    Change,
    /// What is not in the source.
    Delete,
}

/// Who is told, by several threads at once.
pub trait Observer: Sync {
    /// Something happened.
    fn tell(&self, event: &Event<'_>);
}

/// Nobody.
impl Observer for () {
    fn tell(&self, _: &Event<'_>) {}
}
