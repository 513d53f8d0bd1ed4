//! Names and checksums of files: the SHA-256 of the bytes, and what the hub and owners
//! ask for, under a key that they have drawn, to see that the bytes are here.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::sha::Sha256;
use openssl::sign::Signer;

use crate::hub::wire::{AuditKey, Checksum, Name};

/// Bytes that are read at once.
const PIECE: usize = 64 * 1024;

/// The blocks of a spot check, and the bytes of each.
const SPOTS: u32 = 32;
const BLOCK: usize = 4096;

/// The name of a file, out of its bytes as they come.
#[derive(Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The name.
    pub fn finish(self) -> Name {
        Name(self.0.finish())
    }
}

/// So many bytes, or the most.
pub fn at_most(left: u64, most: usize) -> usize {
    usize::try_from(left).map_or(most, |left| left.min(most))
}

/// The checksum of a file of this size.
///
/// # Errors
/// When it can't be read.
pub fn of(file: &File, size: u64, key: &AuditKey) -> io::Result<Checksum> {
    match key {
        AuditKey::Full(key) => full(file, size, key),
        AuditKey::Spot(key) => spot(file, size, key),
    }
}

fn hmac<'a>(key: &'a PKey<Private>) -> io::Result<Signer<'a>> {
    Ok(Signer::new(MessageDigest::sha256(), key)?)
}

fn sum(signer: Signer<'_>) -> io::Result<Checksum> {
    let mut sum = [0; 32];
    signer.sign(&mut sum)?;
    Ok(Checksum(sum))
}

fn full(file: &File, size: u64, key: &[u8; 32]) -> io::Result<Checksum> {
    let key = PKey::hmac(key)?;
    let mut signer = hmac(&key)?;
    let mut piece = vec![0; PIECE];
    let mut at = 0;
    while at < size {
        let len = at_most(size - at, PIECE);
        file.read_exact_at(&mut piece[..len], at)?;
        signer.update(&piece[..len])?;
        at += len as u64;
    }
    sum(signer)
}

/// Of blocks that the key draws.
fn spot(file: &File, size: u64, key: &[u8; 32]) -> io::Result<Checksum> {
    let key = PKey::hmac(key)?;
    let mut signer = hmac(&key)?;
    let blocks = size.div_ceil(BLOCK as u64);
    let mut piece = [0; BLOCK];
    for spot in 0..SPOTS {
        let Some(block) = drawn(&key, spot)?.checked_rem(blocks) else {
            break;
        };
        let at = block * BLOCK as u64;
        let len = at_most(size - at, BLOCK);
        file.read_exact_at(&mut piece[..len], at)?;
        signer.update(&piece[..len])?;
    }
    signer.update(&size.to_be_bytes())?;
    sum(signer)
}

/// The number that the key draws for a spot.
fn drawn(key: &PKey<Private>, spot: u32) -> io::Result<u64> {
    let mut signer = hmac(key)?;
    signer.update(b"tfd-spot")?;
    signer.update(&spot.to_be_bytes())?;
    let Checksum(sum) = sum(signer)?;
    let first = sum.first_chunk().copied().unwrap_or_default();
    Ok(u64::from_be_bytes(first))
}

#[cfg(test)]
mod tests {
    use openssl::symm::{Cipher, encrypt_aead};

    use super::*;
    use crate::hub::wire::Value;
    use crate::text::unhex;

    /// The book of the protocol's examples.
    fn book() -> Vec<u8> {
        let key = unhex(b"23a7c273bf1ed2e1f26e6aa64adea0bf728c5944f7c664a5f93e840c52968950");
        let mut text = format!(
            "tfd-hub-book 1\nhub hub.example.org:7170 hub.example.org\nconfig {}\n\
             keeper bob N78UC4ahUtSig_Eg5NZKmo8V7MCCDmlJJdRJTzZ5cHU 198.51.100.7:7171\n\
             + {} 1795336990\n",
            "1".repeat(64),
            "2".repeat(64)
        )
        .into_bytes();
        assert_eq!(text.len(), 279);
        text.resize(4096, b'\n');
        let nonce: Vec<u8> = (0..12).collect();
        let mut tag = [0; 16];
        let cipher = Cipher::aes_256_gcm();
        let key = key.expect("digits");
        let sealed = encrypt_aead(cipher, &key, Some(&nonce), b"TFHUBBK1", &text, &mut tag);
        [b"TFHUBBK1", &nonce[..], &sealed.expect("sealed"), &tag].concat()
    }

    fn file(bytes: &[u8]) -> File {
        let file = tempfile::tempfile().expect("file");
        file.write_all_at(bytes, 0).expect("written");
        file
    }

    #[test]
    fn names_and_checksums_are_those_of_the_protocol() {
        let book = book();
        let mut hasher = Hasher::default();
        book.chunks(1000).for_each(|piece| hasher.update(piece));
        let name = "b0fb05b3723e2db06fbcfe30eacb1366e3efb05c45dc2c35c9f34bea514ab7d8";
        assert_eq!(hasher.finish().text(), name);
        // Behind a stored file is its signature.
        let stored = file(&[&book[..], &[7; 64]].concat());
        let sum = |key: &AuditKey| {
            let sum = of(&stored, book.len() as u64, key).expect("checksum");
            sum.text()
        };
        assert_eq!(
            sum(&AuditKey::Full([0x33; 32])),
            "123ff05967103a15425a550cfed9a6c17f65069427d626503a26493a2139d580"
        );
        assert_eq!(
            sum(&AuditKey::Spot([0x33; 32])),
            "2e0888ee9cfec60e0770a1ca42dbd7d8de99f27b803e2e2dae8af9124e60a39f"
        );
    }

    #[test]
    fn a_file_without_bytes_has_checksums_and_one_that_is_too_short_has_none() {
        for key in [AuditKey::Full([1; 32]), AuditKey::Spot([1; 32])] {
            of(&file(b""), 0, &key).expect("checksum");
            assert!(of(&file(&[1; 4095]), 4096, &key).is_err());
        }
    }
}
