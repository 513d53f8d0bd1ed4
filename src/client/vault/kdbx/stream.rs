//! The ciphers of a KDBX file that have no blocks: over protected texts, and ChaCha20
//! around everything.

use openssl::sha::{Sha512, sha256};
use openssl::symm::{Cipher, Crypter, Mode};
use salsa20::Salsa20;
use salsa20::cipher::{KeyIvInit, StreamCipher};
use zeroize::Zeroizing;

use super::header::DAMAGED;

/// The number of Salsa20 in a header.
pub const SALSA20: u32 = 2;

/// That of ChaCha20.
pub const CHACHA20: u32 = 3;

/// What all programs begin Salsa20 with.
const SALSA20_NONCE: [u8; 8] = [0xe8, 0x30, 0x09, 0x4b, 0x97, 0x20, 0x5d, 0x2a];

/// A cipher, somewhere in its stream.
pub enum Stream {
    /// ChaCha20.
    ChaCha20(Crypter),
    /// Salsa20, in files of KDBX 3.1.
    Salsa20(Box<Salsa20>),
}

impl Stream {
    /// ChaCha20 from its first block on.
    ///
    /// # Errors
    /// One line of the library.
    pub fn chacha20(key: &[u8], nonce: &[u8]) -> Result<Stream, String> {
        let mut iv = [0; 16];
        iv.get_mut(4..4 + nonce.len())
            .ok_or_else(damaged)?
            .copy_from_slice(nonce);
        let crypter = Crypter::new(Cipher::chacha20(), Mode::Encrypt, key, Some(&iv));
        crypter.map(Stream::ChaCha20).map_err(|e| e.to_string())
    }

    /// The cipher of this number over protected texts.
    ///
    /// # Errors
    /// One line: the cipher is not known.
    pub fn over_texts(number: u32, key: &[u8]) -> Result<Stream, String> {
        match number {
            SALSA20 => {
                let key = Zeroizing::new(sha256(key));
                let cipher = Salsa20::new_from_slices(&*key, &SALSA20_NONCE);
                let cipher = cipher.map_err(|_| damaged())?;
                Ok(Stream::Salsa20(Box::new(cipher)))
            }
            CHACHA20 => {
                let mut hash = Sha512::new();
                hash.update(key);
                let hash = Zeroizing::new(hash.finish());
                Stream::chacha20(&hash[..32], &hash[32..44])
            }
            _ => Err("its inner cipher is not known: have it saved again".to_owned()),
        }
    }

    /// Encrypts or decrypts what comes next.
    ///
    /// # Errors
    /// One line of the library.
    pub fn pass(&mut self, bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
        match self {
            Stream::ChaCha20(crypter) => {
                let mut out = Zeroizing::new(vec![0; bytes.len() + 64]);
                let len = crypter.update(bytes, &mut out).map_err(|e| e.to_string())?;
                out.truncate(len);
                Ok(out)
            }
            Stream::Salsa20(cipher) => {
                let mut out = Zeroizing::new(bytes.to_vec());
                let done = cipher.try_apply_keystream(&mut out);
                done.map_err(|_| damaged())?;
                Ok(out)
            }
        }
    }

    /// The text in a protected one.
    ///
    /// # Errors
    /// One line: it is damaged.
    pub fn open(&mut self, sealed: &str) -> Result<Zeroizing<String>, String> {
        let bytes = openssl::base64::decode_block(sealed.trim()).map_err(|_| damaged())?;
        let text = self.pass(&bytes)?;
        let text = str::from_utf8(&text).map_err(|_| damaged())?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    /// Protects a text.
    ///
    /// # Errors
    /// One line of the library.
    pub fn seal(&mut self, text: &str) -> Result<Zeroizing<String>, String> {
        let sealed = self.pass(text.as_bytes())?;
        Ok(Zeroizing::new(openssl::base64::encode_block(&sealed)))
    }
}

fn damaged() -> String {
    DAMAGED.to_owned()
}
