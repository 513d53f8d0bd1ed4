//! The keys of one direction (RFC 8446, 5.2, 5.3, 7.2 and 7.3): made from its
//! traffic secret, and replaced by a KeyUpdate.

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use aws_lc_rs::hkdf::{HKDF_SHA256, HKDF_SHA384, KeyType, Prk};
use rustls::CipherSuite;
use zeroize::Zeroizing;

use crate::ipc::codec::codec;

/// Bytes of a nonce, and of what is behind a deciphered record.
const NONCE: usize = 12;
/// Bytes of a record's tag.
pub(crate) const TAG: usize = 16;

/// The cipher suites of TLS 1.3 that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// `TLS_AES_128_GCM_SHA256`
    Aes128,
    /// `TLS_AES_256_GCM_SHA384`
    Aes256,
    /// `TLS_CHACHA20_POLY1305_SHA256`
    ChaCha20,
}

codec!(enum Suite { 1 => Aes128, 2 => Aes256, 3 => ChaCha20 });

impl Suite {
    /// The suite that rustls calls so.
    pub fn of(suite: CipherSuite) -> Option<Suite> {
        match suite {
            CipherSuite::TLS13_AES_128_GCM_SHA256 => Some(Suite::Aes128),
            CipherSuite::TLS13_AES_256_GCM_SHA384 => Some(Suite::Aes256),
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => Some(Suite::ChaCha20),
            _ => None,
        }
    }

    /// Bytes of a traffic secret.
    pub(crate) fn secret_len(self) -> usize {
        if self == Suite::Aes256 { 48 } else { 32 }
    }

    fn key_len(self) -> usize {
        if self == Suite::Aes128 { 16 } else { 32 }
    }
}

/// One direction: its traffic secret and what follows from it.
pub(crate) struct Keys {
    suite: Suite,
    secret: Zeroizing<Vec<u8>>,
    key: LessSafeKey,
    iv: [u8; NONCE],
    /// Records done under this key.
    pub(crate) sequence: u64,
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand-Label; `None` for a secret of another length than the suite's, and
/// for a context of more than 255 bytes.
pub(super) fn expand(
    suite: Suite,
    secret: &[u8],
    label: &str,
    context: &[u8],
    len: usize,
) -> Option<Zeroizing<Vec<u8>>> {
    let hash = if suite == Suite::Aes256 {
        HKDF_SHA384
    } else {
        HKDF_SHA256
    };
    if secret.len() != suite.secret_len() {
        return None;
    }
    let [.., high, low] = len.to_be_bytes();
    let [.., named] = (label.len() + 6).to_be_bytes();
    let lengths = [high, low, named];
    let behind = [u8::try_from(context.len()).ok()?];
    let mut out = Zeroizing::new(vec![0; len]);
    Prk::new_less_safe(hash, secret)
        .expand(
            &[&lengths, b"tls13 ", label.as_bytes(), &behind, context],
            Length(len),
        )
        .and_then(|okm| okm.fill(&mut out))
        .ok()?;
    Some(out)
}

impl Keys {
    /// The keys that follow from a traffic secret.
    pub(crate) fn new(suite: Suite, secret: &[u8], sequence: u64) -> Option<Keys> {
        let algorithm = match suite {
            Suite::Aes128 => &AES_128_GCM,
            Suite::Aes256 => &AES_256_GCM,
            Suite::ChaCha20 => &CHACHA20_POLY1305,
        };
        let key = expand(suite, secret, "key", &[], suite.key_len())?;
        let iv = expand(suite, secret, "iv", &[], NONCE)?;
        Some(Keys {
            suite,
            secret: Zeroizing::new(secret.to_vec()),
            key: LessSafeKey::new(UnboundKey::new(algorithm, &key).ok()?),
            iv: iv.as_slice().try_into().ok()?,
            sequence,
        })
    }

    pub(crate) fn suite(&self) -> Suite {
        self.suite
    }

    pub(crate) fn secret(&self) -> &[u8] {
        &self.secret
    }

    /// Key and IV, for who makes records in our place with AES-GCM; `None` for
    /// another cipher.
    pub(crate) fn raw(&self) -> Option<(Zeroizing<Vec<u8>>, &[u8; NONCE])> {
        if self.suite == Suite::ChaCha20 {
            return None;
        }
        Some((
            expand(self.suite, &self.secret, "key", &[], self.suite.key_len())?,
            &self.iv,
        ))
    }

    /// The keys after a KeyUpdate.
    pub(crate) fn next(&self) -> Option<Keys> {
        let secret = expand(
            self.suite,
            &self.secret,
            "traffic upd",
            &[],
            self.suite.secret_len(),
        )?;
        Keys::new(self.suite, &secret, 0)
    }

    /// The nonce of the record that is next; `None` behind the last number.
    fn nonce(&mut self) -> Option<Nonce> {
        let next = self.sequence.checked_add(1)?;
        let mut nonce = self.iv;
        for (byte, digit) in nonce[NONCE - 8..]
            .iter_mut()
            .zip(self.sequence.to_be_bytes())
        {
            *byte ^= digit;
        }
        self.sequence = next;
        Some(Nonce::assume_unique_for_key(nonce))
    }

    /// Enciphers a record's content in place. Its type and the tag go to
    /// `behind`.
    pub(crate) fn seal(
        &mut self,
        header: [u8; 5],
        content: &mut [u8],
        kind: u8,
        behind: &mut [u8; 1 + TAG],
    ) -> Option<()> {
        let nonce = self.nonce()?;
        self.key
            .seal_in_place_scatter(nonce, Aad::from(header), content, &[kind], behind)
            .ok()
    }

    /// Deciphers a record, tag included, in place: the length of content, type
    /// and padding.
    pub(crate) fn open_in_place(&mut self, header: [u8; 5], record: &mut [u8]) -> Option<usize> {
        let nonce = self.nonce()?;
        self.key
            .open_in_place(nonce, Aad::from(header), record)
            .ok()
            .map(|plain| plain.len())
    }

    /// Deciphers a record into `plain`, which has its length without the tag.
    pub(crate) fn open_into(
        &mut self,
        header: [u8; 5],
        record: &[u8],
        plain: &mut [u8],
    ) -> Option<()> {
        let nonce = self.nonce()?;
        let (cipher, tag) = record.split_at_checked(plain.len())?;
        self.key
            .open_separate_gather(nonce, Aad::from(header), cipher, tag, plain)
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|two| u8::from_str_radix(std::str::from_utf8(two).expect("hex"), 16).expect("hex"))
            .collect()
    }

    /// RFC 8448, section 3: the server's application traffic secret and the
    /// keys made from it.
    #[test]
    fn keys_are_those_of_the_rfcs_trace() {
        let secret = hex("a1 1a f9 f0 55 31 f8 56 ad 47 11 6b 45 a9 50 32
            82 04 b4 f4 4b fb 6b 3a 4b 4f 1f 3f cb 63 16 43");
        let key = expand(Suite::Aes128, &secret, "key", &[], 16).expect("key");
        let iv = expand(Suite::Aes128, &secret, "iv", &[], 12).expect("iv");
        assert_eq!(*key, hex("9f 02 28 3b 6c 9c 07 ef c2 6b b9 f2 ac 92 e3 56"));
        assert_eq!(*iv, hex("cf 78 2b 88 dd 83 54 9a ad f1 e9 84"));
        assert!(Keys::new(Suite::Aes256, &secret, 0).is_none());
    }
}
