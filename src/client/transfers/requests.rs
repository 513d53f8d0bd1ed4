//! Requests on paths that are bytes, and many of one reply each on their way
//! at once. Replies are read while requests are sent, so neither side ever
//! waits for the other to take something.

use crate::client::commands::Stat;
use crate::client::connect::{Connection, ok_data, refusal};
use crate::client::error::Result;
use crate::tf::wire::WireError;

/// The most requests on their way.
const ON_THE_WAY: usize = 1024;

/// The most bytes of a reply that are kept: an answer to one of these requests
/// is shorter.
const LONGEST_REPLY: usize = 512;

/// The most bytes enciphered before they are sent.
pub(super) const HELD: usize = 128 * 1024;

/// The most bytes sent with one call.
pub(super) const AT_ONCE: usize = 64 * 1024;

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

/// What stands behind `OK` in the reply to a request.
///
/// # Errors
/// The server's refusal.
pub(super) fn data_of<'a>(request: &[u8], reply: &'a [u8]) -> Result<&'a [u8]> {
    ok_data(&String::from_utf8_lossy(request), reply)
}

/// What a reply to FSTAT tells.
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
        *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Some(digest)
}

impl Connection {
    /// Sends requests of one short reply each and returns the replies in order.
    ///
    /// # Errors
    /// When the connection is lost.
    pub(super) fn ask_all(&mut self, requests: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
        let mut replies = Vec::with_capacity(requests.len());
        let mut waiting = requests.iter().peekable();
        let mut sent = 0;
        while replies.len() < requests.len() {
            while sent - replies.len() < ON_THE_WAY && self.wire().held() < HELD {
                let Some(request) = waiting.next() else { break };
                self.wire().write_message_later(request);
                sent += 1;
            }
            if self.reply_is_due(sent > replies.len())? {
                let mut reply = Vec::new();
                self.wire().read_short_message(&mut reply, LONGEST_REPLY)?;
                replies.push(reply);
            }
        }
        Ok(replies)
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
        let reply = self.request(&asked)?;
        Ok(stat_of(&asked, &reply))
    }

    /// Sends of what is held, as long as the server takes it; whether it is
    /// time to read a reply, because one is there or nothing is left to send.
    ///
    /// # Errors
    /// When the connection is lost.
    pub(super) fn reply_is_due(&mut self, awaited: bool) -> Result<bool> {
        let wire = self.wire();
        while wire.held() > 0 {
            let before = wire.held();
            wire.send_held(AT_ONCE)?;
            if wire.held() < before {
                continue;
            }
            if wire.wait_for_either()? {
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
}
