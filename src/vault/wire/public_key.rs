//! Public keys in the forms of the handshake, the server's and the client's.

use openssl::base64::{decode_block, encode_block};
use openssl::bn::BigNum;
use openssl::pkey::Public;
use openssl::rsa::{Padding, Rsa};
use openssl::x509::X509;

/// The sizes a client's key may have, in bits.
const KEY_BITS: std::ops::RangeInclusive<u32> = 2048..=8192;

/// The longest public exponent, in bits.
const EXPONENT_BITS: i32 = 32;

/// The form of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `SubjectPublicKeyInfo` in PEM.
    Pem,
    /// `RSAParameters` in XML.
    Xml,
    /// A certificate in PEM.
    Certificate,
}

impl Format {
    /// The format of this name.
    pub fn of(name: &str) -> Option<Format> {
        match name {
            "PEM" => Some(Format::Pem),
            "XML" => Some(Format::Xml),
            "CRT" => Some(Format::Certificate),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Format::Pem => "PEM",
            Format::Xml => "XML",
            Format::Certificate => "CRT",
        }
    }
}

/// An RSA public key.
#[derive(Debug)]
pub struct PublicKey(Rsa<Public>);

impl PublicKey {
    /// The key of a certificate in PEM.
    pub fn of_certificate(pem: &[u8]) -> Option<PublicKey> {
        let key = X509::from_pem(pem).ok()?.public_key().ok()?;
        key.rsa().ok().map(PublicKey)
    }

    /// A client's key; `None` for one that is not of this form, or that nobody
    /// should use.
    pub fn read(format: Format, text: &str) -> Option<PublicKey> {
        let key = match format {
            Format::Pem | Format::Certificate => Rsa::public_key_from_pem(text.as_bytes()).ok()?,
            Format::Xml => {
                let number = |name| BigNum::from_slice(&element(text, name)?).ok();
                Rsa::from_public_components(number("Modulus")?, number("Exponent")?).ok()?
            }
        };
        let is_sound = KEY_BITS.contains(&(key.size() * 8))
            && key.e().num_bits() <= EXPONENT_BITS
            && key.e().is_bit_set(0)
            && key.e().num_bits() > 1
            && key.n().is_bit_set(0);
        is_sound.then_some(PublicKey(key))
    }

    /// The key in a form other than a certificate, as a server sends it.
    pub fn write(&self, format: Format) -> Option<String> {
        if format == Format::Xml {
            let (modulus, exponent) = (self.0.n().to_vec(), self.0.e().to_vec());
            return Some(format!(
                "<RSAParameters><Modulus>{}</Modulus><Exponent>{}</Exponent></RSAParameters>",
                encode_block(&modulus),
                encode_block(&exponent)
            ));
        }
        let pem = String::from_utf8(self.0.public_key_to_pem().ok()?).ok()?;
        Some(pem.trim_end().to_owned())
    }

    /// The longest text that it encrypts.
    pub fn longest(&self) -> usize {
        // Twice SHA-1, and two bytes.
        (self.0.size() as usize).saturating_sub(42)
    }

    /// What only the owner of the private key reads, in base64.
    pub fn encrypt(&self, text: &[u8]) -> Option<String> {
        let mut block = vec![0; self.0.size() as usize];
        let padding = Padding::PKCS1_OAEP;
        self.0.public_encrypt(text, &mut block, padding).ok()?;
        Some(encode_block(&block))
    }
}

/// The bytes of an element of XML, whatever is around it.
fn element(text: &str, name: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (digits, _) = rest.split_once(&format!("</{name}>"))?;
    decode_block(digits.trim()).ok()
}

/// The nonce of a client: what the server's private key has decrypted.
pub fn decrypted_nonce(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let is_fine = |c: char| c == '\0' || c.is_ascii_graphic() && !"!;%".contains(c);
    (!text.is_empty() && text.chars().all(is_fine)).then_some(text)
}
