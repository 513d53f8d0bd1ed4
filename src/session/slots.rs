//! The page of a connection: memory of its own that the processes which serve it
//! map, and in which they publish what they do. The daemon reads it without
//! mapping. It says nothing of who the client is, which process serves it or
//! whether it is still there: the process may have been taken over.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::ipc::page;
use crate::net::link::Meter;
use crate::session::audit::Outcome;
use crate::session::counts::{self, COUNTERS, Counts};
use crate::session::effect::Effect;
use crate::sys::memory::{WORD, for_reading, map_page, shared_pages};

/// What the words of a page hold.
mod word {
    /// Whether a relay is connected.
    pub(crate) const CONNECTED: usize = 0;
    /// Urgent bytes so far.
    pub(crate) const URGENT: usize = 1;
    pub(crate) const RECEIVED: usize = 2;
    pub(crate) const SENT: usize = 3;
    /// Odd while the words of the request are being written.
    pub(crate) const SEQUENCE: usize = 4;
    /// The command of the request under way, as bytes; 0 for none.
    pub(crate) const COMMAND: [usize; 2] = [5, 6];
    /// When it began, on the clock of [`super::now`].
    pub(crate) const BEGUN: usize = 7;
    /// The bytes of its path, and these.
    pub(crate) const LENGTH: usize = 8;
    pub(crate) const PATH: usize = 9;
    /// What its requests came to.
    pub(crate) const COUNTS: usize = PATH + super::MAX_PATH / super::WORD;
}

/// The longest name of a command, in bytes. Protocols assert theirs against it.
pub const MAX_COMMAND: usize = word::COMMAND.len() * WORD;

/// The longest path that is shown whole, in bytes.
const MAX_PATH: usize = 1024;

/// How many words of a page are in use.
const WORDS: usize = word::COUNTS + COUNTERS;

/// How often a request is read again that was written to meanwhile.
const TRIES: usize = 8;

/// Time since some moment in the past, the same for all processes.
pub fn now() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::try_from(now).unwrap_or_default()
}

/// The page of a connection, for those who do not serve it.
#[derive(Debug)]
pub struct Page(OwnedFd);

/// What a page says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Bytes from the client.
    pub received: u64,
    /// Bytes to the client.
    pub sent: u64,
    /// What its requests came to.
    pub counts: Counts,
    /// The request under way.
    pub doing: Option<Doing>,
}

/// A request under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doing {
    /// The command.
    pub command: Vec<u8>,
    /// When it began, on the clock of [`now`].
    pub begun: Duration,
    /// The path it names first, or its beginning.
    pub path: Vec<u8>,
}

impl Page {
    /// A page that says nothing yet.
    pub fn new() -> io::Result<Page> {
        shared_pages("tfd-page", 1).map(Page)
    }

    /// The page behind a descriptor that came over a channel.
    pub fn from_handle(handle: OwnedFd) -> Page {
        Page(handle)
    }

    /// Another descriptor of it, for a process that is to map it.
    pub fn try_clone(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }

    /// A descriptor of it for reading alone.
    ///
    /// # Errors
    /// The system's; also where `/proc` is not mounted.
    pub fn reader(&self) -> io::Result<OwnedFd> {
        for_reading(self)
    }

    /// What it says of the connection.
    pub fn activity(&self) -> Activity {
        let changes = || self.word(word::SEQUENCE);
        let whole = page::read(TRIES, changes, || self.words());
        let words = whole.unwrap_or_else(|| self.words());
        Activity {
            received: words[word::RECEIVED],
            sent: words[word::SENT],
            counts: Counts::from_words(&words[word::COUNTS..]),
            doing: whole.and_then(|words| doing(&words)),
        }
    }

    /// How many urgent bytes there were.
    pub fn urgent_bytes(&self) -> u64 {
        self.word(word::URGENT)
    }

    /// Whether a relay is connected, as it says.
    pub fn is_connected(&self) -> bool {
        self.word(word::CONNECTED) != 0
    }

    fn words(&self) -> [u64; WORDS] {
        let mut bytes = [0; WORDS * WORD];
        let mut words = [0; WORDS];
        if rustix::io::pread(&self.0, &mut bytes, 0) == Ok(bytes.len()) {
            for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
                *word = u64::from_ne_bytes(*bytes);
            }
        }
        words
    }

    fn word(&self, word: usize) -> u64 {
        let mut bytes = [0; WORD];
        match rustix::io::pread(&self.0, &mut bytes, (word * WORD) as u64) {
            Ok(WORD) => u64::from_ne_bytes(bytes),
            _ => 0,
        }
    }
}

/// The request in the words of a page.
fn doing(words: &[u64; WORDS]) -> Option<Doing> {
    let command = text_from_words(&word::COMMAND.map(|word| words[word]));
    let path = words[word::PATH..word::COUNTS]
        .iter()
        .flat_map(|word| word.to_ne_bytes());
    let len = usize::try_from(words[word::LENGTH]).unwrap_or(MAX_PATH);
    let begun = Duration::from_nanos(words[word::BEGUN]);
    (!command.is_empty()).then(|| Doing {
        command,
        begun,
        path: path.take(len).collect(),
    })
}

/// A short text in some words, padded with NUL.
fn text_from_words(words: &[u64]) -> Vec<u8> {
    let mut text: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    text.retain(|byte| *byte != 0);
    text
}

/// The words of a short text; what is longer is cut.
fn words_from_text<const N: usize>(text: &str) -> [u64; N] {
    let mut words = [0; N];
    for (word, part) in words.iter_mut().zip(text.as_bytes().chunks(WORD)) {
        let mut bytes = [0; WORD];
        bytes[..part.len()].copy_from_slice(part);
        *word = u64::from_ne_bytes(bytes);
    }
    words
}

impl AsFd for Page {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A connection's own page, in the processes that serve it. One at a time of
/// them writes to it.
#[derive(Clone, Copy, Debug)]
pub struct Slot(&'static [AtomicU64]);

impl Slot {
    /// Maps the page of a connection, and closes the descriptor.
    pub fn map(page: OwnedFd) -> io::Result<Slot> {
        Ok(Slot(map_page(page.as_fd())?))
    }

    /// Publishes how many urgent bytes there were.
    pub fn set_urgent_bytes(self, count: u64) {
        self.set(word::URGENT, count);
    }

    /// Publishes that this relay is connected.
    pub fn connected(self) {
        self.set(word::CONNECTED, 1);
    }

    /// The counters of what the connection moves.
    pub fn meter(self) -> Meter {
        Meter {
            received: &self.0[word::RECEIVED],
            sent: &self.0[word::SENT],
        }
    }

    /// Says that a request has begun.
    pub fn begins(self, command: &str, path: &[u8]) {
        let path = &path[..path.len().min(MAX_PATH)];
        debug_assert!(command.len() <= MAX_COMMAND, "{command} is cut");
        let [first, second] = words_from_text(command);
        self.write(|| {
            self.set(word::COMMAND[0], first);
            self.set(word::COMMAND[1], second);
            self.set(word::BEGUN, u64::try_from(now().as_nanos()).unwrap_or(0));
            self.set(word::LENGTH, path.len() as u64);
            for (at, part) in path.chunks(WORD).enumerate() {
                let mut bytes = [0; WORD];
                bytes[..part.len()].copy_from_slice(part);
                self.set(word::PATH + at, u64::from_ne_bytes(bytes));
            }
        });
    }

    /// Says that it is over, and counts it.
    pub fn ended(self, effect: Effect, outcome: Outcome, bytes: u64) {
        self.write(|| word::COMMAND.into_iter().for_each(|word| self.set(word, 0)));
        for (counter, more) in counts::changes(effect, outcome, bytes) {
            let word = &self.0[word::COUNTS + counter];
            // One process at a time writes to it.
            let count = word.load(Ordering::Relaxed).wrapping_add(more);
            word.store(count, Ordering::Relaxed);
        }
    }

    /// Writes what belongs together so that a reader notices a torn text.
    fn write(self, words: impl FnOnce()) {
        page::change(&self.0[word::SEQUENCE], words);
    }

    fn set(self, word: usize, value: u64) {
        self.0[word].store(value, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> (Page, Slot) {
        let page = Page::new().expect("page");
        let slot = Slot::map(page.try_clone().expect("page")).expect("slot");
        (page, slot)
    }

    #[test]
    fn the_daemon_reads_what_a_process_publishes_in_its_page() {
        let (page, slot) = page();
        assert_eq!(page.activity(), Activity::default());
        slot.meter().received.store(3, Ordering::Relaxed);
        slot.meter().sent.store(4, Ordering::Relaxed);
        slot.set_urgent_bytes(5);
        let reader = page.reader().expect("reader");
        assert!(Slot::map(reader.try_clone().expect("reader")).is_err());
        for page in [&page, &Page::from_handle(reader)] {
            let Activity { received, sent, .. } = page.activity();
            assert_eq!((received, sent, page.urgent_bytes()), (3, 4, 5));
        }
        assert!(!page.is_connected());
        slot.connected();
        assert!(page.is_connected());
    }

    #[test]
    fn a_request_is_told_while_it_runs_with_its_path_up_to_a_length() {
        let (page, slot) = page();
        for len in [0, 1, 8, 9, MAX_PATH, MAX_PATH + 1] {
            slot.begins("RMSECDIR", &vec![b'x'; len]);
            let doing = page.activity().doing.expect("a request");
            assert_eq!(doing.command, b"RMSECDIR");
            assert_eq!(doing.path, vec![b'x'; len.min(MAX_PATH)]);
            assert!(doing.begun <= now() && now() - doing.begun < Duration::from_secs(9));
        }
        slot.ended(Effect::Adds, Outcome::Failed(Some(13)), 5);
        let activity = page.activity();
        assert_eq!(activity.doing, None);
        assert_eq!(activity.counts.totals(), (1, 1));
        let failed: Vec<_> = activity.counts.failed().collect();
        assert_eq!(failed, [(13, 1)]);
    }

    #[test]
    fn what_is_being_written_is_not_told() {
        let (page, slot) = page();
        slot.begins("DEL", b"a");
        slot.write(|| assert_eq!(page.activity().doing, None));
        assert!(page.activity().doing.is_some());
        slot.set(word::SEQUENCE, 0);
        slot.set(word::LENGTH, u64::MAX);
        assert_eq!(
            page.activity().doing.expect("a request").path.len(),
            MAX_PATH
        );
    }
}
