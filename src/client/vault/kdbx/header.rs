//! The headers of a KDBX 4 file: how the rest is encrypted. What is not known stays as
//! it is.

use zeroize::Zeroizing;

use super::kdf::Kdf;
use super::old::{self, Old};
use super::stream::CHACHA20 as STREAM_CHACHA20;
use super::variant;

/// The first eight bytes of every KDBX file.
const SIGNATURE: [u8; 8] = [0x03, 0xd9, 0xa2, 0x9a, 0x67, 0xfb, 0x4b, 0xb5];

/// The version that is written where no other was read: 4.0.
const VERSION: [u8; 4] = [0, 0, 4, 0];

const END: u8 = 0;
const CIPHER: u8 = 2;
const COMPRESSION: u8 = 3;
const MASTER_SEED: u8 = 4;
const IV: u8 = 7;
const KDF: u8 = 11;

const AES_256: [u8; 16] = [
    0x31, 0xc1, 0xf2, 0xe6, 0xbf, 0x71, 0x43, 0x50, 0xbe, 0x58, 0x05, 0x21, 0x6a, 0xfc, 0x5a, 0xff,
];
const CHACHA20: [u8; 16] = [
    0xd6, 0x03, 0x8a, 0x2b, 0x8b, 0x6f, 0x4c, 0xb5, 0xa5, 0x24, 0x33, 0x9a, 0x31, 0xdb, 0xb5, 0x9a,
];

/// The cipher around everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outer {
    /// AES-256 in CBC mode.
    Aes256,
    /// ChaCha20.
    ChaCha20,
}

impl Outer {
    /// The one with this name.
    ///
    /// # Errors
    /// One line: it is another one.
    pub fn of(name: &[u8]) -> Result<Outer, String> {
        match name {
            name if name == AES_256 => Ok(Outer::Aes256),
            name if name == CHACHA20 => Ok(Outer::ChaCha20),
            _ => Err(
                "its cipher is neither AES-256 nor ChaCha20: choose one of them where it is edited"
                    .to_owned(),
            ),
        }
    }

    /// The length of its initial vector.
    pub fn iv_len(self) -> usize {
        match self {
            Outer::Aes256 => 16,
            Outer::ChaCha20 => 12,
        }
    }
}

/// An outer header.
pub struct Header {
    version: [u8; 4],
    /// The cipher around everything.
    pub cipher: Outer,
    /// Whether the content is compressed.
    pub is_compressed: bool,
    /// What makes the keys of one version of the file different from all others.
    pub seed: Vec<u8>,
    /// The cipher's initial vector.
    pub iv: Vec<u8>,
    /// How a password becomes a key.
    pub kdf: Kdf,
    /// Fields that are not known here.
    others: Vec<(u8, Vec<u8>)>,
    /// What was read of KDBX 3.1.
    pub old: Option<Old>,
}

impl Header {
    /// That of a new file: AES-256 and Argon2id.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn new() -> Result<Header, String> {
        Ok(Header {
            version: VERSION,
            cipher: Outer::Aes256,
            is_compressed: true,
            seed: vec![0; 32],
            iv: Vec::new(),
            kdf: Kdf::new()?,
            others: Vec::new(),
            old: None,
        })
    }

    /// Makes seed and vector new, for another version of the file.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn renew(&mut self) -> Result<(), String> {
        self.seed = vec![0; 32];
        self.iv = vec![0; self.cipher.iv_len()];
        let filled = getrandom::fill(&mut self.seed).and_then(|()| getrandom::fill(&mut self.iv));
        filled.map_err(|e| e.to_string())
    }

    /// The bytes of it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = [SIGNATURE.as_slice(), &self.version].concat();
        let cipher = match self.cipher {
            Outer::Aes256 => AES_256,
            Outer::ChaCha20 => CHACHA20,
        };
        put(&mut out, CIPHER, &cipher);
        put(
            &mut out,
            COMPRESSION,
            &u32::from(self.is_compressed).to_le_bytes(),
        );
        put(&mut out, MASTER_SEED, &self.seed);
        put(&mut out, IV, &self.iv);
        put(&mut out, KDF, &variant::to_bytes(&self.kdf.0));
        for (kind, value) in &self.others {
            put(&mut out, *kind, value);
        }
        put(&mut out, END, b"\r\n\r\n");
        out
    }

    /// Reads one from the front of a file: it and the number of its bytes.
    ///
    /// # Errors
    /// One line: what is wrong.
    pub fn read(file: &[u8]) -> Result<(Header, usize), String> {
        let version = match file.split_first_chunk::<8>() {
            Some((&SIGNATURE, rest)) => rest.first_chunk::<4>().ok_or(CUT)?,
            _ => return Err("not a KDBX file".to_owned()),
        };
        match version[2..] {
            [4, 0] => {}
            [3, 0] => return old::read_header(file),
            _ => {
                return Err(format!(
                    "it has version {} of the format: have it saved as KDBX 4 (KeePassXC: Database Security)",
                    u16::from_le_bytes([version[2], version[3]])
                ));
            }
        }
        let mut header = Header {
            version: *version,
            seed: Vec::new(),
            ..Header::blank()
        };
        let mut fields = Fields(&file[12..]);
        loop {
            match fields.next().ok_or(CUT)? {
                (END, _) => break,
                (CIPHER, value) => header.cipher = Outer::of(value)?,
                (COMPRESSION, value) => header.is_compressed = value.first() == Some(&1),
                (MASTER_SEED, value) => header.seed = value.to_vec(),
                (IV, value) => header.iv = value.to_vec(),
                (KDF, value) => header.kdf = Kdf(variant::read(value).ok_or(DAMAGED)?),
                (kind, value) => header.others.push((kind, value.to_vec())),
            }
        }
        if !header.is_whole() {
            return Err(DAMAGED.to_owned());
        }
        let len = file.len() - fields.0.len();
        Ok((header, len))
    }

    /// Whether seed and vector have their lengths.
    pub(super) fn is_whole(&self) -> bool {
        self.seed.len() == 32 && self.iv.len() == self.cipher.iv_len()
    }

    pub(super) fn blank() -> Header {
        Header {
            version: VERSION,
            cipher: Outer::Aes256,
            is_compressed: false,
            seed: Vec::new(),
            iv: Vec::new(),
            kdf: Kdf(Vec::new()),
            others: Vec::new(),
            old: None,
        }
    }
}

pub(super) const CUT: &str = "the file ends early";
pub(super) const DAMAGED: &str = "the file is damaged";

fn put(out: &mut Vec<u8>, kind: u8, value: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(value);
}

/// Fields of a header: a kind, a length, a value.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&kind, rest) = self.0.split_first()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
        let (value, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((kind, value))
    }
}

const STREAM: u8 = 1;
const STREAM_KEY: u8 = 2;
const BINARY: u8 = 3;

/// The inner header, in front of the XML.
#[derive(Default)]
pub struct InnerHeader {
    /// The key of the cipher over protected texts.
    pub stream_key: Zeroizing<Vec<u8>>,
    /// Attachments: a byte of flags and the content.
    pub binaries: Vec<Zeroizing<Vec<u8>>>,
    /// Fields that are not known here.
    pub others: Vec<(u8, Zeroizing<Vec<u8>>)>,
}

impl InnerHeader {
    /// Appends the bytes of it.
    pub fn write(&self, out: &mut Vec<u8>) {
        put(out, STREAM, &STREAM_CHACHA20.to_le_bytes());
        put(out, STREAM_KEY, &self.stream_key);
        for (kind, value) in &self.others {
            put(out, *kind, value);
        }
        for binary in &self.binaries {
            put(out, BINARY, binary);
        }
        put(out, END, &[]);
    }

    /// Reads one: it and what is behind it.
    ///
    /// # Errors
    /// One line: what is wrong.
    pub fn read(content: &[u8]) -> Result<(InnerHeader, &[u8]), String> {
        let mut header = InnerHeader::default();
        let mut fields = Fields(content);
        loop {
            let (kind, value) = fields.next().ok_or(CUT)?;
            let own = || Zeroizing::new(value.to_vec());
            match kind {
                END => break,
                STREAM if value == STREAM_CHACHA20.to_le_bytes() => {}
                STREAM => {
                    return Err("its inner cipher is not ChaCha20: have it saved again".to_owned());
                }
                STREAM_KEY => header.stream_key = own(),
                BINARY if value.is_empty() => return Err(DAMAGED.to_owned()),
                BINARY => header.binaries.push(own()),
                kind => header.others.push((kind, own())),
            }
        }
        Ok((header, fields.0))
    }
}
