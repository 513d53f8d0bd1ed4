//! The control connection: messages over a link.

use super::code::Code;
use super::error::{Result, WireError};
use crate::net::{Link, LinkError};
use crate::sys::number::at_most;

/// The length of a header.
pub(super) const HEADER_BYTES: usize = 8;

/// The most bytes that are read of a message that nobody wants.
const MAX_DISCARDED: u32 = 1024 * 1024;

/// The beginning of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it is; see [`Code`].
    pub code: u32,
    /// The length it announces.
    pub len: u32,
}

impl Header {
    /// As it is sent.
    pub fn encode(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&self.code.to_be_bytes());
        bytes[4..].copy_from_slice(&self.len.to_be_bytes());
        bytes
    }

    /// # Errors
    /// `Length` for a negative one.
    pub fn decode([a, b, c, d, e, f, g, h]: [u8; HEADER_BYTES]) -> Result<Header> {
        let code = u32::from_be_bytes([a, b, c, d]);
        let len = u32::from_be_bytes([e, f, g, h]);
        match i32::try_from(len) {
            Ok(_) => Ok(Header { code, len }),
            Err(_) => Err(WireError::Length { code, len, most: 0 }),
        }
    }
}

/// Both directions of a control connection.
pub struct Control {
    link: Link,
}

impl Control {
    /// Messages on a link.
    pub fn new(link: Link) -> Control {
        Control { link }
    }

    /// The link beneath it, for its limits.
    pub fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    /// The link alone.
    #[cfg_attr(
        not(feature = "testing"),
        expect(dead_code, reason = "tests look at it")
    )]
    pub fn into_link(self) -> Link {
        self.link
    }

    /// Sends a message, and those held before it, with one write.
    ///
    /// # Errors
    /// Any failure of the connection.
    pub fn send(&mut self, code: Code, payload: &[u8]) -> Result<()> {
        self.hold(code, payload)?;
        Ok(self.link.flush()?)
    }

    /// The same with a payload of another length than the message announces.
    ///
    /// # Errors
    /// Any failure of the connection.
    pub fn send_announcing(&mut self, code: Code, len: u32, payload: &[u8]) -> Result<()> {
        self.hold_announcing(code, len, payload);
        Ok(self.link.flush()?)
    }

    /// A message that goes out with the next one sent.
    ///
    /// # Errors
    /// `Length` for a payload that no message can have.
    pub fn hold(&mut self, code: Code, payload: &[u8]) -> Result<()> {
        let len = i32::try_from(payload.len()).map_err(|_| WireError::Length {
            code: code.number(),
            len: u32::MAX,
            most: i32::MAX as usize,
        })?;
        self.hold_announcing(code, len.unsigned_abs(), payload);
        Ok(())
    }

    fn hold_announcing(&mut self, code: Code, len: u32, payload: &[u8]) {
        let code = code.number();
        self.link.hold(&Header { code, len }.encode());
        self.link.hold(payload);
    }

    /// Waits for the next message. A request to stop ends the wait.
    ///
    /// # Errors
    /// `Closed` at the end of the connection, `Length` for a negative length, or
    /// any other failure.
    pub fn read_header(&mut self) -> Result<Header> {
        match self.link.wait_for_input(true) {
            Err(LinkError::Closed) if self.link.may_end_here() => return Err(WireError::Closed),
            waited => waited?,
        }
        let mut bytes = [0; HEADER_BYTES];
        self.link.read_exact(&mut bytes)?;
        Header::decode(bytes)
    }

    /// The payload of a message.
    ///
    /// # Errors
    /// `Length` for more than `most` bytes, of which none is read, or any failure
    /// of the connection.
    pub fn read_payload(&mut self, header: &Header, most: usize) -> Result<Vec<u8>> {
        let Header { code, len } = *header;
        match usize::try_from(len) {
            Ok(len) if len <= most => self.read_bytes(len),
            _ => Err(WireError::Length { code, len, most }),
        }
    }

    /// Bytes that no message has announced. The caller has checked the number.
    ///
    /// # Errors
    /// Any failure of the connection.
    pub fn read_bytes(&mut self, len: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.link.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads bytes that nobody wants.
    ///
    /// # Errors
    /// `Length` for more than 1 MiB, or any failure of the connection.
    pub fn discard(&mut self, len: u32) -> Result<()> {
        if len > MAX_DISCARDED {
            let (code, most) = (0, MAX_DISCARDED as usize);
            return Err(WireError::Length { code, len, most });
        }
        let mut left = u64::from(len);
        let mut unwanted = [0; 4096];
        while left > 0 {
            let some = at_most(left, unwanted.len());
            left -= self.link.read(&mut unwanted[..some])? as u64;
        }
        Ok(())
    }
}
