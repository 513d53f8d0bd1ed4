//! From a password to the key of a file, which takes time on purpose.

use argon2::{Algorithm, Argon2, Params, Version};
use openssl::sha::sha256;
use openssl::symm::{Cipher, Crypter, Mode};
use zeroize::Zeroizing;

use super::header::DAMAGED;
use super::variant::Value;

const AES: [u8; 16] = [
    0xc9, 0xd9, 0xf3, 0x9a, 0x62, 0x8a, 0x44, 0x60, 0xbf, 0x74, 0x0d, 0x08, 0xc1, 0x8a, 0x4f, 0xea,
];
const ARGON2D: [u8; 16] = [
    0xef, 0x63, 0x6d, 0xdf, 0x8c, 0x29, 0x44, 0x4b, 0x91, 0xf7, 0xa9, 0xa4, 0x03, 0xe3, 0x0a, 0x0c,
];
const ARGON2ID: [u8; 16] = [
    0x9e, 0x29, 0x8b, 0x19, 0x56, 0xdb, 0x47, 0x73, 0xb2, 0x3d, 0xfc, 0x3e, 0xc6, 0xf0, 0xa1, 0xe6,
];

/// The most memory that a file may ask for, in bytes.
const MAX_MEMORY: u64 = 4 << 30;

/// Of a new file: 64 MiB, three passes, one lane.
const MEMORY: u64 = 64 << 20;
const PASSES: u64 = 3;

const U32: u8 = 0x04;
const U64: u8 = 0x05;
const BYTES: u8 = 0x42;

/// The parameters of a derivation, by their names in the file.
#[derive(PartialEq, Eq)]
pub struct Kdf(pub Vec<(String, Value)>);

impl Kdf {
    /// Argon2id with a new salt.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn new() -> Result<Kdf, String> {
        let mut salt = vec![0; 32];
        getrandom::fill(&mut salt).map_err(|e| e.to_string())?;
        let values = [
            ("$UUID", BYTES, ARGON2ID.to_vec()),
            ("I", U64, PASSES.to_le_bytes().to_vec()),
            ("M", U64, MEMORY.to_le_bytes().to_vec()),
            ("P", U32, 1_u32.to_le_bytes().to_vec()),
            ("S", BYTES, salt),
            ("V", U32, 0x13_u32.to_le_bytes().to_vec()),
        ];
        let named = values.map(|(name, kind, value)| (name.to_owned(), (kind, value)));
        Ok(Kdf(named.into()))
    }

    /// AES, as KDBX 3.1 has it.
    pub fn aes(seed: &[u8], rounds: u64) -> Kdf {
        let values = [
            ("$UUID", BYTES, AES.to_vec()),
            ("R", U64, rounds.to_le_bytes().to_vec()),
            ("S", BYTES, seed.to_vec()),
        ];
        let named = values.map(|(name, kind, value)| (name.to_owned(), (kind, value)));
        Kdf(named.into())
    }

    fn bytes(&self, name: &str) -> Result<&[u8], String> {
        let found = self.0.iter().find(|(own, _)| own == name);
        found
            .map(|(_, (_, value))| value.as_slice())
            .ok_or_else(|| DAMAGED.to_owned())
    }

    fn number(&self, name: &str) -> Result<u64, String> {
        let bytes = self.bytes(name)?;
        match (<[u8; 8]>::try_from(bytes), <[u8; 4]>::try_from(bytes)) {
            (Ok(eight), _) => Ok(u64::from_le_bytes(eight)),
            (_, Ok(four)) => Ok(u32::from_le_bytes(four).into()),
            _ => Err(DAMAGED.to_owned()),
        }
    }

    /// The key of the file.
    ///
    /// # Errors
    /// One line: what is wrong with the parameters.
    pub fn transform(&self, composite: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, String> {
        let algorithm = match self.bytes("$UUID")? {
            kind if kind == AES => return self.transform_by_aes(composite),
            kind if kind == ARGON2D => Algorithm::Argon2d,
            kind if kind == ARGON2ID => Algorithm::Argon2id,
            _ => return Err("its key derivation is not known: choose Argon2id".to_owned()),
        };
        let memory = self.number("M")?;
        if memory > MAX_MEMORY {
            return Err(format!(
                "its key derivation asks for {} MiB of memory",
                memory >> 20
            ));
        }
        let number = |name| u32::try_from(self.number(name)?).map_err(|_| DAMAGED.to_owned());
        let kibibytes = u32::try_from(memory / 1024).unwrap_or(u32::MAX);
        let params = Params::new(kibibytes, number("I")?, number("P")?, Some(32));
        let params = params.map_err(|e| format!("its key derivation: {e}"))?;
        let version = match self.number("V")? {
            0x10 => Version::V0x10,
            0x13 => Version::V0x13,
            _ => return Err(DAMAGED.to_owned()),
        };
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(algorithm, version, params)
            .hash_password_into(composite, self.bytes("S")?, &mut *key)
            .map_err(|e| format!("its key derivation: {e}"))?;
        Ok(key)
    }

    fn transform_by_aes(&self, composite: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, String> {
        let failed = |e: openssl::error::ErrorStack| e.to_string();
        let seed = self.bytes("S")?;
        if seed.len() != 32 {
            return Err(DAMAGED.to_owned());
        }
        let cipher = Cipher::aes_256_ecb();
        let mut crypter = Crypter::new(cipher, Mode::Encrypt, seed, None).map_err(failed)?;
        crypter.pad(false);
        let mut block = Zeroizing::new(*composite);
        let mut out = Zeroizing::new([0; 32 + 16]);
        for _ in 0..self.number("R")? {
            crypter.update(&*block, &mut *out).map_err(failed)?;
            block.copy_from_slice(&out[..32]);
        }
        Ok(Zeroizing::new(sha256(&*block)))
    }
}
