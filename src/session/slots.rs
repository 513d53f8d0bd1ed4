//! The table of slots: memory that the daemon shares with the processes that
//! serve clients, a page for each connection. A process maps the page of its
//! own connection and no other; the daemon reads and writes without mapping.
//! What a page says is the word of a process that may have been taken over.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::ipc::channel::{address_from_bytes, address_to_bytes};
use crate::ipc::page;
use crate::ipc::tag::mark;
use crate::net::link::Meter;
use crate::sys::memory::{WORD, for_reading, map_page, page_size, shared_pages};
use crate::sys::number::halves;

/// What the words of a page hold.
mod word {
    pub(crate) const STAGE: usize = 0;
    /// The process that serves the connection.
    pub(crate) const PROCESS: usize = 1;
    pub(crate) const RECEIVED: usize = 2;
    pub(crate) const SENT: usize = 3;
    /// Odd while the words of the request are being written.
    pub(crate) const SEQUENCE: usize = 4;
    /// The command of the request under way, as bytes; 0 for none.
    pub(crate) const COMMAND: [usize; 2] = [5, 13];
    /// When it began, on the clock of [`super::now`].
    pub(crate) const BEGUN: usize = 6;
    /// The bytes of its path, and these.
    pub(crate) const LENGTH: usize = 8;
    pub(crate) const PATH: usize = 15;
    /// Which connection the page is of: the daemon's word.
    pub(crate) const MARK: usize = 9;
    /// Who the client is, where a proxy brought it.
    pub(crate) const PORT: usize = 10;
    pub(crate) const ADDRESS: [usize; 2] = [11, 12];
    /// The name of its protocol, as bytes.
    pub(crate) const PROTOCOL: usize = 14;
}

/// The longest name of a command, in bytes. Protocols assert theirs against it.
pub const MAX_COMMAND: usize = word::COMMAND.len() * WORD;

/// The longest path that is shown whole, in bytes.
const MAX_PATH: usize = 1024;

/// Out-of-band bytes so far.
pub const OUT_OF_BAND: usize = 7;

/// How many words of a page are in use.
const WORDS: usize = word::PATH + MAX_PATH / WORD;

/// What stands in the stage once the last door is open.
const ADMITTED: u64 = 1;

/// How often a request is read again that was written to meanwhile.
const TRIES: usize = 8;

/// Time since some moment in the past, the same for all processes.
pub fn now() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::try_from(now).unwrap_or_default()
}

/// The daemon's view of the table.
#[derive(Debug)]
pub struct Slots {
    memory: OwnedFd,
    reader: OwnedFd,
}

/// What the page of a connection says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Whether the last door is open.
    pub admitted: bool,
    /// Which connection it is, see [`mark`].
    pub mark: u64,
    /// The process that serves it; 0 for none.
    pub process: u64,
    /// The protocol it speaks.
    pub protocol: Vec<u8>,
    /// Bytes from the client.
    pub received: u64,
    /// Bytes to the client.
    pub sent: u64,
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

impl Slots {
    /// A table of `count` slots.
    pub fn new(count: u32) -> io::Result<Slots> {
        let memory = shared_pages("tfd-slots", count as usize)?;
        // Without /proc there are no responders either, who need it.
        let reader = for_reading(&memory).or_else(|_| memory.try_clone())?;
        Ok(Slots { memory, reader })
    }

    /// Begins the connection with this process key: whatever stood in its
    /// page is gone.
    pub fn begin(&self, slot: u32, key: [u8; 16]) -> io::Result<()> {
        let mut words = [0; WORDS * WORD];
        words[word::MARK * WORD..][..WORD].copy_from_slice(&mark(key).to_ne_bytes());
        Ok(rustix::io::pwrite(&self.memory, &words, place(slot, 0)).map(drop)?)
    }

    /// Ends a connection: no process serves it from now on.
    pub fn end(&self, slot: u32) -> io::Result<()> {
        const { assert!(word::STAGE == 0 && word::PROCESS == 1) };
        Ok(rustix::io::pwrite(&self.memory, &[0; 2 * WORD], place(slot, 0)).map(drop)?)
    }

    /// Whether the last door of a connection is open, as its process says.
    pub fn is_admitted(&self, slot: u32) -> bool {
        self.word(slot, word::STAGE) == ADMITTED
    }

    /// How many bytes came from the client of a connection, and went to it.
    pub fn moved(&self, slot: u32) -> (u64, u64) {
        const { assert!(word::SENT == word::RECEIVED + 1) };
        let mut bytes = [0; 2 * WORD];
        match rustix::io::pread(&self.reader, &mut bytes, place(slot, word::RECEIVED)) {
            Ok(len) if len == bytes.len() => {
                let words = bytes.as_chunks().0;
                (u64::from_ne_bytes(words[0]), u64::from_ne_bytes(words[1]))
            }
            _ => (0, 0),
        }
    }

    /// All that the page of a connection says.
    pub fn page(&self, slot: u32) -> Page {
        let changes = || self.word(slot, word::SEQUENCE);
        let whole = page::read(TRIES, changes, || self.words(slot));
        let words = whole.unwrap_or_else(|| self.words(slot));
        Page {
            admitted: words[word::STAGE] == ADMITTED,
            mark: words[word::MARK],
            process: words[word::PROCESS],
            protocol: text_from_words(&[words[word::PROTOCOL]]),
            received: words[word::RECEIVED],
            sent: words[word::SENT],
            doing: whole.and_then(|words| doing(&words)),
        }
    }

    /// What a process needs that only reads.
    pub fn reader(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    fn words(&self, slot: u32) -> [u64; WORDS] {
        let mut bytes = [0; WORDS * WORD];
        let mut words = [0; WORDS];
        if rustix::io::pread(&self.reader, &mut bytes, place(slot, 0)) == Ok(bytes.len()) {
            for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
                *word = u64::from_ne_bytes(*bytes);
            }
        }
        words
    }

    /// The client of a connection, as its process says.
    pub fn client(&self, slot: u32) -> Option<SocketAddr> {
        let port = u16::try_from(self.word(slot, word::PORT))
            .ok()
            .filter(|port| *port > 0)?;
        let [high, low] = word::ADDRESS.map(|word| u128::from(self.word(slot, word)));
        Some(SocketAddr::new(
            address_from_bytes((high << 64 | low).to_be_bytes()),
            port,
        ))
    }

    fn word(&self, slot: u32, word: usize) -> u64 {
        let mut bytes = [0; WORD];
        match rustix::io::pread(&self.reader, &mut bytes, place(slot, word)) {
            Ok(WORD) => u64::from_ne_bytes(bytes),
            _ => 0,
        }
    }
}

/// The request in the words of a page.
fn doing(words: &[u64; WORDS]) -> Option<Doing> {
    let command = text_from_words(&word::COMMAND.map(|word| words[word]));
    let path = words[word::PATH..]
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

impl AsFd for Slots {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

fn place(slot: u32, word: usize) -> u64 {
    u64::from(slot) * page_size() as u64 + (word * WORD) as u64
}

/// A connection's own page, in the processes that serve it. One at a time of
/// them writes to it.
#[derive(Clone, Copy, Debug)]
pub struct Slot(&'static [AtomicU64]);

impl Slot {
    /// Maps the page of a slot.
    pub fn map(slots: BorrowedFd<'_>, slot: u32) -> io::Result<Slot> {
        Ok(Slot(map_page(slots, slot as usize)?))
    }

    /// Says how many out-of-band bytes there were.
    pub fn tell_out_of_band(self, count: u64) {
        self.set(OUT_OF_BAND, count);
    }

    /// Says who the client is.
    pub fn set_client(self, client: SocketAddr) {
        let [high, low] = halves(address_to_bytes(client.ip()));
        self.set(word::ADDRESS[0], high);
        self.set(word::ADDRESS[1], low);
        self.set(word::PORT, client.port().into());
    }

    /// Says that this process serves the connection, by this protocol.
    pub fn serve(self, protocol: &str) {
        let [word] = words_from_text(protocol);
        self.set(word::PROTOCOL, word);
        self.enter();
    }

    /// Says that this process serves the connection.
    pub fn enter(self) {
        self.set(word::PROCESS, u64::from(std::process::id()));
    }

    /// Says that the last door is open, and the session in this process.
    pub fn admit(self) {
        self.enter();
        self.set(word::STAGE, ADMITTED);
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

    /// Says that it is over.
    pub fn ended(self) {
        self.write(|| word::COMMAND.into_iter().for_each(|word| self.set(word, 0)));
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

    #[test]
    fn the_daemon_reads_what_a_process_says_in_its_own_page() {
        let slots = Slots::new(4).expect("slots");
        let slot = Slot::map(slots.as_fd(), 3).expect("slot");
        assert!(!slots.is_admitted(3));
        slot.admit();
        assert!(slots.is_admitted(3) && !slots.is_admitted(2));
        let page = slots.page(3);
        assert!(page.admitted && page.process == u64::from(std::process::id()));
        assert_eq!(slots.page(2), Page::default());
        slot.meter().received.store(3, Ordering::Relaxed);
        slot.meter().sent.store(4, Ordering::Relaxed);
        assert_eq!((slots.moved(3), slots.moved(2)), ((3, 4), (0, 0)));
        assert_eq!(slots.client(3), None);
        for client in ["192.0.2.1:7", "[2001:db8::1]:65535"] {
            let client = client.parse().expect("address");
            slot.set_client(client);
            assert_eq!(slots.client(3), Some(client));
        }
        slots.end(3).expect("end");
        assert_eq!(
            slots.page(3),
            Page {
                received: 3,
                sent: 4,
                ..Page::default()
            }
        );
        slots.begin(3, [7; 16]).expect("begin");
        assert_eq!(
            slots.page(3),
            Page {
                mark: mark([7; 16]),
                ..Page::default()
            }
        );
        assert_eq!(slots.client(3), None);
        assert!(Slot::map(slots.as_fd(), 4).is_err());
    }

    #[test]
    fn a_request_is_told_while_it_runs_with_its_path_up_to_a_length() {
        let slots = Slots::new(1).expect("slots");
        let slot = Slot::map(slots.as_fd(), 0).expect("slot");
        for len in [0, 1, 8, 9, MAX_PATH, MAX_PATH + 1] {
            slot.begins("RMSECDIR", &vec![b'x'; len]);
            let doing = slots.page(0).doing.expect("a request");
            assert_eq!(doing.command, b"RMSECDIR");
            assert_eq!(doing.path, vec![b'x'; len.min(MAX_PATH)]);
            assert!(doing.begun <= now() && now() - doing.begun < Duration::from_secs(9));
        }
        slot.ended();
        assert_eq!(slots.page(0).doing, None);
    }

    #[test]
    fn what_is_being_written_is_not_told() {
        let slots = Slots::new(1).expect("slots");
        let slot = Slot::map(slots.as_fd(), 0).expect("slot");
        slot.begins("DEL", b"a");
        slot.write(|| assert_eq!(slots.page(0).doing, None));
        assert!(slots.page(0).doing.is_some());
        slot.set(word::SEQUENCE, 0);
        slot.set(word::LENGTH, u64::MAX);
        assert_eq!(slots.page(0).doing.expect("a request").path.len(), MAX_PATH);
    }
}
