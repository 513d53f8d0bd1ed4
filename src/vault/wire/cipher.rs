//! The encryption of packets: AES-256-CBC, and from the second dialect on a MAC
//! over the ciphertext. Keys never leave this module but to the process that goes
//! on with the connection.

use openssl::base64::{decode_block, encode_block};
use openssl::error::ErrorStack;
use openssl::sha::sha256;
use openssl::symm::{Cipher, Crypter, Mode};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::ipc::codec::codec;
use crate::vault::Dialect;

/// Bytes of a block, and of what comes before the ciphertext.
const BLOCK: usize = 16;

/// What the first dialect pads to.
const LONG_BLOCK: usize = 32;

/// Digits of a MAC.
const MAC_DIGITS: usize = 44;

/// What comes before a ciphertext; none may come twice on a connection.
pub type Nonce = [u8; BLOCK];

/// The keys of a connection.
#[derive(Clone)]
pub struct Keys {
    /// 44 digits, which travel as they are.
    aes: Zeroizing<Vec<u8>>,
    /// The two halves of the key of the MAC, 32 digits each.
    mac: Zeroizing<Vec<u8>>,
}

codec!(struct Keys { aes, mac } if Keys::is_whole);

/// An encrypted text that was opened.
#[derive(Debug)]
pub struct Sealed {
    /// What came before the ciphertext.
    pub nonce: Nonce,
    /// The text; `None` if what was encrypted is not one.
    pub text: Option<Zeroizing<String>>,
}

impl Keys {
    /// Keys of this text, which the server has chosen, for a client that has sent
    /// this nonce.
    pub fn new(aes: &str, client_nonce: &str) -> Keys {
        let bare = client_nonce.replace('\0', "");
        let both = Zeroizing::new(format!("{aes}{bare}"));
        let mac = sha256(both.as_bytes());
        let mac: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        Keys {
            aes: Zeroizing::new(aes.as_bytes().to_vec()),
            mac: Zeroizing::new(mac.into_bytes()),
        }
    }

    /// Keys of a text made of random bytes.
    ///
    /// # Errors
    /// When the system has none.
    pub fn random(client_nonce: &str) -> Result<Keys, getrandom::Error> {
        let mut random = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *random)?;
        let aes = Zeroizing::new(encode_block(&*random));
        Ok(Keys::new(&aes, client_nonce))
    }

    /// The text that the client is to have.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.aes).unwrap_or_default()
    }

    fn is_whole(&self) -> bool {
        self.aes.len() == MAC_DIGITS && self.mac.len() == 64
    }

    fn mac(&self, digits: &str) -> String {
        let (first, second) = self.mac.split_at(32);
        let inner = encode_block(&sha256(&[first, digits.as_bytes()].concat()));
        encode_block(&sha256(&[second, inner.as_bytes()].concat()))
    }

    /// Whether a body ends with the MAC of what is before it.
    pub fn has_mac(&self, body: &str) -> bool {
        let Some((digits, mac)) = split_mac(body) else {
            return false;
        };
        self.mac(digits).as_bytes().ct_eq(mac.as_bytes()).into()
    }

    /// The body of a packet with this text.
    ///
    /// # Errors
    /// OpenSSL's.
    pub fn seal(&self, dialect: Dialect, nonce: Nonce, text: &str) -> Result<String, ErrorStack> {
        let to = match dialect {
            Dialect::G1 => LONG_BLOCK,
            Dialect::G2 | Dialect::G3 => BLOCK,
        };
        let padding = to - text.len() % to;
        let mut plain = Zeroizing::new(Vec::with_capacity(text.len() + padding));
        plain.extend_from_slice(text.as_bytes());
        plain.resize(text.len() + padding, u8::try_from(padding).unwrap_or(0));
        let ciphered = self.crypt(Mode::Encrypt, nonce, &plain)?;
        let digits = encode_block(&[&nonce[..], &ciphered].concat());
        Ok(match dialect {
            Dialect::G1 => digits,
            Dialect::G2 | Dialect::G3 => {
                let mac = self.mac(&digits);
                digits + &mac
            }
        })
    }

    /// Opens the body of a packet, whose MAC is right where the dialect has one;
    /// `None` for one that can't be decrypted.
    pub fn open(&self, dialect: Dialect, body: &str) -> Option<Sealed> {
        let digits = match dialect {
            Dialect::G1 => body,
            Dialect::G2 | Dialect::G3 => split_mac(body)?.0,
        };
        // OpenSSL takes blanks for digits.
        if digits.bytes().any(|byte| byte.is_ascii_whitespace()) {
            return None;
        }
        let bytes = decode_block(digits).ok()?;
        let (nonce, ciphered) = bytes.split_first_chunk::<BLOCK>()?;
        if ciphered.is_empty() || ciphered.len() % BLOCK != 0 {
            return None;
        }
        let plain = self.crypt(Mode::Decrypt, *nonce, ciphered).ok()?;
        let padding = usize::from(*plain.last()?);
        let text = plain
            .len()
            .checked_sub(padding)
            .filter(|_| (1..=LONG_BLOCK).contains(&padding));
        let text = text.and_then(|len| str::from_utf8(&plain[..len]).ok());
        Some(Sealed {
            nonce: *nonce,
            text: text.map(|text| Zeroizing::new(text.to_owned())),
        })
    }

    fn crypt(
        &self,
        mode: Mode,
        nonce: Nonce,
        from: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, ErrorStack> {
        let key = Zeroizing::new(sha256(&self.aes));
        let mut crypter = Crypter::new(Cipher::aes_256_cbc(), mode, &*key, Some(&nonce))?;
        crypter.pad(false);
        let mut to = Zeroizing::new(vec![0; from.len() + BLOCK]);
        let done = crypter.update(from, &mut to)?;
        let all = done + crypter.finalize(&mut to[done..])?;
        to.truncate(all);
        Ok(to)
    }
}

/// The digits of the ciphertext, and those of the MAC.
fn split_mac(body: &str) -> Option<(&str, &str)> {
    body.split_at_checked(body.len().checked_sub(MAC_DIGITS)?)
}
