//! Paths that cross from one side to the other: what a server may make us
//! write, what the protocol can name, the names of parts. And requests on
//! them, many of one reply each on their way at once: replies are read while
//! requests are sent, so neither side ever waits for the other.

use openssl::sha::sha256;

use crate::client::commands::Stat;
use crate::client::connect::{Connection, ok_data, refusal};
use crate::client::error::{ClientError, Result};
use crate::store::path::{PART_PREFIX as SERVER_PREFIX, PART_SUFFIX as SERVER_SUFFIX};
use crate::text::hex;
use crate::tf::wire::WireError;

/// The most requests on their way: so many files of a tree cost one round trip.
/// What neither side has taken waits in [`HELD`] and the system's buffers.
const ON_THE_WAY: usize = 32 * 1024;

/// The most bytes of a reply that are kept: an answer to one of these requests
/// is shorter.
const LONGEST_REPLY: usize = 512;

/// The most bytes enciphered before they are sent.
pub(super) const HELD: usize = 128 * 1024;

/// The most bytes sent with one call.
pub(super) const AT_ONCE: usize = 64 * 1024;

/// How the name of a part begins and ends, on either side.
const PART_PREFIX: &[u8] = b".tf-";
pub(super) const PART_SUFFIX: &[u8] = b".part";

/// The separator of the two paths of a request.
const BAR: &[u8] = b" | ";

/// A path that a server named, beneath the directory it was asked for.
///
/// # Errors
/// `BadName` for one that leads anywhere else: absolute, with `..`, with an
/// empty component or a NUL.
pub(super) fn beneath(path: &[u8]) -> Result<&[u8]> {
    let fine = !path.is_empty()
        && !path.contains(&0)
        && path
            .split(|c| *c == b'/')
            .all(|name| !matches!(name, b"" | b"." | b".."));
    if fine {
        Ok(path)
    } else {
        Err(bad_name(
            path,
            "the server named a path outside the directory",
        ))
    }
}

/// Checks that a remote path can be stored by way of a part next to it.
///
/// # Errors
/// `BadName` for one that RENAM can't name, or that tfd keeps for uploads in
/// progress.
pub(super) fn sendable(path: &[u8]) -> Result<()> {
    let name = last(path);
    if name.starts_with(SERVER_PREFIX) && name.ends_with(SERVER_SUFFIX) {
        let why = "the server keeps such names for uploads in progress: choose another";
        return Err(bad_name(path, why));
    }
    if directory(path)
        .windows(BAR.len())
        .any(|window| window == BAR)
    {
        return Err(bad_name(
            path,
            "RENAM takes no path with \" | \" in a directory's name",
        ));
    }
    Ok(())
}

/// A file that arrived wrong, and can't be removed.
pub(super) fn stays(path: &[u8]) -> ClientError {
    let why = "SHA-256 differs, and this account may not remove it";
    bad_name(path, why)
}

pub(super) fn bad_name(path: &[u8], why: &'static str) -> ClientError {
    ClientError::BadName {
        name: path.to_vec(),
        why,
    }
}

/// Whether CHMOD can name it: it splits at the first space.
pub(super) fn can_change_mode(path: &[u8]) -> bool {
    !path.contains(&b' ')
}

/// The name of a part, the same for the same way from source to target. With
/// `version`, parts of one way and different versions differ in their end.
pub(super) fn part_name(way: &[&[u8]], version: &[u8]) -> Vec<u8> {
    let digits = |parts: &[&[u8]]| -> String {
        // Each part's length before it, so that no two lists read alike.
        let bytes: Vec<u8> = parts
            .iter()
            .flat_map(|p| [&p.len().to_be_bytes()[..], p].concat())
            .collect();
        hex(&sha256(&bytes)[..8])
    };
    let mut name = [PART_PREFIX, digits(way).as_bytes()].concat();
    if !version.is_empty() {
        name.extend_from_slice(b"-");
        name.extend_from_slice(&digits(&[version]).as_bytes()[..8]);
    }
    name.extend_from_slice(PART_SUFFIX);
    name
}

/// Whether a name is that of a part.
pub(super) fn is_part(name: &[u8]) -> bool {
    name.strip_prefix(PART_PREFIX)
        .and_then(|rest| rest.strip_suffix(PART_SUFFIX))
        .is_some_and(|digits| digits.len() >= 16 && !digits.contains(&b'.'))
}

/// A name in a directory; `directory` is empty for where one is.
pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() || directory.ends_with(b"/") {
        [directory, name].concat()
    } else {
        [directory, b"/", name].concat()
    }
}

/// The last component of a path, trailing slashes aside.
pub(super) fn last(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|c| *c != b'/').map_or(0, |at| at + 1);
    path[..end]
        .rsplit(|c| *c == b'/')
        .next()
        .unwrap_or_default()
}

/// The directory a path lies in, its slash included; empty for where one is.
pub(super) fn directory(path: &[u8]) -> &[u8] {
    path.iter()
        .rposition(|c| *c == b'/')
        .map_or(&b""[..], |at| &path[..=at])
}

/// The directories a path leads through, the outermost first, and itself.
pub(super) fn levels(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = path
        .iter()
        .enumerate()
        .filter(|(_, c)| **c == b'/')
        .map(|(at, _)| at);
    ends.chain([path.len()]).map(|end| &path[..end])
}

/// The bytes of a request: the word and its arguments.
pub(super) fn request(word: &str, path: &[u8]) -> Vec<u8> {
    [word.as_bytes(), b" ", path].concat()
}

/// The bytes of a request with two paths.
pub(super) fn two_paths(word: &str, from: &[u8], to: &[u8]) -> Vec<u8> {
    [word.as_bytes(), b" ", from, b" | ", to].concat()
}

/// The bytes of the request that gives a path these permission bits.
pub(super) fn change_mode(path: &[u8], mode: u32) -> Vec<u8> {
    [b"CHMOD ", path, format!(" {mode:o}").as_bytes()].concat()
}

/// The data after `OK` in the reply to a request.
///
/// # Errors
/// The server's refusal.
pub(super) fn data_of<'a>(request: &[u8], reply: &'a [u8]) -> Result<&'a [u8]> {
    ok_data(&String::from_utf8_lossy(request), reply)
}

/// Checks that a reply is `OK`.
///
/// # Errors
/// The server's refusal.
pub(super) fn done(request: &[u8], reply: &[u8]) -> Result<()> {
    data_of(request, reply).map(drop)
}

/// The stat in a reply to FSTAT.
///
/// # Errors
/// The server's refusal.
pub(super) fn stat_of(request: &[u8], reply: &[u8]) -> Result<Stat> {
    let data = data_of(request, reply)?;
    Stat::parse(data).ok_or_else(|| refusal(&String::from_utf8_lossy(request), data))
}

/// The digest in a reply to SHA256.
///
/// # Errors
/// The server's refusal.
pub(super) fn digest_of(request: &[u8], reply: &[u8]) -> Result<[u8; 32]> {
    let data = data_of(request, reply)?;
    let digits = data.strip_prefix(b"0x").unwrap_or(data);
    parse_digest(digits).ok_or_else(|| refusal(&String::from_utf8_lossy(request), data))
}

fn parse_digest(digits: &[u8]) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != digest.len() || !rest.is_empty() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(pairs) {
        let digit = |c: u8| char::from(c).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?;
    }
    Some(digest)
}

impl Connection {
    /// The SHA-256 of a file, 64 hexadecimal digits (document, "SHA256").
    ///
    /// # Errors
    /// The server's refusal, or the connection is lost.
    pub fn sha256(&mut self, path: &str) -> Result<String> {
        let asked = request("SHA256", path.as_bytes());
        let reply = self.request(&asked)?;
        digest_of(&asked, &reply).map(|digest| hex(&digest))
    }

    /// Sends requests of one short reply each and returns the replies in order.
    ///
    /// # Errors
    /// When the connection is lost.
    pub(in crate::client) fn ask_all(
        &mut self,
        requests: &[impl AsRef<[u8]>],
    ) -> Result<Vec<Vec<u8>>> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let mut replies = Vec::with_capacity(requests.len());
        let mut waiting = requests.iter();
        let mut sent = 0;
        let mut features_due = self.send_features_if_due();
        while replies.len() < requests.len() {
            while sent - replies.len() < ON_THE_WAY && self.wire().link().held() < HELD {
                let Some(request) = waiting.next() else { break };
                self.wire().write_message_later(request.as_ref());
                sent += 1;
            }
            let is_due = self.reply_is_due(sent > replies.len())?;
            let may_send = sent < requests.len() && sent - replies.len() < ON_THE_WAY;
            if is_due && (!may_send || self.wire().has_input()) {
                let mut reply = Vec::new();
                self.wire().read_short_message(&mut reply, LONGEST_REPLY)?;
                if std::mem::take(&mut features_due) {
                    self.take_features(&reply);
                } else {
                    replies.push(reply);
                }
            }
        }
        Ok(replies)
    }

    /// Sends the request of each item and returns how their replies are read,
    /// in order.
    ///
    /// # Errors
    /// When the connection is lost.
    pub(super) fn ask_each<I, A>(
        &mut self,
        items: &[I],
        request: impl Fn(&I) -> Vec<u8>,
        read: impl Fn(&[u8], &[u8]) -> Result<A>,
    ) -> Result<Vec<Result<A>>> {
        let asked: Vec<_> = items.iter().map(request).collect();
        let replies = self.ask_all(&asked)?;
        Ok(asked
            .iter()
            .zip(&replies)
            .map(|(asked, reply)| read(asked, reply))
            .collect())
    }

    /// As [`Connection::ask_all`] for one request.
    ///
    /// # Errors
    /// The server's refusal, or the connection is lost.
    pub(super) fn ask(&mut self, request: &[u8]) -> Result<Vec<u8>> {
        let reply = self.request(request)?;
        data_of(request, &reply).map(<[u8]>::to_vec)
    }

    /// What the server says of a path: outside that the connection is lost,
    /// inside its refusal.
    pub(super) fn stat_there(&mut self, path: &[u8]) -> Result<Result<Stat>> {
        let asked = request("FSTAT", path);
        let replies = self.ask_all(std::slice::from_ref(&asked))?;
        Ok(stat_of(&asked, replies.first().map_or(b"", Vec::as_slice)))
    }

    /// Sends of what is held, as long as the server takes it; whether it is
    /// time to read a reply, because one is there or nothing is left to send.
    ///
    /// # Errors
    /// When the connection is lost.
    pub(super) fn reply_is_due(&mut self, awaited: bool) -> Result<bool> {
        let wire = self.wire();
        while wire.link().held() > 0 {
            let before = wire.link().held();
            wire.link().send_held(AT_ONCE).map_err(WireError::from)?;
            if wire.link().held() < before {
                continue;
            }
            if wire.link().wait_for_either().map_err(WireError::from)? {
                return if awaited {
                    Ok(true)
                } else {
                    Err(unasked().into())
                };
            }
        }
        Ok(awaited)
    }
}

fn unasked() -> WireError {
    WireError::Broken("the server sent what nobody asked for")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_and_nothing_else() {
        let digits = "0123456789abcdefABCDEF0000000000000000000000000000000000000000ff";
        let digest = digest_of(b"SHA256 f", format!("OK 0x{digits}").as_bytes()).expect("digest");
        assert_eq!((digest[1], digest[31]), (0x23, 0xff));
        for odd in [
            "OK",
            "OK 0x12",
            "FAILED 45 : x",
            &format!("OK 0x{digits}0"),
            &"g".repeat(64),
        ] {
            assert!(digest_of(b"SHA256 f", odd.as_bytes()).is_err(), "{odd}");
        }
    }

    #[test]
    fn a_server_can_not_name_a_path_outside() {
        for path in ["a", "a/b", "..a", "a/...", " ", "a\nb"] {
            assert!(beneath(path.as_bytes()).is_ok(), "{path:?}");
        }
        for path in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../a",
            "a/../b",
            "a/..",
            ".",
            "a//b",
            "a\0",
        ] {
            assert!(beneath(path.as_bytes()).is_err(), "{path:?}");
        }
    }

    #[test]
    fn a_part_is_known_by_its_name_and_belongs_to_one_way() {
        let name = part_name(&[b"a", b"bc"], b"");
        assert_eq!(name, part_name(&[b"a", b"bc"], b""));
        assert_ne!(name, part_name(&[b"ab", b"c"], b""));
        assert!(is_part(&name) && is_part(&part_name(&[b"a"], b"version")));
        for other in [
            ".tf-.part",
            ".tf-x.part",
            "tf-0123456789abcdef.part",
            ".tf-0123456789abcdef",
        ] {
            assert!(!is_part(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn paths_come_apart_and_together() {
        assert_eq!(last(b"a/b//"), b"b");
        assert_eq!(last(b"/"), b"");
        assert_eq!(directory(b"a/b"), b"a/");
        assert_eq!(directory(b"b"), b"");
        assert_eq!(join(b"a", b"b"), b"a/b");
        assert_eq!(join(b"", b"b"), b"b");
        assert!(sendable(b"a/b | c").is_ok() && sendable(b"a | b/c").is_err());
    }
}
