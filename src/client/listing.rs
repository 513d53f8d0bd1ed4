//! Listings of LS and LSR, in both dialects, and patterns of paths, as shells
//! have them, on what a server lists.

use glob::{MatchOptions, Pattern};

use super::connect::{Connection, refusal};
use super::error::{ClientError, Result};
use super::extension::{Depth, Details};
use super::later::Listed;
use crate::store::path::is_upload_part;
use crate::tf::status::Status;
use crate::tf::wire::MAX_MESSAGE;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Anything else: a link, a pipe, a device.
    Other,
}

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Its path from the listed directory, without a trailing `/`. Names are
    /// bytes; clean them before they reach a terminal.
    pub path: Vec<u8>,
}

/// The mark for a newline in a name.
const NEWLINE: &[u8] = b"/./";

/// The longest line, in bytes: no request could name a longer path.
pub(super) const LONGEST_LINE: usize = MAX_MESSAGE;

/// The most memory for a listing that is kept, in bytes: enough for some million
/// entries, of which each takes this much more than its path.
const LONGEST_KEPT: usize = 256 << 20;
const EACH_ENTRY: usize = size_of::<Entry>() + 32;
const EACH_DETAILED: usize = size_of::<Details>() + 32;

/// Memory left for the entries of a listing: a server may send one without end.
#[derive(Debug)]
pub struct Room {
    of: Vec<u8>,
    left: usize,
}

impl Room {
    /// Room for the listing of this directory.
    #[must_use]
    pub fn of(directory: &str) -> Room {
        Room {
            of: directory.into(),
            left: LONGEST_KEPT,
        }
    }

    /// Takes the memory for an entry.
    ///
    /// # Errors
    /// `BadName` when none is left.
    pub fn take(&mut self, entry: &Entry) -> Result<()> {
        self.take_bytes(entry.path.len() + EACH_ENTRY)
    }

    /// Takes the memory for an entry with details.
    ///
    /// # Errors
    /// `BadName` when none is left.
    pub fn take_details(&mut self, entry: &Details) -> Result<()> {
        let xattrs = entry.xattrs.iter();
        let texts: usize = xattrs.map(|(name, value)| name.len() + value.len()).sum();
        let texts = texts + entry.path.len() + entry.target.len();
        self.take_bytes(texts + EACH_DETAILED)
    }

    fn take_bytes(&mut self, bytes: usize) -> Result<()> {
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or_else(|| ClientError::BadName {
            name: self.of.clone(),
            why: "the server's listing has no end, or more than some million entries: list its \
                  subdirectories one by one, or with tf ls -U",
        })?;
        Ok(())
    }
}

pub(super) fn endless(directory: &[u8]) -> ClientError {
    ClientError::BadName {
        name: directory.to_vec(),
        why: "the server's listing has no end",
    }
}

impl Entry {
    /// Reads a line: `D: name/` of deployed servers or `D name` of the
    /// document; `None` for any other line.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Entry> {
        let (kind, rest) = line.split_first()?;
        let kind = match kind {
            b'F' => Kind::File,
            b'D' => Kind::Directory,
            b'U' => Kind::Other,
            _ => return None,
        };
        let path = rest
            .strip_prefix(b": ")
            .or_else(|| rest.strip_prefix(b" "))?;
        let path = path.strip_prefix(b"./").unwrap_or(path);
        let path = match kind {
            Kind::Directory => path.strip_suffix(b"/").unwrap_or(path),
            _ => path,
        };
        (!path.is_empty()).then(|| Entry {
            kind,
            path: path.to_vec(),
        })
    }

    /// Whether it is a part of an upload of `tf` that is not finished.
    #[must_use]
    pub fn is_upload_part(&self) -> bool {
        let name = self.path.rsplit(|c| *c == b'/').next();
        self.kind != Kind::Directory && name.is_some_and(is_upload_part)
    }

    /// What a line cannot express (tf-protocol(7), LS), if this line is the mark
    /// for that and not an entry.
    #[must_use]
    pub fn untold(&self) -> Option<ClientError> {
        let has = |text: &[u8]| self.path.windows(text.len()).any(|part| part == text);
        let (path, why) = match self.path.strip_suffix(b"//") {
            _ if self.kind != Kind::Other => return None,
            _ if has(NEWLINE) => (
                self.path.as_slice(),
                "a name with a newline, at the /./, cannot be listed: give its name to get it",
            ),
            Some(directory) => (directory, "the server may not read this directory"),
            None => return None,
        };
        Some(ClientError::Untold {
            path: String::from_utf8_lossy(path).into_owned(),
            why,
        })
    }

    /// Whether this is the mark for a path with a newline.
    pub(crate) fn stands_for(&self, path: &[u8]) -> bool {
        let names: Vec<_> = path.split(|c| *c == b'\n').collect();
        self.kind == Kind::Other && self.path == names.join(NEWLINE)
    }
}

impl Connection {
    /// The entries of a directory (document, "LS").
    ///
    /// # Errors
    /// The server's refusal, or the connection is lost.
    pub fn list(&mut self, path: &str) -> Result<Vec<Entry>> {
        self.listing("LS", path)
    }

    /// The entries of a directory and everything beneath it (document, "LSR").
    ///
    /// # Errors
    /// The server's refusal, or the connection is lost.
    pub fn list_recursive(&mut self, path: &str) -> Result<Vec<Entry>> {
        self.listing("LSR", path)
    }

    fn listing(&mut self, word: &str, path: &str) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut room = Room::of(path);
        self.list_each(&format!("{word} {path}"), &mut |entry| {
            room.take(&entry)?;
            entries.push(entry);
            Ok(())
        })?;
        Ok(entries)
    }

    /// Passes the entries of a listing on as they come; `recursive` as
    /// [`Connection::list_recursive`].
    ///
    /// # Errors
    /// The server's refusal, the error of `take` (which ends the listing), or the
    /// connection is lost.
    pub fn list_as_it_comes(
        &mut self,
        path: &str,
        recursive: bool,
        take: &mut dyn FnMut(Entry) -> Result<()>,
    ) -> Result<()> {
        if !recursive {
            return self.list_each(&format!("LS {path}"), take);
        }
        let depth = Depth {
            recursive,
            ..Depth::default()
        };
        let mut is_directory = true;
        let listed = self.list_details(path.as_bytes(), depth, &mut |details| {
            if details.path.is_empty() && details.letter != b'U' {
                is_directory = details.kind == Kind::Directory;
                return Ok(());
            }
            let unread = details.unread().is_some();
            let mut entry = details.entry();
            if unread {
                entry.path.extend_from_slice(b"//");
            }
            take(entry)
        });
        let request = format!("LSR {path}");
        let missing = |e: &ClientError| e.status() == Some(Status::FileMissing);
        if listed.as_ref().is_err_and(missing) {
            let status = Status::DirectoryMissing;
            return Err(ClientError::Refused { request, status });
        }
        match listed? {
            None => self.list_each(&request, take),
            Some(_) if is_directory => Ok(()),
            Some(_) => Err(ClientError::Refused {
                request,
                status: Status::DirectoryMissing,
            }),
        }
    }

    fn list_each(
        &mut self,
        request: &str,
        take: &mut dyn FnMut(Entry) -> Result<()>,
    ) -> Result<()> {
        // The beginning of a line whose end is in the next part.
        let mut begun = Vec::new();
        let mut take_line = |line: &[u8]| match line {
            b"" => Ok(()),
            line => take(Entry::parse(line).ok_or_else(|| refusal(request, line))?),
        };
        self.wire().write_message(request.as_bytes())?;
        self.take_stream(request, &mut |part| {
            let mut lines = part.split(|c| *c == b'\n');
            let last = lines.next_back().unwrap_or_default();
            for line in lines {
                if begun.is_empty() {
                    take_line(line)?;
                } else {
                    begun.extend_from_slice(line);
                    take_line(&std::mem::take(&mut begun))?;
                }
            }
            if begun.len() + last.len() > LONGEST_LINE {
                return Err(endless(request.as_bytes()));
            }
            begun.extend_from_slice(last);
            Ok(())
        })?;
        take_line(&begun)
    }
}

/// Only a pattern that begins with a dot matches a name that does.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// Whether a text contains a special character: `*`, `?`, `[`.
#[must_use]
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Whether a name matches a pattern; an invalid pattern matches only itself.
#[must_use]
pub fn fits(pattern: &str, name: &str) -> bool {
    match Pattern::new(pattern) {
        Ok(pattern) => pattern.matches_with(name, OPTIONS),
        Err(_) => pattern == name,
    }
}

impl Connection {
    /// The paths that match a pattern, sorted. A text without `*`, `?` and `[` is
    /// a path itself, even if it does not exist. Bytes of a name that are not
    /// UTF-8 become U+FFFD: the server then reports that path as missing, so the
    /// name is not skipped silently.
    ///
    /// # Errors
    /// The server's refusal of a directory the pattern names, or the
    /// connection is lost.
    pub fn expand(&mut self, pattern: &str) -> Result<Vec<String>> {
        let mut found = vec![String::new()];
        let parts: Vec<&str> = pattern.split('/').collect();
        for (at, part) in parts.iter().enumerate() {
            let last = at + 1 == parts.len();
            let joint = if at == 0 { "" } else { "/" };
            if !is_pattern(part) {
                found
                    .iter_mut()
                    .for_each(|path| *path = format!("{path}{joint}{part}"));
                continue;
            }
            let mut next = Vec::new();
            for directory in &found {
                let entries = match self.matched(directory, last) {
                    // A directory that another pattern matched may be gone or closed.
                    Err(e) if e.status().is_some_and(is_passed_over) && at > 0 => continue,
                    other => other?,
                };
                for entry in entries.into_iter().filter(|entry| entry.untold().is_none()) {
                    let name = String::from_utf8_lossy(&entry.path);
                    if fits(part, &name) && (last || entry.kind != Kind::File) {
                        next.push(format!("{directory}{joint}{name}"));
                    }
                }
            }
            next.sort();
            found = next;
        }
        Ok(found)
    }

    /// The entries of a directory; of the last part of a pattern only their names
    /// matter.
    fn matched(&mut self, directory: &str, last: bool) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut room = Room::of(directory);
        let mut take = |entry| {
            room.take(&entry)?;
            entries.push(entry);
            Ok(())
        };
        if !last || self.list_names(directory, &mut take)? != Listed::All {
            self.list_as_it_comes(directory, false, &mut take)?;
        }
        Ok(entries)
    }
}

fn is_passed_over(status: Status) -> bool {
    matches!(
        status,
        Status::DirectoryMissing | Status::AccessDenied | Status::DirectoryLocked
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_dialects_are_read() {
        let entry = |kind, path: &str| {
            Some(Entry {
                kind,
                path: path.into(),
            })
        };
        assert_eq!(Entry::parse(b"D: a/b/"), entry(Kind::Directory, "a/b"));
        assert_eq!(
            Entry::parse(b"F: with space"),
            entry(Kind::File, "with space")
        );
        assert_eq!(Entry::parse(b"U: ./link"), entry(Kind::Other, "link"));
        assert_eq!(Entry::parse(b"D a"), entry(Kind::Directory, "a"));
        for odd in [&b""[..], b"F", b"F:", b"F: ", b"X: a", b"Fa"] {
            assert_eq!(Entry::parse(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn what_no_line_can_tell_is_no_entry() {
        for (line, text) in [
            ("U: a//", Some("a: the server may not read")),
            ("U: d/a/./b", Some("d/a/./b: a name with a newline")),
            ("U: a/./", Some("a/./: a name with a newline")),
            ("U: a//./", Some("a//./: a name with a newline")),
            ("U: a/b", None),
            ("F: a/./b", None),
            ("D: a/", None),
        ] {
            let untold = Entry::parse(line.as_bytes()).expect("entry").untold();
            let said = untold.map(|error| error.to_string()).unwrap_or_default();
            assert!(said.starts_with(text.unwrap_or_default()), "{line}: {said}");
            assert_eq!(said.is_empty(), text.is_none(), "{line}: {said}");
        }
    }

    #[test]
    fn names_fit_as_in_a_shell() {
        for (pattern, name, fitting) in [
            ("*.pdf", "a.pdf", true),
            ("*", ".hidden", false),
            (".*", ".hidden", true),
            ("[ab]?", "bx", true),
            ("[ab]?", "cx", false),
            ("a[", "a[", true),
            ("A", "a", false),
        ] {
            assert_eq!(fits(pattern, name), fitting, "{pattern} {name}");
        }
        assert!(is_pattern("a*") && !is_pattern("a"));
    }
}
