//! Fields of a payload, one after the other.

use super::error::{Result, WireError};

/// What is left of a payload.
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn new(payload: &'a [u8]) -> Fields<'a> {
        Fields(payload)
    }

    /// The next bytes; `name` says what they are.
    pub(super) fn bytes(&mut self, len: usize, name: &'static str) -> Result<&'a [u8]> {
        let (bytes, left) = self.0.split_at_checked(len).ok_or(WireError::Field(name))?;
        self.0 = left;
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self, name: &'static str) -> Result<[u8; N]> {
        let bytes = self.bytes(N, name)?;
        bytes.try_into().map_err(|_| WireError::Field(name))
    }

    pub(super) fn u32(&mut self, name: &'static str) -> Result<u32> {
        self.array(name).map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self, name: &'static str) -> Result<u64> {
        self.array(name).map(u64::from_be_bytes)
    }

    /// A number that is signed on the wire and not negative.
    pub(super) fn size(&mut self, name: &'static str) -> Result<u64> {
        let size = self.u64(name)?;
        match i64::try_from(size) {
            Ok(_) => Ok(size),
            Err(_) => Err(WireError::Field(name)),
        }
    }

    /// The same in 32 bits, up to `most`.
    pub(super) fn count(&mut self, most: u32, name: &'static str) -> Result<u32> {
        match self.u32(name)? {
            count if count <= most => Ok(count),
            _ => Err(WireError::Field(name)),
        }
    }

    /// A port, which has 32 bits here and is not 0.
    pub(super) fn port(&mut self) -> Result<u16> {
        match u16::try_from(self.u32("port")?) {
            Ok(port @ 1..) => Ok(port),
            _ => Err(WireError::Field("port")),
        }
    }

    /// All that is left.
    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    /// Fails if anything is left.
    pub(super) fn end(self, name: &'static str) -> Result<()> {
        match self.0 {
            [] => Ok(()),
            _ => Err(WireError::Field(name)),
        }
    }
}

/// A path: not empty, no longer than the system's, and without NUL but for some
/// at its end.
pub(super) fn path(bytes: &[u8]) -> Result<&[u8]> {
    let end = bytes.iter().rposition(|byte| *byte != 0);
    let path = &bytes[..end.map_or(0, |last| last + 1)];
    match path.is_empty() || path.len() > super::MAX_PATH || path.contains(&0) {
        true => Err(WireError::Field("path")),
        false => Ok(path),
    }
}
