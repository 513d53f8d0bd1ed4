//! What both sides agree on about a transfer.

use std::net::Ipv4Addr;
use std::ops::BitOr;

use super::MAX_OLD_STREAMS;
use super::error::{Result, WireError};
use super::field::Fields;
use super::login::before_nul;

/// How a file is to be transferred or treated: a set of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options(u32);

impl Options {
    /// The file is written under another name and renamed at its end.
    pub const TMP: Options = Options(0x01);
    /// Keeps the times of access and change.
    pub const ACC: Options = Options(0x02);
    /// Keeps the permissions.
    pub const MODE: Options = Options(0x04);
    /// Makes missing directories.
    pub const DIR: Options = Options(0x08);
    /// Chunks of zlib in the streams.
    pub const GZIP: Options = Options(0x10);
    /// The server's RFIO.
    pub const RFIO: Options = Options(0x20);
    /// The client's RFIO.
    pub const RFIO_O: Options = Options(0x40);
    /// Packets marked as QBone scavenger service.
    pub const QBSS: Options = Options(0x80);
    /// Of STORE_FROM: what has arrived before is not of this file.
    pub const AFRESH: Options = Options(0x100);
    /// What the public client asks for.
    pub const USUAL: Options = Options(0x0f);

    /// All of these bits, known or not.
    pub const fn from_bits(bits: u32) -> Options {
        Options(bits)
    }

    /// As they are sent.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether all of these are set.
    pub const fn has(self, others: Options) -> bool {
        self.0 & others.0 == others.0
    }

    /// These without others.
    #[must_use]
    pub const fn without(self, others: Options) -> Options {
        Options(self.0 & !others.0)
    }
}

impl BitOr for Options {
    type Output = Options;

    fn bitor(self, others: Options) -> Options {
        Options(self.0 | others.0)
    }
}

/// The length of [`Transfer`].
pub const TRANSFER_BYTES: usize = 48;

/// A transfer of versions 2 and 3 (STORE_V2, RETR_V2, TRANS_OK_V2, TRANS_OK_V3).
/// Windows and buffer are in KiB, and as the peer wrote them: not negative, and
/// the buffer not 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transfer {
    /// Bytes of the file; 0 in RETR_V2.
    pub size: u64,
    /// How it is transferred.
    pub options: Options,
    /// Its permissions.
    pub mode: u32,
    /// When it was last read, in seconds since the epoch; none in RETR_V2.
    pub accessed: Option<u32>,
    /// When it was last changed.
    pub modified: Option<u32>,
    /// The server's window for sending.
    pub send_window: u32,
    /// The server's window for receiving.
    pub receive_window: u32,
    /// The buffer of a stream, which is the longest chunk as well.
    pub buffer: u32,
    /// How many streams. A peer may state any number; 0 for an empty file alone.
    pub streams: u32,
}

/// What is signed on the wire goes no further.
const MAX_COUNT: u32 = i32::MAX as u32;

impl Transfer {
    /// As it is sent.
    pub fn encode(&self) -> [u8; TRANSFER_BYTES] {
        let mut payload = [0; TRANSFER_BYTES];
        payload[..8].copy_from_slice(&self.size.to_be_bytes());
        payload[8..12].copy_from_slice(&self.options.bits().to_be_bytes());
        payload[12..16].copy_from_slice(&self.mode.to_be_bytes());
        for (at, time) in [(16, self.accessed), (24, self.modified)] {
            if let Some(time) = time {
                payload[at..at + 8].copy_from_slice(format!("{time:08x}").as_bytes());
            }
        }
        let counts = [
            self.send_window,
            self.receive_window,
            self.buffer,
            self.streams,
        ];
        for (count, to) in counts.into_iter().zip(payload[32..].chunks_mut(4)) {
            to.copy_from_slice(&count.to_be_bytes());
        }
        payload
    }

    /// # Errors
    /// `Field` for another length, a negative number, no buffer, or no stream for
    /// a file that is not empty.
    pub fn decode(payload: &[u8]) -> Result<Transfer> {
        let mut fields = Fields::new(payload);
        let transfer = Transfer::from_fields(&mut fields)?;
        fields.end("transfer")?;
        Ok(transfer)
    }

    pub(super) fn from_fields(fields: &mut Fields<'_>) -> Result<Transfer> {
        match Transfer::any_from_fields(fields)? {
            Transfer {
                streams: 0,
                size: 1..,
                ..
            } => Err(WireError::Field("streams")),
            transfer => Ok(transfer),
        }
    }

    /// The same for any number of streams.
    pub(super) fn any_from_fields(fields: &mut Fields<'_>) -> Result<Transfer> {
        let transfer = Transfer {
            size: fields.size("size")?,
            options: Options::from_bits(fields.u32("options")?),
            mode: fields.u32("mode")? & 0o7777,
            accessed: time(fields.array("time of access")?),
            modified: time(fields.array("time of change")?),
            send_window: fields.count(MAX_COUNT, "window")?,
            receive_window: fields.count(MAX_COUNT, "window")?,
            buffer: fields.count(MAX_COUNT, "buffer")?,
            streams: fields.count(MAX_COUNT, "streams")?,
        };
        match transfer.buffer {
            0 => Err(WireError::Field("buffer")),
            _ => Ok(transfer),
        }
    }
}

/// A time in hexadecimal digits; none where something else stands there.
fn time(digits: [u8; 8]) -> Option<u32> {
    let is_number = digits.iter().all(u8::is_ascii_hexdigit);
    let digits = std::str::from_utf8(&digits).ok().filter(|_| is_number)?;
    u32::from_str_radix(digits, 16).ok()
}

/// The length of [`OldTransfer`].
pub(super) const OLD_TRANSFER_BYTES: usize = 576;

/// The longest name of a file in version 1.
pub(super) const MAX_OLD_NAME: usize = 499;

/// A transfer of version 1 (STORE, RETR and their kin).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldTransfer {
    /// The file.
    pub name: Vec<u8>,
    /// Its bytes; 0 in RETR.
    pub size: u64,
    /// Where the client listens, one port a stream.
    pub ports: Vec<u16>,
}

impl OldTransfer {
    /// As it is sent, with the client's address, which no known server reads.
    ///
    /// # Errors
    /// `Field` for a name that is too long, or has a NUL in it, and for none or
    /// too many ports.
    pub fn encode(&self, address: Ipv4Addr) -> Result<Vec<u8>> {
        let streams = stream_count(self.ports.len())?;
        if self.name.is_empty() || self.name.len() > MAX_OLD_NAME || self.name.contains(&0) {
            return Err(WireError::Field("name"));
        }
        let mut payload = vec![0; OLD_TRANSFER_BYTES];
        payload[..self.name.len()].copy_from_slice(&self.name);
        payload[504..512].copy_from_slice(&self.size.to_be_bytes());
        // A `sockaddr_in` as this machine has it.
        let family = rustix::net::AddressFamily::INET.as_raw();
        payload[516..518].copy_from_slice(&family.to_ne_bytes());
        payload[520..524].copy_from_slice(&address.octets());
        payload[532..536].copy_from_slice(&streams.to_be_bytes());
        for (port, to) in self.ports.iter().zip(payload[536..].chunks_mut(4)) {
            to.copy_from_slice(&u32::from(*port).to_be_bytes());
        }
        Ok(payload)
    }

    /// # Errors
    /// `Field` for another length, a name without end, a negative size, and for
    /// none or too many ports.
    pub fn decode(payload: &[u8]) -> Result<OldTransfer> {
        let mut fields = Fields::new(payload);
        let name = fields.bytes(500, "name")?;
        fields.bytes(4, "padding")?;
        let size = fields.size("size")?;
        fields.bytes(20, "address")?;
        let streams = fields.count(MAX_OLD_STREAMS, "streams")?;
        stream_count(streams as usize)?;
        let ports = (0..streams).map(|_| fields.port()).collect::<Result<_>>()?;
        if payload.len() != OLD_TRANSFER_BYTES {
            return Err(WireError::Field("transfer"));
        }
        match before_nul(name) {
            name if name.is_empty() || name.len() > MAX_OLD_NAME => Err(WireError::Field("name")),
            name => Ok(OldTransfer {
                name: name.to_vec(),
                size,
                ports,
            }),
        }
    }
}

fn stream_count(ports: usize) -> Result<u32> {
    match u32::try_from(ports) {
        Ok(streams @ 1..=MAX_OLD_STREAMS) => Ok(streams),
        _ => Err(WireError::Field("streams")),
    }
}
