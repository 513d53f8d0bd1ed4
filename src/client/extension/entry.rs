//! What TFD_LIST says of an entry, and the names of owners.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use crate::client::commands::Stat;
use crate::client::error::ClientError;
use crate::client::listing::{Entry, Kind};

/// A moment, as file systems store it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Whole seconds since the epoch, rounded down.
    pub seconds: i64,
    /// Nanoseconds since that second.
    pub nanoseconds: u32,
}

impl Time {
    /// A whole second.
    #[must_use]
    pub const fn of_seconds(seconds: i64) -> Time {
        Time {
            seconds,
            nanoseconds: 0,
        }
    }

    /// When a local file was last changed.
    #[must_use]
    pub fn modified(metadata: &Metadata) -> Time {
        Time {
            seconds: metadata.mtime(),
            nanoseconds: u32::try_from(metadata.mtime_nsec()).unwrap_or(0),
        }
    }

    /// Reads `SECONDS.NNNNNNNNN`.
    fn parse(text: &str) -> Option<Time> {
        let (seconds, fraction) = text.split_once('.')?;
        let digits = fraction.len() == 9 && fraction.bytes().all(|c| c.is_ascii_digit());
        Some(Time {
            seconds: seconds.parse().ok()?,
            nanoseconds: fraction.parse().ok().filter(|_| digits)?,
        })
    }
}

/// An extended attribute: name and value.
pub type Xattr = (Vec<u8>, Vec<u8>);

/// An entry of a listing with details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    /// What it is.
    pub kind: Kind,
    /// Its letter in the listing: `F`, `D`, `L`, `P`, `S`, `C`, `B`, or `U` for a
    /// directory that the server can't read.
    pub letter: u8,
    /// Permission bits.
    pub mode: u32,
    /// In bytes.
    pub size: u64,
    /// Last change of content.
    pub modified: Time,
    /// How many names the file has.
    pub names: u64,
    /// The file system and its number there.
    pub identity: (u64, u64),
    /// The number of the owner.
    pub uid: u32,
    /// The number of the group.
    pub gid: u32,
    /// Stored blocks of 512 bytes.
    pub blocks: u64,
    /// Its path from the listed directory; empty for the listed entry itself.
    pub path: Vec<u8>,
    /// Where a link leads to.
    pub target: Vec<u8>,
    /// Extended attributes, if they were asked for.
    pub xattrs: Vec<Xattr>,
}

/// How many numbers begin an entry, before the lengths of its three texts.
const NUMBERS: usize = 13;

impl Details {
    /// Takes the next entry from a frame; `None` for anything else.
    pub(super) fn take(frame: &mut &[u8]) -> Option<Details> {
        let end = frame.iter().position(|c| *c == b'\n')?;
        let line = std::str::from_utf8(&frame[..end]).ok()?;
        let fields: Vec<&str> = line.split(' ').collect();
        let fields: &[&str; NUMBERS] = fields.as_slice().try_into().ok()?;
        let [
            kind,
            mode,
            size,
            mtime,
            nlink,
            dev,
            ino,
            uid,
            gid,
            blocks,
            name,
            target,
            xattr,
        ] = fields;
        let &[letter] = kind.as_bytes() else {
            return None;
        };
        let mut rest = &frame[end + 1..];
        let mut text = |length: &str| {
            let (text, behind) = rest.split_at_checked(length.parse().ok()?)?;
            rest = behind;
            Some(text)
        };
        let (path, target, xattrs) = (text(name)?, text(target)?, text(xattr)?);
        *frame = rest;
        Some(Details {
            kind: match letter {
                b'F' => Kind::File,
                b'D' => Kind::Directory,
                b'L' | b'P' | b'S' | b'C' | b'B' | b'U' => Kind::Other,
                _ => return None,
            },
            letter,
            mode: u32::from_str_radix(mode, 8).ok()? & 0o7777,
            size: size.parse().ok()?,
            modified: Time::parse(mtime)?,
            names: nlink.parse().ok()?,
            identity: (dev.parse().ok()?, ino.parse().ok()?),
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
            blocks: blocks.parse().ok()?,
            path: path.to_vec(),
            target: target.to_vec(),
            xattrs: read_xattrs(xattrs)?,
        })
    }

    /// What this is if it stands for something that could not be read.
    #[must_use]
    pub fn unread(&self) -> Option<ClientError> {
        (self.letter == b'U').then(|| ClientError::Untold {
            path: String::from_utf8_lossy(&self.path).into_owned(),
            why: "the server may not read this directory",
        })
    }

    /// As a listing of the document has it.
    #[must_use]
    pub fn entry(self) -> Entry {
        Entry {
            kind: self.kind,
            path: self.path,
        }
    }

    /// As FSTAT has it; the extension does not say the time of the last access.
    #[must_use]
    pub fn stat(&self) -> Stat {
        Stat {
            kind: self.kind,
            size: self.size,
            accessed: self.modified.seconds,
            modified: self.modified.seconds,
        }
    }

    /// Whether this is a symbolic link.
    #[must_use]
    pub fn is_link(&self) -> bool {
        self.letter == b'L'
    }
}

/// The names of owners, by their numbers.
#[derive(Clone, Debug, Default)]
pub struct Owners {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

/// The most names that are kept: a server may send them without end.
const MOST_OWNERS: usize = 100_000;

impl Owners {
    /// The name of a user, or the number of one that the server does not know.
    #[must_use]
    pub fn user(&self, uid: u32) -> String {
        let name = self.users.get(&uid);
        name.map_or_else(|| uid.to_string(), String::clone)
    }

    /// The same for a group.
    #[must_use]
    pub fn group(&self, gid: u32) -> String {
        let name = self.groups.get(&gid);
        name.map_or_else(|| gid.to_string(), String::clone)
    }

    /// Takes the next line from a frame if it is a name's.
    pub(super) fn take(&mut self, frame: &mut &[u8]) -> bool {
        let names = match frame.first() {
            Some(b'u') => &mut self.users,
            Some(b'g') => &mut self.groups,
            _ => return false,
        };
        let end = frame.iter().position(|c| *c == b'\n');
        let line = end.and_then(|end| std::str::from_utf8(&frame[..end]).ok());
        let mut fields = line.unwrap_or_default().splitn(3, ' ').skip(1);
        let (number, name) = (fields.next(), fields.next());
        let (Some(end), Some(Ok(number)), Some(name)) = (end, number.map(str::parse), name) else {
            return false;
        };
        if names.len() < MOST_OWNERS {
            names.insert(number, name.to_owned());
        }
        *frame = &frame[end + 1..];
        true
    }
}

fn read_xattrs(mut text: &[u8]) -> Option<Vec<Xattr>> {
    let mut found = Vec::new();
    while !text.is_empty() {
        let end = text.iter().position(|c| *c == b'\n')?;
        let line = std::str::from_utf8(&text[..end]).ok()?;
        let (name, value) = line.split_once(' ')?;
        let (name, rest) = text[end + 1..].split_at_checked(name.parse().ok()?)?;
        let (value, rest) = rest.split_at_checked(value.parse().ok()?)?;
        found.push((name.to_vec(), value.to_vec()));
        text = rest;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_whole_and_nothing_else() {
        // A name and the value of an attribute are any bytes.
        let text = b"F 644 7 -1.000000009 1 2 3 0 100 8 3 0 12\na\nb6 2\nuser.xv\n\
                     L 777 1 5.000000000 1 2 4 0 0 0 1 2 0\nlto";
        let mut rest = &text[..];
        let first = Details::take(&mut rest).expect("entry");
        assert_eq!((first.mode, first.size, first.gid), (0o644, 7, 100));
        assert_eq!(
            (first.modified.seconds, first.modified.nanoseconds),
            (-1, 9)
        );
        assert_eq!(first.path, b"a\nb");
        assert_eq!(first.xattrs, [(b"user.x".to_vec(), b"v\n".to_vec())]);
        let second = Details::take(&mut rest).expect("entry");
        assert!(second.is_link() && second.target == b"to" && rest.is_empty());
        for odd in [
            "F 644 7 1.0 1 2 3 0 100 8 0 0 0\n",
            "F 648 7 1.000000000 1 2 3 0 100 8 0 0 0\n",
            "X 644 7 1.000000000 1 2 3 0 100 8 0 0 0\n",
            "F 644 7 1.000000000 1 2 3 0 100 8 1 0 0\n",
            "F 644 7 1.000000000 1 2 3 0 100 8 0 0\n",
            "F 644 7 1.000000000 1 2 3 0 100 8 0 0 0",
            "F 644 7 1.000000000 1 2 3 0 100 8 0 0 3\n9 9",
            "",
        ] {
            assert_eq!(Details::take(&mut odd.as_bytes()), None, "{odd:?}");
        }
    }
}
