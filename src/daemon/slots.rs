//! The table of slots: memory that the daemon shares with the processes that
//! serve clients, a page for each connection. A process maps the page of its
//! own connection and no other; the daemon reads and writes without mapping.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use super::channel::{address_from_bytes, address_to_bytes};
use crate::sys::memory::{WORD, map_page, page_size, shared_pages};

/// What the words of a page hold.
const STAGE: usize = 0;
const PORT: usize = 16;
const ADDRESS: [usize; 2] = [17, 18];

/// Out-of-band bytes so far.
pub const OUT_OF_BAND: usize = 7;

/// How many words of a page are in use.
const WORDS: usize = 24;

/// What stands in [`STAGE`] once the last door is open.
const ADMITTED: u64 = 1;

/// The daemon's view of the table.
#[derive(Debug)]
pub struct Slots(OwnedFd);

impl Slots {
    /// A table of `count` slots.
    ///
    /// # Errors
    /// The system's.
    pub fn new(count: u32) -> io::Result<Slots> {
        Ok(Slots(shared_pages("tfd-slots", count as usize)?))
    }

    /// Begins a connection: whatever stood in its page is gone.
    ///
    /// # Errors
    /// The system's.
    pub fn clear(&self, slot: u32) -> io::Result<()> {
        Ok(rustix::io::pwrite(&self.0, &[0; WORDS * WORD], place(slot, 0)).map(drop)?)
    }

    /// Whether the last door of a connection is open, as its process says.
    #[must_use]
    pub fn is_admitted(&self, slot: u32) -> bool {
        self.word(slot, STAGE) == ADMITTED
    }

    /// The client of a connection, as its process says.
    #[must_use]
    pub fn client(&self, slot: u32) -> Option<SocketAddr> {
        let port = u16::try_from(self.word(slot, PORT)).ok().filter(|port| *port > 0)?;
        let [high, low] = ADDRESS.map(|word| u128::from(self.word(slot, word)));
        Some(SocketAddr::new(address_from_bytes((high << 64 | low).to_be_bytes()), port))
    }

    fn word(&self, slot: u32, word: usize) -> u64 {
        let mut bytes = [0; WORD];
        match rustix::io::pread(&self.0, &mut bytes, place(slot, word)) {
            Ok(WORD) => u64::from_ne_bytes(bytes),
            _ => 0,
        }
    }
}

impl AsFd for Slots {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn place(slot: u32, word: usize) -> u64 {
    slot as u64 * page_size() as u64 + (word * WORD) as u64
}

/// A connection's own page, in the processes that serve it.
#[derive(Clone, Copy, Debug)]
pub struct Slot(&'static [AtomicU64]);

impl Slot {
    /// Maps the page of a slot.
    ///
    /// # Errors
    /// The system's.
    pub fn map(slots: BorrowedFd<'_>, slot: u32) -> io::Result<Slot> {
        Ok(Slot(map_page(slots, slot as usize)?))
    }

    /// Says how many out-of-band bytes there were.
    pub fn tell_out_of_band(self, count: u64) {
        self.0[OUT_OF_BAND].store(count, Ordering::Relaxed);
    }

    /// Says who the client is.
    pub fn set_client(self, client: SocketAddr) {
        let bits = u128::from_be_bytes(address_to_bytes(client.ip()));
        self.0[ADDRESS[0]].store((bits >> 64) as u64, Ordering::Relaxed);
        self.0[ADDRESS[1]].store(bits as u64, Ordering::Relaxed);
        self.0[PORT].store(client.port().into(), Ordering::Relaxed);
    }

    /// Says that the last door is open.
    pub fn admit(self) {
        self.0[STAGE].store(ADMITTED, Ordering::Relaxed);
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
        assert_eq!(slots.client(3), None);
        for client in ["192.0.2.1:7", "[2001:db8::1]:65535"] {
            let client = client.parse().expect("address");
            slot.set_client(client);
            assert_eq!(slots.client(3), Some(client));
        }
        slots.clear(3).expect("clear");
        assert!(!slots.is_admitted(3));
        assert!(Slot::map(slots.as_fd(), 4).is_err());
    }
}
