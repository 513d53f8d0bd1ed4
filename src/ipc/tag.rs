//! Which connection a message between processes is about. The slot is not
//! enough: its connection may have ended in between, and another one have it.

use super::codec::codec;

/// A connection: its slot, and a mark that distinguishes it from others there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The slot.
    pub slot: u32,
    /// See [`mark`].
    pub mark: u64,
}

codec!(struct Tag { slot, mark });

/// The mark of the connection with this key, different from others in the slot.
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
