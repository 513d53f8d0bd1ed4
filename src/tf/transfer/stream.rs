//! The stream in which RCVFILE, LS and LSR send their bytes: messages
//! `CONT <part>`, each acknowledged by the client, then `OK`.

use crate::tf::wire::{MAX_MESSAGE, Wire, WireError};

/// What stands before each part.
const WORD: &[u8] = b"CONT ";
/// The header of a message.
const HEADER: usize = 4;
/// The most bytes of one part.
const PART: usize = MAX_MESSAGE - WORD.len();

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
        Stream { wire, message: Vec::new(), reply: Vec::new() }
    }

    /// Appends bytes, sending a part whenever one is full.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), Interrupted> {
        while !bytes.is_empty() {
            if self.message.is_empty() {
                self.begin_part();
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

    /// Lets `read` fill parts until it gives 0 bytes, sending each.
    pub(super) fn fill(
        &mut self,
        mut read: impl FnMut(&mut [u8]) -> rustix::io::Result<usize>,
    ) -> Result<(), Interrupted> {
        loop {
            self.begin_part();
            let begin = self.message.len();
            self.message.resize(begin + PART, 0);
            let len = read(&mut self.message[begin..])?;
            self.message.truncate(begin + len);
            if len == 0 {
                self.message.clear();
                return Ok(());
            }
            self.send_part()?;
        }
    }

    /// Sends what is left, without the final `OK`.
    pub(super) fn finish(&mut self) -> Result<(), Interrupted> {
        if self.message.is_empty() { Ok(()) } else { self.send_part() }
    }

    fn begin_part(&mut self) {
        self.message.clear();
        self.message.extend_from_slice(&[0; HEADER]);
        self.message.extend_from_slice(WORD);
    }

    /// Sends a part and waits for its acknowledgement.
    fn send_part(&mut self) -> Result<(), Interrupted> {
        let len = self.message.len() - HEADER;
        self.message[..HEADER].copy_from_slice(&(len as i32).to_be_bytes());
        self.wire.write_units(&mut self.message, &[HEADER, len])?;
        self.message.clear();
        self.wire.count_data(len - WORD.len());
        self.wire.read_message(&mut self.reply)?;
        if self.reply == b"BREAK" {
            self.wire.write_message(b"OK")?;
            return Err(Interrupted::Break);
        }
        Ok(())
    }
}
