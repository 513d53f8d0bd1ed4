//! The words of tfd's extension of the protocol (tf-protocol(7), EXTENSION): what
//! the server has of them, listings with all that the system knows of an entry, and
//! attributes that are set. Nothing here is relied upon: a server without it
//! answers `UNKNOWN`, and the document's commands do the work.

mod attributes;
mod entry;

use std::net::Shutdown;

use super::connect::{Connection, ok_data, refusal};
use super::error::Result;
use super::later::UNKNOWN;
use super::listing::endless;
use crate::tf::wire::MAX_MESSAGE;

pub use attributes::Attributes;
pub(super) use attributes::{hard_link, set_request, store_request, symbolic_link};
pub use entry::{Details, Owners, Time, Xattr};

/// The request for what the server has, and for digests while bytes pass.
pub(super) const FEATURES: &[u8] = b"TFD_FEATURES digest";

/// The version of the extension that is known here.
const VERSION: &str = "1";

/// So many paths are asked for at once: their requests and replies fit into what
/// the system holds.
const AT_ONCE: usize = 256;

/// Behind the last frame of TFD_LIST: the list is whole.
const WHOLE: i32 = -10;
/// The list broke off.
const BROKEN_OFF: i32 = -11;

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
    /// SHA256 of what has just been moved costs the server nothing.
    pub digest: bool,
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
            digest: has("DIGEST"),
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

/// What TFD_LIST lists.
#[derive(Clone, Copy, Debug, Default)]
pub struct Depth {
    /// All beneath a directory, too.
    pub recursive: bool,
    /// The entry alone that the path names, and nothing in it.
    pub alone: bool,
    /// If the path ends in a link: the link itself.
    pub link: bool,
    /// With extended attributes.
    pub xattrs: bool,
}

impl Depth {
    /// The request.
    pub(super) fn request(self, path: &[u8]) -> Vec<u8> {
        let mut flags = String::new();
        for (is_set, flag) in [
            (self.recursive, 'r'),
            (self.alone, 'd'),
            (self.link, 'l'),
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

    /// Passes on the entries that [`Depth`] names, that of the path itself first, with
    /// all that the server knows of them, and returns the names of their owners; `None`
    /// if it lacks the extension.
    ///
    /// # Errors
    /// The server's refusal, the error of `take` (which costs the connection), or the
    /// connection is lost.
    pub fn list_details(
        &mut self,
        path: &[u8],
        depth: Depth,
        take: &mut dyn FnMut(Details) -> Result<()>,
    ) -> Result<Option<Owners>> {
        if let Extension::Known(features) = self.extension
            && !features.list
        {
            return Ok(None);
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
            return Ok(None);
        }
        ok_data(&String::from_utf8_lossy(&request), &reply)?;
        self.take_details(path, take).map(Some).inspect_err(|_| {
            // The list can't be broken off.
            let _ = self.socket().shutdown(Shutdown::Both);
        })
    }

    /// What the server knows of each of these paths, a link in the last place
    /// followed unless [`Depth::link`] is set; `None` if it lacks the extension.
    ///
    /// # Errors
    /// When the connection is lost.
    pub(super) fn describe(
        &mut self,
        paths: &[&[u8]],
        depth: Depth,
    ) -> Result<Option<Vec<Result<Details>>>> {
        let depth = Depth {
            alone: true,
            ..depth
        };
        let mut found = Vec::with_capacity(paths.len());
        for paths in paths.chunks(AT_ONCE) {
            if let Extension::Known(features) = self.extension
                && !features.list
            {
                return Ok(None);
            }
            let is_due = self.send_features_if_due();
            for path in paths {
                self.wire().write_message_later(&depth.request(path));
            }
            self.wire().flush()?;
            let mut reply = Vec::new();
            if is_due {
                self.wire().read_message(&mut reply)?;
                self.take_features(&reply);
            }
            for path in paths {
                self.wire().read_message(&mut reply)?;
                if reply == UNKNOWN {
                    self.extension = Extension::Known(Features::default());
                    continue;
                }
                let mut entry = Err(refusal(&shown(path), &reply));
                if reply == b"OK" {
                    self.take_details(path, &mut |details| {
                        entry = Ok(details);
                        Ok(())
                    })?;
                }
                found.push(entry);
            }
        }
        Ok((found.len() == paths.len()).then_some(found))
    }

    /// Takes the frames of a listing to its end.
    pub(super) fn take_details(
        &mut self,
        path: &[u8],
        take: &mut dyn FnMut(Details) -> Result<()>,
    ) -> Result<Owners> {
        let mut frame = Vec::new();
        let mut owners = Owners::default();
        loop {
            let length = match self.wire().read_i32()? {
                WHOLE => return Ok(owners),
                BROKEN_OFF => return Err(refusal(&shown(path), b"the listing broke off")),
                length => usize::try_from(length).ok(),
            };
            let length = length.filter(|n| *n <= MAX_MESSAGE);
            frame.resize(length.ok_or_else(|| endless(path))?, 0);
            self.wire().read_raw(&mut frame)?;
            let mut rest = frame.as_slice();
            while !rest.is_empty() {
                if owners.take(&mut rest) {
                    continue;
                }
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
}
