//! The words of tfd's extension of the protocol (tf-protocol(7), EXTENSION): what
//! the server has of them, listings with all that the system knows of an entry, and
//! attributes that are set. Nothing here is relied upon: a server without it
//! answers `UNKNOWN`, and the document's commands do the work.

use std::fs::Metadata;
use std::net::Shutdown;
use std::os::unix::fs::MetadataExt;

use super::connect::{Connection, ok_data, refusal};
use super::error::Result;
use super::later::UNKNOWN;
use super::listing::{Kind, endless};
use crate::text::hex;
use crate::tf::wire::MAX_MESSAGE;

/// The request for what the server has, and for digests while bytes pass.
pub(super) const FEATURES: &[u8] = b"TFD_FEATURES digest";

/// The version of the extension that is known here.
const VERSION: &str = "1";

/// Behind the last frame of TFD_LIST: the list is whole.
const WHOLE: i32 = -10;
/// The list broke off.
const BROKEN_OFF: i32 = -11;

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

/// What of the extension a session may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Listings with details.
    pub list: bool,
    /// A file in one request and one reply.
    pub store: bool,
    /// The same, the other way.
    pub fetch: bool,
    /// Attributes can be set.
    pub set: bool,
    /// Links can be made.
    pub link: bool,
    /// Extended attributes are stored.
    pub xattr: bool,
    /// Owners can be set.
    pub owner: bool,
    /// The account may only add.
    pub append_only: bool,
}

impl Features {
    /// Reads the reply to TFD_FEATURES; a server without the extension has none.
    fn parse(reply: &[u8]) -> Features {
        let words = ok_data("TFD_FEATURES", reply).unwrap_or_default();
        let words = String::from_utf8_lossy(words);
        let mut words = words.split(' ');
        let known = words.next() == Some(VERSION);
        let words: Vec<&str> = words.filter(|_| known).collect();
        let has = |word| words.contains(&word);
        Features {
            list: has("LIST"),
            store: has("STORE"),
            fetch: has("FETCH"),
            set: has("SET"),
            link: has("LINK"),
            xattr: has("XATTR"),
            owner: has("OWNER"),
            append_only: has("APPENDONLY"),
        }
    }
}

/// What is known of the server's extension.
#[derive(Debug, Default)]
pub(super) enum Extension {
    /// Nothing, and nobody asks.
    #[default]
    Unasked,
    /// The next request asks.
    Due,
    Known(Features),
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
    fn take(frame: &mut &[u8]) -> Option<Details> {
        let end = frame.iter().position(|c| *c == b'\n')?;
        let line = std::str::from_utf8(&frame[..end]).ok()?;
        let fields: Vec<&str> = line.split(' ').collect();
        let fields: &[&str; NUMBERS] = fields.as_slice().try_into().ok()?;
        let [kind, mode, size, mtime, nlink, dev, ino, uid, gid, blocks, name, target, xattr] =
            fields;
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

    /// Whether this is a symbolic link.
    #[must_use]
    pub fn is_link(&self) -> bool {
        self.letter == b'L'
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

/// Attributes to be set; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Last change of content.
    pub modified: Option<Time>,
    /// The numbers of owner and group.
    pub owner: Option<(u32, u32)>,
    /// Extended attributes by their names; those without a value are removed.
    pub xattrs: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Attributes {
    /// Whether there is nothing to set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Attributes::default()
    }

    /// The argument of TFD_SET and TFD_STORE.
    fn text(&self) -> String {
        let mut list = Vec::new();
        if let Some((uid, gid)) = self.owner {
            list.push(format!("uid={uid},gid={gid}"));
        }
        if let Some(mode) = self.mode {
            list.push(format!("mode={mode:04o}"));
        }
        for (name, value) in &self.xattrs {
            list.push(match value {
                Some(value) => format!("xattr:{}={}", hex(name), hex(value)),
                None => format!("xattr:{}", hex(name)),
            });
        }
        if let Some(Time {
            seconds,
            nanoseconds,
        }) = self.modified
        {
            list.push(format!("mtime={seconds}.{nanoseconds:09}"));
        }
        match list.is_empty() {
            true => "-".to_owned(),
            false => list.join(","),
        }
    }
}

/// The request that gives a path these attributes.
pub(super) fn set_request(attributes: &Attributes, path: &[u8]) -> Vec<u8> {
    [b"TFD_SET ", attributes.text().as_bytes(), b" ", path].concat()
}

/// The request behind which a file's frames follow.
pub(super) fn store_request(attributes: &Attributes, path: &[u8]) -> Vec<u8> {
    [b"TFD_STORE ", attributes.text().as_bytes(), b" ", path].concat()
}

/// The request for a symbolic link, or with `h` for one more name of a file.
pub(super) fn link_request(kind: char, target: &[u8], path: &[u8]) -> Vec<u8> {
    let begin = format!("TFD_LINK {kind} {} ", target.len());
    [begin.as_bytes(), target, b" ", path].concat()
}

/// What TFD_LIST lists.
#[derive(Clone, Copy, Debug, Default)]
pub struct Depth {
    /// All beneath a directory, too.
    pub recursive: bool,
    /// The entry itself, and nothing in it.
    pub itself: bool,
    /// With extended attributes.
    pub xattrs: bool,
}

impl Depth {
    /// The request.
    pub(super) fn request(self, path: &[u8]) -> Vec<u8> {
        let mut flags = String::new();
        for (is_set, flag) in [
            (self.recursive, 'r'),
            (self.itself, 'd'),
            (self.xattrs, 'x'),
        ] {
            flags.extend(is_set.then_some(flag));
        }
        if flags.is_empty() {
            flags.push('-');
        }
        let path = if path.is_empty() { b"/" } else { path };
        [b"TFD_LIST ", flags.as_bytes(), b" ", path].concat()
    }
}

impl Connection {
    /// What of the extension this session may use. Asks once.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn features(&mut self) -> Result<Features> {
        if let Extension::Known(features) = self.extension {
            return Ok(features);
        }
        let reply = self.request(FEATURES)?;
        Ok(self.take_features(&reply))
    }

    /// Lets the next requests ask for it.
    pub(super) fn ask_for_features(&mut self) {
        if matches!(self.extension, Extension::Unasked) {
            self.extension = Extension::Due;
        }
    }

    /// Takes the reply to [`FEATURES`].
    pub(super) fn take_features(&mut self, reply: &[u8]) -> Features {
        let features = Features::parse(reply);
        self.extension = Extension::Known(features);
        features
    }

    /// Sends [`FEATURES`] ahead of a request if that is due: whether its reply comes
    /// before that of the request.
    pub(super) fn send_features_if_due(&mut self) -> bool {
        let is_due = matches!(self.extension, Extension::Due);
        if is_due {
            self.wire().write_message_later(FEATURES);
        }
        is_due
    }

    /// Passes on the entries that [`Depth`] names, with all that the server knows of
    /// them; `false` if it lacks the extension.
    ///
    /// # Errors
    /// The server's refusal, the error of `take` (which costs the connection), or the
    /// connection is lost.
    pub fn list_details(
        &mut self,
        path: &[u8],
        depth: Depth,
        take: &mut dyn FnMut(Details) -> Result<()>,
    ) -> Result<bool> {
        if let Extension::Known(features) = self.extension
            && !features.list
        {
            return Ok(false);
        }
        let request = depth.request(path);
        let is_due = self.send_features_if_due();
        self.wire().write_message(&request)?;
        let mut reply = Vec::new();
        if is_due {
            self.wire().read_message(&mut reply)?;
            self.take_features(&reply);
        }
        self.wire().read_message(&mut reply)?;
        if reply == UNKNOWN {
            self.extension = Extension::Known(Features::default());
            return Ok(false);
        }
        ok_data(&String::from_utf8_lossy(&request), &reply)?;
        self.take_details(path, take)
            .map(|()| true)
            .inspect_err(|_| {
                // The list can't be broken off.
                let _ = self.socket().shutdown(Shutdown::Both);
            })
    }

    /// Takes the frames of a listing to its end.
    pub(super) fn take_details(
        &mut self,
        path: &[u8],
        take: &mut dyn FnMut(Details) -> Result<()>,
    ) -> Result<()> {
        let mut frame = Vec::new();
        loop {
            let length = match self.wire().read_i32()? {
                WHOLE => return Ok(()),
                BROKEN_OFF => return Err(refusal(&shown(path), b"the listing broke off")),
                length => usize::try_from(length).ok(),
            };
            let length = length.filter(|n| *n <= MAX_MESSAGE);
            frame.resize(length.ok_or_else(|| endless(path))?, 0);
            self.wire().read_raw(&mut frame)?;
            let mut rest = frame.as_slice();
            while !rest.is_empty() {
                let entry = Details::take(&mut rest);
                take(entry.ok_or_else(|| refusal(&shown(path), rest))?)?;
            }
        }
    }
}

fn shown(path: &[u8]) -> String {
    format!("TFD_LIST {}", String::from_utf8_lossy(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_of_another_version_are_none() {
        let some = Features::parse(b"OK 1 LIST STORE SOMETHING APPENDONLY");
        assert!(some.list && some.store && some.append_only && !some.set);
        for reply in [
            &b"OK 2 LIST"[..],
            b"OK",
            b"UNKNOWN",
            b"FAILED 1 : no",
            b"OK LIST",
        ] {
            assert_eq!(Features::parse(reply), Features::default());
        }
    }

    #[test]
    fn entries_are_read_whole_and_nothing_else() {
        // A name and the value of an attribute are any bytes.
        let text = b"F 644 7 -1.000000009 1 2 3 0 100 8 3 0 12\na\nb6 2\nuser.xv\n\
                     L 777 1 5.000000000 1 2 4 0 0 0 1 2 0\nlto";
        let mut rest = &text[..];
        let first = Details::take(&mut rest).expect("entry");
        assert_eq!((first.mode, first.size, first.gid), (0o644, 7, 100));
        assert_eq!((first.modified.seconds, first.modified.nanoseconds), (-1, 9));
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

    #[test]
    fn attributes_are_one_argument() {
        assert_eq!(set_request(&Attributes::default(), b"p"), b"TFD_SET - p");
        let all = Attributes {
            mode: Some(0o640),
            modified: Some(Time {
                seconds: -2,
                nanoseconds: 5,
            }),
            owner: Some((1, 2)),
            xattrs: vec![
                (b"user.a".to_vec(), Some(b"\0".to_vec())),
                (b"b".to_vec(), None),
            ],
        };
        assert_eq!(
            store_request(&all, b"a b"),
            b"TFD_STORE uid=1,gid=2,mode=0640,xattr:757365722e61=00,xattr:62,mtime=-2.000000005 a b"
        );
        assert_eq!(link_request('s', b"a b", b"c"), b"TFD_LINK s 3 a b c");
    }
}
