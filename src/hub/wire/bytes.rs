//! Values that are so many bytes: names, keys, signatures and tokens, each in one form.

use std::fmt;

use zeroize::Zeroizing;

use super::value::Value;
use crate::ipc::codec::{Decode, Encode, Reader, Writer};

/// Lower-case digits, two for each byte.
pub(super) mod hex {
    use crate::text;

    pub fn read<const N: usize>(digits: &str) -> Option<[u8; N]> {
        let is_digit = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
        let is_hex = digits.len() == 2 * N && digits.bytes().all(is_digit);
        is_hex
            .then(|| text::unhex(digits.as_bytes()))??
            .try_into()
            .ok()
    }

    pub fn text(bytes: &[u8]) -> String {
        text::hex(bytes)
    }
}

/// base64url without padding, in its only form.
mod base64 {
    use openssl::base64::{decode_block, encode_block};

    pub fn read<const N: usize>(text: &str) -> Option<[u8; N]> {
        let is_letter = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        if text.len() != (N * 4).div_ceil(3) || !text.bytes().all(is_letter) {
            return None;
        }
        let mut padded = text.replace('-', "+").replace('_', "/");
        padded.push_str(["", "", "==", "="][text.len() % 4]);
        let bytes: [u8; N] = decode_block(&padded).ok()?.try_into().ok()?;
        (self::text(&bytes) == text).then_some(bytes)
    }

    pub fn text(bytes: &[u8]) -> String {
        let padded = encode_block(bytes);
        padded
            .trim_end_matches('=')
            .replace('+', "-")
            .replace('/', "_")
    }
}

/// Types that are so many bytes, and how they are printed.
macro_rules! bytes {
    ($($(#[$doc:meta])* $name:ident[$len:literal] in $form:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl Value for $name {
            fn read(text: &str) -> Option<$name> {
                $form::read(text).map($name)
            }

            fn print(&self, out: &mut String) {
                out.push_str(&$form::text(&self.0));
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.text())
            }
        }

        impl Encode for $name {
            fn encode<'a>(&'a self, out: &mut Writer<'a>) {
                out.put(&self.0);
            }
        }

        impl Decode for $name {
            fn decode(from: &mut Reader<'_>) -> Option<$name> {
                Decode::decode(from).map($name)
            }
        }
    )*};
}

bytes! {
    /// The name of a file: the SHA-256 of its bytes.
    Name[32] in hex;
    /// A keyed checksum.
    Checksum[32] in hex;
    /// What a challenge consists of.
    Random[16] in hex;
    /// The number of a run.
    RunId[16] in hex;
    /// A public key: Ed25519.
    Key[32] in base64;
    /// A signature: Ed25519.
    Signature[64] in base64;
    /// What opens one line, once.
    Token[16] in base64;
    /// What a dialler has drawn for its line.
    Nonce[16] in base64;
    /// What both ends of a line export from its TLS.
    Exporter[32] in base64;
}

/// The key by which a user logs in. It is wiped after use and never printed in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct LoginKey(pub Zeroizing<[u8; 32]>);

impl Value for LoginKey {
    fn read(text: &str) -> Option<LoginKey> {
        base64::read(text).map(|bytes| LoginKey(Zeroizing::new(bytes)))
    }

    fn print(&self, out: &mut String) {
        out.push_str(&base64::text(&*self.0));
    }
}

impl fmt::Debug for LoginKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoginKey")
    }
}

impl Encode for LoginKey {
    fn encode<'a>(&'a self, out: &mut Writer<'a>) {
        out.put(&*self.0);
    }
}

impl Decode for LoginKey {
    fn decode(from: &mut Reader<'_>) -> Option<LoginKey> {
        let bytes: [u8; 32] = Decode::decode(from)?;
        Some(LoginKey(Zeroizing::new(bytes)))
    }
}
