//! The stream in which RCVFILE, LS and LSR send their bytes: messages
//! `CONT <part>`, each acknowledged by the client, then `OK`.

use crate::sys::number::at_most;
use crate::tf::wire::{MAX_MESSAGE, Wire, WireError, message_header};

/// What stands before each part.
const WORD: &[u8] = b"CONT ";
/// The header of a message.
const HEADER: usize = 4;
/// What both take.
const BEFORE: usize = HEADER + WORD.len();
/// The most bytes of one part.
const PART: usize = MAX_MESSAGE - WORD.len();
/// The same beyond the bytes expected.
const BEYOND: usize = 4096;

/// Why a stream ended before its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Interrupted {
    /// The client said `BREAK` and has its `OK`.
    #[error("BREAK")]
    Break,
    /// The connection can't go on.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The system's word on what was to be sent.
    #[error(transparent)]
    System(#[from] rustix::io::Errno),
}

/// One part being filled.
pub(super) struct Stream<'a> {
    wire: &'a mut Wire,
    message: Vec<u8>,
    reply: Vec<u8>,
}

impl<'a> Stream<'a> {
    pub(super) fn new(wire: &'a mut Wire) -> Stream<'a> {
        Stream {
            wire,
            message: Vec::new(),
            reply: Vec::new(),
        }
    }

    /// Appends bytes, sending a part whenever one is full.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), Interrupted> {
        while !bytes.is_empty() {
            if self.message.is_empty() {
                self.message.resize(BEFORE, 0);
            }
            let room = HEADER + MAX_MESSAGE - self.message.len();
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.message.extend_from_slice(now);
            bytes = later;
            if self.message.len() == HEADER + MAX_MESSAGE {
                self.send_part()?;
            }
        }
        Ok(())
    }

    /// Lets `read` fill parts until it gives 0 bytes, sending each; the next is
    /// read while the client has the last. `expected` is how many bytes there
    /// should be.
    pub(super) fn fill(
        &mut self,
        expected: u64,
        mut read: impl FnMut(&mut [u8]) -> rustix::io::Result<usize>,
    ) -> Result<(), Interrupted> {
        let mut left = expected;
        let mut load = |part: &mut Vec<u8>| {
            let room = if left > 0 {
                at_most(left, PART)
            } else {
                BEYOND
            };
            if part.len() < BEFORE + room {
                part.resize(BEFORE + room, 0);
            }
            let len = read(&mut part[BEFORE..BEFORE + room])?;
            left = left.saturating_sub(len as u64);
            Ok::<usize, Interrupted>(len)
        };
        let (mut part, mut next) = (Vec::new(), Vec::new());
        let mut len = load(&mut part)?;
        while len > 0 {
            self.send(&mut part[..BEFORE + len])?;
            let loaded = load(&mut next);
            self.await_acknowledgement()?;
            len = loaded?;
            std::mem::swap(&mut part, &mut next);
        }
        Ok(())
    }

    /// Sends what is left, without the final `OK`.
    pub(super) fn finish(&mut self) -> Result<(), Interrupted> {
        if self.message.is_empty() {
            Ok(())
        } else {
            self.send_part()
        }
    }

    /// Sends a part and waits for its acknowledgement.
    fn send_part(&mut self) -> Result<(), Interrupted> {
        let mut message = std::mem::take(&mut self.message);
        self.send(&mut message)?;
        self.message = message;
        self.message.clear();
        self.await_acknowledgement()
    }

    /// Sends a part: its message with room for the header and the word.
    fn send(&mut self, message: &mut [u8]) -> Result<(), Interrupted> {
        let len = message.len() - HEADER;
        message[..HEADER].copy_from_slice(&message_header(len));
        message[HEADER..BEFORE].copy_from_slice(WORD);
        self.wire.write_units(message, &[HEADER, len])?;
        self.wire.count_data(len - WORD.len());
        Ok(())
    }

    fn await_acknowledgement(&mut self) -> Result<(), Interrupted> {
        self.wire.read_message(&mut self.reply)?;
        if self.reply.split(|c| *c == 0).next() == Some(b"BREAK") {
            self.wire.write_message(b"OK")?;
            return Err(Interrupted::Break);
        }
        Ok(())
    }
}
