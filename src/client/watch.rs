//! Notification mode (document, "The notification system"): the server reports
//! files in directories, and the client answers whether to delete each.

use std::time::Duration;

use super::cancel::notice_silence;
use super::connect::{Connection, refusal};
use super::error::{ClientError, Result};
use crate::tf::wire::WireError;

/// A peer that is silent for longer, though it is probed, is lost.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(120);

/// A directory to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The directory; empty for the root.
    pub directory: String,
    /// How the names begin; empty for all.
    pub prefix: String,
}

/// A file that the server has reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The index of its directory in the list, from 0.
    pub index: usize,
    /// Its name in the directory. Names are bytes; clean them before they
    /// reach a terminal.
    pub name: Vec<u8>,
}

/// What to do with a reported file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays, and may be reported again after each interval.
    Keep,
    /// The server deletes it. If the account may not delete, the file is reported
    /// again.
    Delete,
}

/// A session in notification mode, in which it can do nothing else.
///
/// ```no_run
/// use std::time::Duration;
/// use tfd::client::{Access, Verdict, Watched};
///
/// # fn access() -> Access { unimplemented!() }
/// let access = access();
/// let inbox = Watched { directory: "inbox".to_owned(), prefix: String::new() };
/// let mut watch = access.open()?.watch(&[inbox], Duration::from_secs(1))?;
/// let mut other = access.open()?;
/// loop {
///     let arrival = watch.wait()?;
///     let Ok(name) = std::str::from_utf8(&arrival.name) else { continue };
///     other.download(&format!("inbox/{name}"), name.as_ref(), &mut |_| {})?;
///     watch.answer(Verdict::Delete)?;
/// }
/// # Ok::<(), tfd::client::ClientError>(())
/// ```
pub struct Watch {
    connection: Connection,
    /// How many directories are on the list.
    count: usize,
    /// Whether the server waits for an answer.
    awaited: bool,
}

impl Connection {
    /// Has the server report files in these directories from now on, existing
    /// ones first (document, "ADDNTFY" and "STARTNTFY"). A file that stays is
    /// reported again after each interval.
    ///
    /// # Errors
    /// The server's refusal, or the connection is lost.
    pub fn watch(mut self, list: &[Watched], interval: Duration) -> Result<Watch> {
        for Watched { directory, prefix } in list {
            self.command(&format!("ADDNTFY {prefix} {directory}"))?;
        }
        notice_silence(self.socket(), SILENCE_TIMEOUT)
            .map_err(|e| ClientError::Lost(WireError::Io(e.into())))?;
        let request = format!("STARTNTFY {}", interval.as_secs_f64());
        self.wire().write_message(request.as_bytes())?;
        Ok(Watch {
            connection: self,
            count: list.len(),
            awaited: false,
        })
    }
}

impl Watch {
    /// Waits for the next file. A file that was reported before and not answered
    /// stays.
    ///
    /// # Errors
    /// `Odd` for a reply that is not a name in a directory of the list, or the
    /// connection is lost.
    pub fn wait(&mut self) -> Result<Arrival> {
        if self.awaited {
            self.answer(Verdict::Keep)?;
        }
        let mut body = std::mem::take(&mut self.connection.body);
        self.connection.wire().read_message(&mut body)?;
        let arrival = Arrival::parse(&body, self.count).ok_or_else(|| refusal("STARTNTFY", &body));
        self.connection.body = body;
        self.awaited = arrival.is_ok();
        arrival
    }

    /// Answers what to do with the file reported last. A second answer to the same
    /// file is ignored.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn answer(&mut self, verdict: Verdict) -> Result<()> {
        if !std::mem::take(&mut self.awaited) {
            return Ok(());
        }
        let word: &[u8] = match verdict {
            Verdict::Keep => b"OK",
            Verdict::Delete => b"DEL",
        };
        Ok(self.connection.wire().write_message(word)?)
    }
}

impl Arrival {
    /// Reads `index name`, where the name is one entry of a directory.
    fn parse(message: &[u8], count: usize) -> Option<Arrival> {
        let at = message.iter().position(|byte| *byte == b' ')?;
        let (index, name) = (&message[..at], &message[at + 1..]);
        let index = std::str::from_utf8(index).ok()?.parse().ok()?;
        let is_name = !matches!(name, b"" | b"." | b"..")
            && !name.iter().any(|byte| matches!(byte, b'/' | 0));
        (index < count && is_name).then(|| Arrival {
            index,
            name: name.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_is_an_index_and_one_name() {
        let arrival = |index, name: &str| {
            Some(Arrival {
                index,
                name: name.into(),
            })
        };
        assert_eq!(Arrival::parse(b"0 f", 1), arrival(0, "f"));
        assert_eq!(
            Arrival::parse(b"1  two\nlines ", 2),
            arrival(1, " two\nlines ")
        );
        for odd in [
            "", "0", "0 ", "1 f", "-1 f", "x f", "0 a/b", "0 ..", "0 .", "0 /etc", "0 a\0",
        ] {
            assert_eq!(Arrival::parse(odd.as_bytes(), 1), None, "{odd:?}");
        }
    }
}
