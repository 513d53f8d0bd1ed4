//! The keys of an account, and how what leaves this machine is sealed: the server
//! sees neither content nor titles, and can't pass one item off as another or an
//! old version as a new one.

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::hmac;
use openssl::symm::{Cipher, decrypt_aead, encrypt_aead};
use zeroize::Zeroizing;

use crate::client::vault::database::Kind;
use crate::vault::own::message::{Id, Kdf};

/// A key, or another secret of its size.
pub type Key = Zeroizing<[u8; 32]>;

/// The version of the form in which items are sealed.
const FORM: u8 = 1;

const NONCE: usize = 12;
const TAG: usize = 16;
const SALT: usize = 16;

/// Version and salt.
const HEAD: usize = 1 + SALT;

/// Contents are padded to a multiple of this, up to `STEPS_END`.
const STEP: usize = 256;
const STEPS_END: usize = 4096;

/// What a password proves an account with, and what seals the account's secret.
///
/// # Errors
/// One line of the library.
pub fn stretch(kdf: &Kdf, password: &str) -> Result<PasswordKeys, String> {
    let params = Params::new(kdf.memory_kib, kdf.passes, kdf.lanes, Some(32));
    let params = params.map_err(|e| e.to_string())?;
    let mut key = Key::default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.as_bytes(), &kdf.salt, &mut *key)
        .map_err(|e| e.to_string())?;
    Ok(PasswordKeys {
        proof: derive(&*key, &[], &[b"tf-vault/1 auth"])?,
        wrap: derive(&*key, &[], &[b"tf-vault/1 wrap"])?,
    })
}

/// What comes from a master password.
pub struct PasswordKeys {
    /// What the server compares.
    pub proof: Key,
    /// What it never gets.
    wrap: Key,
}

impl PasswordKeys {
    /// Seals the account's secret, for the server to keep.
    ///
    /// # Errors
    /// One line.
    pub fn wrap(&self, secret: &Key, user: &str, salt: &[u8; 32]) -> Result<Vec<u8>, String> {
        seal(&self.wrap, &[user.as_bytes(), salt].concat(), &secret[..])
    }

    /// Opens what was sealed so.
    pub fn unwrap(&self, wrapped: &[u8], user: &str, salt: &[u8; 32]) -> Option<Key> {
        let opened = open(&self.wrap, &[user.as_bytes(), salt].concat(), wrapped)?;
        Some(Zeroizing::new(opened.as_slice().try_into().ok()?))
    }
}

/// The keys that follow from an account's secret.
pub struct AccountKeys {
    secret: Key,
}

impl AccountKeys {
    /// Those of a secret.
    pub fn new(secret: Key) -> AccountKeys {
        AccountKeys { secret }
    }

    /// The secret itself.
    pub fn secret(&self) -> &Key {
        &self.secret
    }

    /// What proves to the server that this is known.
    ///
    /// # Errors
    /// One line of the library.
    pub fn proof(&self) -> Result<Key, String> {
        derive(&*self.secret, &[], &[b"tf-vault/1 recovery"])
    }

    /// What the server knows an item by.
    ///
    /// # Errors
    /// One line of the library.
    pub fn id(&self, kind: Kind, name: &[u8]) -> Result<Id, String> {
        self.name(kind as u8, name)
    }

    /// The same of a piece of a body.
    ///
    /// # Errors
    /// One line of the library.
    pub fn piece_id(&self, digest: &[u8; 32], number: u32) -> Result<Id, String> {
        self.name(u8::MAX, &[&digest[..], &number.to_be_bytes()].concat())
    }

    fn name(&self, kind: u8, name: &[u8]) -> Result<Id, String> {
        let key = derive(&*self.secret, &[], &[b"tf-vault/1 id"])?;
        let tag = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, &*key),
            &[&[kind], name].concat(),
        );
        let mut id = Id::default();
        id.copy_from_slice(&tag.as_ref()[..16]);
        Ok(id)
    }

    /// Seals an item that replaces this revision.
    ///
    /// # Errors
    /// One line of the library.
    pub fn seal(&self, id: &Id, base: u64, content: &[u8]) -> Result<Vec<u8>, String> {
        let mut salt = [0; SALT];
        getrandom::fill(&mut salt).map_err(|e| e.to_string())?;
        let mut padded = Zeroizing::new(Vec::with_capacity(padded_len(content.len() + 4)));
        let len = u32::try_from(content.len()).map_err(|e| e.to_string())?;
        padded.extend_from_slice(&len.to_be_bytes());
        padded.extend_from_slice(content);
        padded.resize(padded_len(content.len() + 4), 0);
        let head = [&[FORM][..], &salt].concat();
        let key = derive(&*self.secret, &salt, &[b"tf-vault/1 item", id])?;
        let sealed = seal(
            &key,
            &[&head[..], id, &base.to_be_bytes()].concat(),
            &padded,
        )?;
        Ok([head, sealed].concat())
    }

    /// Opens what was sealed so.
    pub fn open(&self, id: &Id, base: u64, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (head, rest) = sealed.split_at_checked(HEAD)?;
        if head[0] != FORM {
            return None;
        }
        let key = derive(&*self.secret, &head[1..], &[b"tf-vault/1 item", id]).ok()?;
        let padded = open(&key, &[head, &id[..], &base.to_be_bytes()].concat(), rest)?;
        let (len, content) = padded.split_first_chunk::<4>()?;
        let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
        Some(Zeroizing::new(content.get(..len)?.to_vec()))
    }
}

/// The length that a content is padded to.
fn padded_len(len: usize) -> usize {
    let step = match len {
        0..=STEPS_END => STEP,
        // An eighth of the power of two below.
        _ => 1 << (len.ilog2() - 3),
    };
    len.next_multiple_of(step)
}

/// Random bytes.
///
/// # Errors
/// When the system has none.
pub fn random() -> Result<Key, String> {
    let mut secret = Key::default();
    getrandom::fill(&mut *secret).map_err(|e| e.to_string())?;
    Ok(secret)
}

fn derive(key: &[u8], salt: &[u8], info: &[&[u8]]) -> Result<Key, String> {
    let mut out = Key::default();
    let prk = Salt::new(HKDF_SHA256, salt).extract(key);
    let filled = prk
        .expand(info, HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut *out));
    filled.map_err(|_| "no key could be derived".to_owned())?;
    Ok(out)
}

/// Seals bytes with AES-256-GCM under a random nonce.
///
/// # Errors
/// One line of the library.
pub fn seal(key: &Key, about: &[u8], content: &[u8]) -> Result<Vec<u8>, String> {
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut nonce).map_err(|e| e.to_string())?;
    let mut tag = [0; TAG];
    let sealed = encrypt_aead(
        Cipher::aes_256_gcm(),
        &key[..],
        Some(&nonce),
        about,
        content,
        &mut tag,
    );
    Ok([&nonce[..], &sealed.map_err(|e| e.to_string())?, &tag].concat())
}

/// Opens what was sealed so.
pub fn open(key: &Key, about: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, rest) = sealed.split_at_checked(NONCE)?;
    let (content, tag) = rest.split_at_checked(rest.len().checked_sub(TAG)?)?;
    let opened = decrypt_aead(
        Cipher::aes_256_gcm(),
        &key[..],
        Some(nonce),
        about,
        content,
        tag,
    );
    opened.ok().map(Zeroizing::new)
}

/// An account's secret as people copy it: groups of digits in base32, and two that
/// show a mistake.
pub fn to_sheet(secret: &Key) -> Zeroizing<String> {
    let sum = openssl::sha::sha256(&secret[..]);
    let all = Zeroizing::new([&secret[..], &sum[..3]].concat());
    let mut text = Zeroizing::new(String::with_capacity(80));
    for (at, chunk) in all.chunks(5).enumerate() {
        let word = chunk
            .iter()
            .fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
        for digit in (0..8).rev() {
            let value = usize::try_from(word >> (5 * digit) & 31).unwrap_or(0);
            text.push(char::from(DIGITS[value]));
        }
        if at < 6 {
            text.push('-');
        }
    }
    text
}

/// The digits of base32 (RFC 4648).
const DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The secret that a person has copied.
pub fn from_sheet(text: &str) -> Option<Key> {
    let mut all = Zeroizing::new(Vec::with_capacity(35));
    let (mut word, mut count) = (0_u64, 0);
    for c in text.bytes().filter(|c| !matches!(c, b'-' | b' ' | b'\t')) {
        let c = c.to_ascii_uppercase();
        let value = DIGITS.iter().position(|digit| *digit == c)?;
        word = word << 5 | u64::try_from(value).ok()?;
        count += 1;
        if count % 8 == 0 {
            all.extend_from_slice(&word.to_be_bytes()[3..]);
            word = 0;
        }
    }
    let (secret, sum) = all.split_first_chunk::<32>().filter(|_| count == 56)?;
    (openssl::sha::sha256(secret)[..3] == *sum).then(|| Zeroizing::new(*secret))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_secret_is_copied_and_a_mistake_is_noticed() {
        let secret = random().expect("random");
        let text = to_sheet(&secret);
        assert_eq!(text.len(), 62, "{}", *text);
        assert_eq!(from_sheet(&text), Some(secret.clone()));
        assert_eq!(
            from_sheet(&text.to_lowercase().replace('-', " ")),
            Some(secret)
        );
        for at in (0..62).filter(|at| at % 9 != 8) {
            let mut wrong = text.to_string().into_bytes();
            wrong[at] = if wrong[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(from_sheet(str::from_utf8(&wrong).expect("text")), None);
        }
        assert_eq!(from_sheet(""), None);
    }

    #[test]
    fn a_password_opens_what_it_has_wrapped_and_no_other_does() {
        let kdf = Kdf {
            memory_kib: 19 << 10,
            passes: 2,
            ..Kdf::usual([7; 32])
        };
        let keys = stretch(&kdf, "correct").expect("keys");
        let secret = random().expect("random");
        let wrapped = keys.wrap(&secret, "ann", &kdf.salt).expect("wrapped");
        assert!(wrapped.len() <= 256);
        assert_eq!(keys.unwrap(&wrapped, "ann", &kdf.salt), Some(secret));
        assert_eq!(keys.unwrap(&wrapped, "bob", &kdf.salt), None);
        let wrong = stretch(&kdf, "wrong").expect("keys");
        assert_eq!(wrong.unwrap(&wrapped, "ann", &kdf.salt), None);
        assert_ne!(wrong.proof, keys.proof);
    }

    proptest! {
        #[test]
        fn an_item_opens_under_its_name_alone(content in proptest::collection::vec(any::<u8>(), 0..6000), base: u64, at: usize) {
            let keys = AccountKeys::new(random().expect("random"));
            let id = keys.id(Kind::Entry, &[7; 16]).expect("id");
            let sealed = keys.seal(&id, base, &content).expect("sealed");
            let opened = keys.open(&id, base, &sealed).expect("opened");
            prop_assert_eq!(&*opened, &content);
            let other = keys.id(Kind::Group, &[7; 16]).expect("id");
            prop_assert!(keys.open(&other, base, &sealed).is_none());
            prop_assert!(keys.open(&id, base ^ 1, &sealed).is_none());
            let mut wrong = sealed.clone();
            let at = at % wrong.len();
            wrong[at] ^= 1;
            prop_assert!(keys.open(&id, base, &wrong).is_none());
            prop_assert!(keys.open(&id, base, &sealed[..at]).is_none());
            let short = keys.seal(&id, base, &content[..content.len() / 2]).expect("sealed");
            prop_assert_eq!((short.len() - HEAD - NONCE - TAG) % STEP, 0);
        }
    }
}
