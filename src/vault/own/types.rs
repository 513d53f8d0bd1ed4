//! What the messages of `tfd-vault/1` are made of, and the limits of their fields.

use std::fmt;

use zeroize::Zeroizing;

use crate::ipc::codec::{Decode, Encode, Reader, Writer, codec};

/// The version of the messages.
pub const VERSION: u16 = 1;

/// The longest name of an account, in bytes.
pub const MAX_USER: usize = 256;

/// The longest name of a device, in bytes.
pub const MAX_DEVICE_NAME: usize = 256;

/// The longest mail address, in bytes.
pub const MAX_MAIL: usize = 254;

/// The longest code, in bytes.
pub const MAX_CODE: usize = 32;

/// The longest account secret, sealed, in bytes.
pub const MAX_WRAPPED: usize = 256;

/// The longest entry, sealed, in bytes.
pub const MAX_SEALED: usize = 1 << 20;

/// About how many bytes of entries are in one answer; one more entry may be.
pub const BATCH: usize = 1 << 20;

/// The most versions in a list.
pub const MAX_VERSIONS: usize = 1000;

/// The longest message of the server, in bytes, its length not counted.
pub const MAX_REPLY: usize = BATCH + MAX_SEALED + (64 << 10);
const _: () = assert!(MAX_REPLY > BATCH + MAX_SEALED);

/// The number of an entry, by which the client knows it and nobody else.
pub type Id = [u8; 16];

/// 32 bytes that nobody else may know; wiped after use.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Bytes of it.
    const LEN: usize = 32;

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<[u8; Secret::LEN]> for Secret {
    fn from(bytes: [u8; Secret::LEN]) -> Secret {
        Secret(Zeroizing::new(bytes.to_vec()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Encode for Secret {
    fn encode<'a>(&'a self, out: &mut Writer<'a>) {
        out.put(&self.0);
    }
}

impl Decode for Secret {
    fn decode(from: &mut Reader<'_>) -> Option<Secret> {
        let bytes = from.take(Secret::LEN)?;
        Some(Secret(Zeroizing::new(bytes.to_vec())))
    }
}

/// Bytes that only clients can open.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Sealed(pub Vec<u8>);

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

impl Encode for Sealed {
    fn encode<'a>(&'a self, out: &mut Writer<'a>) {
        let len = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        out.put(&len.to_be_bytes());
        out.put(&self.0);
    }
}

impl Decode for Sealed {
    fn decode(from: &mut Reader<'_>) -> Option<Sealed> {
        let len = usize::try_from(u32::decode(from)?).ok()?;
        Some(Sealed(from.take(len)?.to_vec()))
    }
}

/// How a client makes keys of the master password: by argon2id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kdf {
    /// The salt.
    pub salt: [u8; 32],
    /// The memory, in KiB.
    pub memory_kib: u32,
    /// The passes over it.
    pub passes: u32,
    /// The lanes.
    pub lanes: u32,
}

codec!(struct Kdf { salt, memory_kib, passes, lanes } if Kdf::is_valid);

impl Kdf {
    /// The usual one, which is also shown for names that no account has.
    pub fn usual(salt: [u8; 32]) -> Kdf {
        Kdf {
            salt,
            memory_kib: 64 << 10,
            passes: 3,
            lanes: 4,
        }
    }

    /// Whether it is neither so weak that a server could guess the password, nor
    /// more than a phone can compute.
    fn is_valid(&self) -> bool {
        (19 << 10..=1 << 20).contains(&self.memory_kib)
            && (2..=64).contains(&self.passes)
            && (1..=16).contains(&self.lanes)
    }
}

/// A device, as it names itself: number and token are random, of its own making.
/// So a login that was cut can be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its number.
    pub id: Id,
    /// What only this device and the server know.
    pub token: Secret,
    /// Its name, for the list of devices.
    pub name: String,
}

codec!(struct Device { id, token, name } if Device::is_valid);

impl Device {
    fn is_valid(&self) -> bool {
        self.name.len() <= MAX_DEVICE_NAME && !self.name.chars().any(char::is_control)
    }
}
