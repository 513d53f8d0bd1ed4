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
    /// Bytes of a tag.
    pub const LEN: usize = 4 + 8;

    /// The connection with this process key.
    #[must_use]
    pub fn of(slot: u32, key: [u8; 16]) -> Tag {
        Tag {
            slot,
            mark: mark(key),
        }
    }

    /// The tag in a message.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Tag::LEN] {
        let mut bytes = [0; Tag::LEN];
        bytes[..4].copy_from_slice(&self.slot.to_be_bytes());
        bytes[4..].copy_from_slice(&self.mark.to_be_bytes());
        bytes
    }

    /// The same, read, and what stands behind it; `None` for fewer bytes.
    #[must_use]
    pub fn split_from(bytes: &[u8]) -> Option<(Tag, &[u8])> {
        let (slot, rest) = bytes.split_first_chunk()?;
        let (mark, rest) = rest.split_first_chunk()?;
        let (slot, mark) = (u32::from_be_bytes(*slot), u64::from_be_bytes(*mark));
        Some((Tag { slot, mark }, rest))
    }
}
