//! Which connection a message between processes is about. A slot alone does not
//! say: its connection may have ended while the message was on its way, and
//! another one have it.

use super::codec::codec;

/// A connection: its slot, and what tells it from the others in that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The slot.
    pub slot: u32,
    /// See [`mark`].
    pub mark: u64,
}

codec!(struct Tag { slot, mark });

/// What tells the connection with this key from others in the same slot.
pub fn mark(key: [u8; 16]) -> u64 {
    u64::from_ne_bytes(key.as_chunks().0[0])
}

impl Tag {
    /// The connection with this process key.
    pub fn of(slot: u32, key: [u8; 16]) -> Tag {
        Tag {
            slot,
            mark: mark(key),
        }
    }
}
