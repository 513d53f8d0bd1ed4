//! What tfd and our client have beyond version 3. The text of the login's OK
//! offers it, no other client reads that, and codes from 0x74660001 on name it.
//!
//! ```text
//! SMALL_STORE   transfer, u32 length of the name, name, content   -> OK | BAD...
//! SMALL_RETR    u32 options, name                                 -> SMALL_FILE | BAD...
//! SMALL_FILE    transfer, content
//! SHA256        name                                              -> OK 64 hex digits | BAD...
//! RETR_FROM     transfer, u32 n, n (u64 begin, u64 length), name  -> TRANS_OK_FROM | BAD...
//! STORE_FROM    transfer, name                                    -> TRANS_OK_FROM | BAD...
//! TRANS_OK_FROM transfer, n (u32 port, u64 begin, u64 length), n streams,
//!               32 bytes SHA-256 of what is kept, if anything is
//! OFFER         nothing                                           -> OK text of the login | BAD...
//! ```
//!
//! The first four may be sent before the answers to earlier ones are read.
//! RETR_FROM names what is missing of a file of this size and time of change; a
//! server whose file has another answers BAD_NO_RETRY. STORE_FROM leaves what has
//! arrived with the server if it is cut: the next one of the same account, size and
//! name gets what is missing, the first one everything. Where something is kept,
//! TRANS_OK_FROM has its SHA-256, and a client whose file has other bytes there
//! sends ABORT, and STORE_FROM with [`super::Options::AFRESH`]. After TRANS_OK_FROM
//! all is as after TRANS_OK_V3, each stream with its range; where there is none,
//! nothing is missing, and TRANS_START_V3 is answered at once.

use super::MAX_STREAMS;
use super::error::{Result, WireError};
use super::field::{Fields, path};
use super::transfer::{TRANSFER_BYTES, Transfer};

/// The largest file in one message.
pub const MAX_SMALL_FILE: usize = 256 * 1024;

/// The longest payload of these messages.
pub const MAX_PAYLOAD: usize = TRANSFER_BYTES + 4 + super::MAX_PATH + MAX_SMALL_FILE;

/// The length of an SHA-256 in digits.
pub const DIGITS: usize = 64;

/// What a server offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// SMALL_STORE and SMALL_RETR.
    pub small: bool,
    /// SHA256.
    pub sha256: bool,
    /// RETR_FROM and STORE_FROM.
    pub resume: bool,
}

const SMALL: &str = "+small";
const SHA256: &str = "+sha256";
const RESUME: &str = "+resume";

impl Offer {
    /// The words behind the text of the login's OK, each with a blank before it.
    pub fn words(self) -> String {
        let words = [
            (self.small, SMALL),
            (self.sha256, SHA256),
            (self.resume, RESUME),
        ];
        words
            .into_iter()
            .filter(|(is_offered, _)| *is_offered)
            .flat_map(|(_, word)| [" ", word])
            .collect()
    }

    /// What the text of a login's OK offers; nothing unless tfd has sent it.
    pub fn from_text(text: &[u8]) -> Offer {
        let text = String::from_utf8_lossy(text);
        let mut words = text.split_ascii_whitespace();
        let mut offer = Offer::default();
        if words.next() != Some("tfd") {
            return offer;
        }
        for word in words {
            match word {
                SMALL => offer.small = true,
                SHA256 => offer.sha256 = true,
                RESUME => offer.resume = true,
                _ => {}
            }
        }
        offer
    }
}

/// A small file to the server (SMALL_STORE).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmallStore<'a> {
    /// Options, mode and times; the size is that of the content.
    pub transfer: Transfer,
    /// The file.
    pub name: &'a [u8],
    /// All its bytes.
    pub content: &'a [u8],
}

impl<'a> SmallStore<'a> {
    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let len = u32::try_from(self.name.len()).unwrap_or(u32::MAX);
        let transfer = self.transfer.encode();
        [&transfer, &len.to_be_bytes()[..], self.name, self.content].concat()
    }

    /// # Errors
    /// `Field` for a name that is none, and a size that is not the content's or
    /// above [`MAX_SMALL_FILE`].
    pub fn decode(payload: &'a [u8]) -> Result<SmallStore<'a>> {
        let mut fields = Fields::new(payload);
        let transfer = Transfer::from_fields(&mut fields)?;
        let len = fields.u32("length of the name")?;
        let name = path(fields.bytes(len as usize, "length of the name")?)?;
        let content = small_content(&transfer, fields)?;
        Ok(SmallStore {
            transfer,
            name,
            content,
        })
    }
}

/// A small file from the server (SMALL_FILE).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmallFile<'a> {
    /// Mode and times; the size is that of the content.
    pub transfer: Transfer,
    /// All its bytes.
    pub content: &'a [u8],
}

impl<'a> SmallFile<'a> {
    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        [&self.transfer.encode(), self.content].concat()
    }

    /// # Errors
    /// `Field` for a size that is not the content's or above [`MAX_SMALL_FILE`].
    pub fn decode(payload: &'a [u8]) -> Result<SmallFile<'a>> {
        let mut fields = Fields::new(payload);
        let transfer = Transfer::from_fields(&mut fields)?;
        let content = small_content(&transfer, fields)?;
        Ok(SmallFile { transfer, content })
    }
}

fn small_content<'a>(transfer: &Transfer, fields: Fields<'a>) -> Result<&'a [u8]> {
    let content = fields.rest();
    let is_whole = transfer.size == content.len() as u64;
    match is_whole && content.len() <= MAX_SMALL_FILE {
        true => Ok(content),
        false => Err(WireError::Field("size")),
    }
}

/// Bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Where they begin.
    pub begin: u64,
    /// How many they are.
    pub len: u64,
}

impl Missing {
    fn encode(self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.begin.to_be_bytes());
        to.extend_from_slice(&self.len.to_be_bytes());
    }

    /// One that ends no later than the file, and is not empty.
    fn from_fields(fields: &mut Fields<'_>, size: u64) -> Result<Missing> {
        let missing = Missing {
            begin: fields.size("range")?,
            len: fields.size("range")?,
        };
        match missing.begin.checked_add(missing.len) {
            Some(end) if end <= size && missing.len > 0 => Ok(missing),
            _ => Err(WireError::Field("range")),
        }
    }
}

/// Fails for ranges that overlap, in whatever order.
fn apart(missing: &[Missing]) -> Result<()> {
    let mut sorted: Vec<&Missing> = missing.iter().collect();
    sorted.sort_unstable_by_key(|missing| missing.begin);
    let overlap = |pair: &[&Missing]| pair[0].begin + pair[0].len > pair[1].begin;
    match sorted.windows(2).any(overlap) {
        true => Err(WireError::Field("range")),
        false => Ok(()),
    }
}

/// What is missing of a file from the server (RETR_FROM).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetrFrom<'a> {
    /// The file's size and time of change as they were, and how to send it.
    pub transfer: Transfer,
    /// What is missing, one range a stream.
    pub missing: Vec<Missing>,
    /// The file.
    pub name: &'a [u8],
}

impl<'a> RetrFrom<'a> {
    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut payload = self.transfer.encode().to_vec();
        let count = u32::try_from(self.missing.len()).unwrap_or(u32::MAX);
        payload.extend_from_slice(&count.to_be_bytes());
        for missing in &self.missing {
            missing.encode(&mut payload);
        }
        payload.extend_from_slice(self.name);
        payload
    }

    /// # Errors
    /// `Field` for none or too many ranges, for some that overlap or are not in
    /// the file, and for a path that is none.
    pub fn decode(payload: &'a [u8]) -> Result<RetrFrom<'a>> {
        let mut fields = Fields::new(payload);
        let transfer = Transfer::from_fields(&mut fields)?;
        let count = fields.count(MAX_STREAMS, "streams")?;
        if count == 0 {
            return Err(WireError::Field("streams"));
        }
        let missing = (0..count)
            .map(|_| Missing::from_fields(&mut fields, transfer.size))
            .collect::<Result<Vec<_>>>()?;
        apart(&missing)?;
        Ok(RetrFrom {
            transfer,
            missing,
            name: path(fields.rest())?,
        })
    }
}

/// A file to the server, which keeps what arrives (STORE_FROM).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreFrom<'a> {
    /// As in STORE_V2.
    pub transfer: Transfer,
    /// The file.
    pub name: &'a [u8],
}

impl<'a> StoreFrom<'a> {
    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        [&self.transfer.encode(), self.name].concat()
    }

    /// # Errors
    /// `Field` for a path that is none.
    pub fn decode(payload: &'a [u8]) -> Result<StoreFrom<'a>> {
        let mut fields = Fields::new(payload);
        Ok(StoreFrom {
            transfer: Transfer::from_fields(&mut fields)?,
            name: path(fields.rest())?,
        })
    }
}

/// The transfer of what is missing (TRANS_OK_FROM).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransOkFrom {
    /// As in TRANS_OK_V3; as many streams as ranges.
    pub transfer: Transfer,
    /// The server's ports, and which bytes go there.
    pub streams: Vec<(u16, Missing)>,
    /// The SHA-256 of the bytes that go nowhere, since the server has them; none
    /// in the answer to RETR_FROM, and where it has none.
    pub kept: Option<[u8; 32]>,
}

impl TransOkFrom {
    /// The payload, whose number of streams is that of the ranges.
    pub fn encode(&self) -> Vec<u8> {
        let mut transfer = self.transfer.clone();
        transfer.streams = u32::try_from(self.streams.len()).unwrap_or(u32::MAX);
        let mut payload = transfer.encode().to_vec();
        for (port, missing) in &self.streams {
            payload.extend_from_slice(&u32::from(*port).to_be_bytes());
            missing.encode(&mut payload);
        }
        payload.extend(self.kept.iter().flatten());
        payload
    }

    /// # Errors
    /// `Field` for too many streams, for ranges that overlap or are not in the
    /// file, and for a digest that is none.
    pub fn decode(payload: &[u8]) -> Result<TransOkFrom> {
        let mut fields = Fields::new(payload);
        let transfer = Transfer::any_from_fields(&mut fields)?;
        if transfer.streams > MAX_STREAMS {
            return Err(WireError::Field("streams"));
        }
        let streams = (0..transfer.streams)
            .map(|_| {
                let port = fields.port()?;
                Ok((port, Missing::from_fields(&mut fields, transfer.size)?))
            })
            .collect::<Result<Vec<_>>>()?;
        let kept = match fields.rest() {
            [] => None,
            digest => Some(digest.try_into().map_err(|_| WireError::Field("digest"))?),
        };
        let missing: Vec<Missing> = streams.iter().map(|(_, missing)| *missing).collect();
        apart(&missing)?;
        Ok(TransOkFrom {
            transfer,
            streams,
            kept,
        })
    }
}
