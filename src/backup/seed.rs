//! The phrase of an owner and the keys that come from it. It never stores the
//! phrase, and no key leaves it but to those who use it.

use aes256ctr_poly1305aes::aead::Aead;
use aes256ctr_poly1305aes::{Aes256CtrPoly1305Aes, Key, Nonce};
use bip39::{Language, Mnemonic};
use openssl::error::ErrorStack;
use openssl::md::Md;
use openssl::pkey::{Id, PKey, Private};
use openssl::pkey_ctx::PkeyCtx;
use openssl::sha::sha256;
use openssl::sign::{Signer, Verifier};
use rustic_core::repofile::MasterKey;
use zeroize::Zeroizing;

use super::keepers::Chunk;
use super::{BackupError, Result};
use crate::hub::peer::signer::Keys;
use crate::hub::proofs::SigningKey;
use crate::hub::wire::LoginKey;
use crate::text::hex;

/// Bytes of a seed, and of most keys.
pub(super) const SEED: usize = 32;

/// Bytes of a signature.
pub(super) const SIGNATURE: usize = 64;

/// Separates these keys from all others that one could derive.
const SALT: &[u8] = b"tfd-hub-v1";

/// What local keepers stand in the place of, in signatures.
const HUB: &str = "local";
const USER: &str = "local";

/// What all keys of an owner come from.
#[derive(Clone)]
pub(crate) struct Seed(Zeroizing<[u8; SEED]>);

impl Seed {
    /// A new one.
    pub(crate) fn generate() -> Result<Seed> {
        let mut bytes = Zeroizing::new([0; SEED]);
        getrandom::fill(&mut *bytes)
            .map_err(|e| BackupError::Failed(format!("no random bytes: {e}")))?;
        Ok(Seed(bytes))
    }

    /// That of these bytes.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Seed> {
        bytes
            .try_into()
            .ok()
            .map(|bytes| Seed(Zeroizing::new(bytes)))
    }

    pub(super) fn bytes(&self) -> &[u8; SEED] {
        &self.0
    }

    /// The one that a phrase says, however its words are spaced.
    pub(crate) fn from_phrase(phrase: &str) -> Result<Seed> {
        let wrong = |why: String| BackupError::WrongKey(format!("not the phrase: {why}"));
        let words = Zeroizing::new(phrase.to_lowercase());
        let count = words.split_whitespace().count();
        if count != 24 {
            return Err(wrong(format!("it has 24 words, these are {count}")));
        }
        let mnemonic = Mnemonic::parse_in_normalized(Language::English, &words)
            .map_err(|e| wrong(format!("a word is wrong: {e}")))?;
        let (entropy, len) = mnemonic.to_entropy_array();
        let entropy = Zeroizing::new(entropy);
        Seed::from_bytes(&entropy[..len]).ok_or_else(|| wrong("its length".to_owned()))
    }

    /// Its 24 words.
    pub(crate) fn phrase(&self) -> Result<Zeroizing<String>> {
        let mnemonic = Mnemonic::from_entropy_in(Language::English, &*self.0)
            .map_err(|e| BackupError::Failed(format!("no phrase: {e}")))?;
        let words: Vec<&str> = mnemonic.words().collect();
        Ok(Zeroizing::new(words.join(" ")))
    }

    fn derive<const N: usize>(&self, info: &str) -> Result<Zeroizing<[u8; N]>, ErrorStack> {
        let mut key = Zeroizing::new([0; N]);
        let mut context = PkeyCtx::new_id(Id::HKDF)?;
        context.derive_init()?;
        context.set_hkdf_md(Md::sha256())?;
        context.set_hkdf_key(&*self.0)?;
        context.set_hkdf_salt(SALT)?;
        context.add_hkdf_info(info.as_bytes())?;
        context.derive(Some(&mut *key))?;
        Ok(key)
    }

    /// The key that signs for the owner.
    pub(super) fn identity(&self) -> Result<Identity> {
        let key = self.derive::<32>("identity")?;
        let private = PKey::private_key_from_raw_bytes(&*key, Id::ED25519)?;
        let public = private.raw_public_key()?;
        Ok(Identity { private, public })
    }

    /// What signs and logs in for the owner at a hub.
    pub(super) fn hub_keys(&self) -> Result<Keys> {
        Ok(Keys {
            key: SigningKey::new(&*self.derive::<32>("identity")?)?,
            login: self.login()?,
        })
    }

    /// What logs in at a hub.
    pub(super) fn login(&self) -> Result<LoginKey> {
        Ok(LoginKey(self.derive("login")?))
    }

    /// What seals the owner's book.
    pub(super) fn book_key(&self) -> Result<Zeroizing<[u8; 32]>> {
        Ok(self.derive("book")?)
    }

    /// The private key of the user's own keeper.
    pub(super) fn holder_key(&self) -> Result<LoginKey> {
        Ok(LoginKey(self.derive("keeper")?))
    }

    /// The key of the repository. Poly1305 wants some bits of r to be zero.
    pub(super) fn master_key(&self) -> Result<MasterKey> {
        let key = self.derive::<64>("repository")?;
        let mut r = key[48..].to_vec();
        for at in [3, 7, 11, 15] {
            r[at] &= 0x0f;
        }
        for at in [4, 8, 12] {
            r[at] &= 0xfc;
        }
        let mut master = MasterKey::new();
        master.encrypt = key[..32].to_vec();
        master.mac.k = key[32..48].to_vec();
        master.mac.r = r;
        Ok(master)
    }
}

/// Bytes of the number that a sealed chunk begins with.
const NONCE: usize = 16;

/// What knows the seals of the repository's chunks.
pub(super) struct Seal(Aes256CtrPoly1305Aes);

impl Seal {
    pub(super) fn of(seed: &Seed) -> Result<Seal> {
        let MasterKey { encrypt, mac, .. } = seed.master_key()?;
        let key = Zeroizing::new([encrypt, mac.k, mac.r].concat());
        let key = Key::from_exact_iter(key.iter().copied());
        let wrong = || BackupError::Failed("the repository's key has another length".to_owned());
        Ok(Seal(Aes256CtrPoly1305Aes::new(&key.ok_or_else(wrong)?)))
    }

    /// Whether this is that chunk as it was sealed, and not another one.
    pub(super) fn opens(&self, sealed: &[u8], chunk: &Chunk) -> bool {
        self.open(sealed, chunk.size)
            .is_some_and(|bytes| hex(&sha256(&bytes)) == chunk.digits)
    }

    /// What is sealed; of these many bytes, if it is compressed.
    fn open(&self, sealed: &[u8], size: Option<u32>) -> Option<Vec<u8>> {
        let (nonce, rest) = sealed.split_at_checked(NONCE)?;
        let opened = self.0.decrypt(Nonce::from_slice(nonce), rest).ok()?;
        let Some(size) = size else {
            return Some(opened);
        };
        let size = usize::try_from(size).ok()?;
        zstd::bulk::decompress(&opened, size).ok()
    }
}

/// What signs for an owner.
pub(super) struct Identity {
    private: PKey<Private>,
    public: Vec<u8>,
}

impl Identity {
    /// The directory of this owner at a keeper.
    pub(super) fn directory(&self) -> String {
        hex(&sha256(&self.public)[..16])
    }

    /// Says that a file of this name and size is this owner's.
    pub(super) fn sign_file(&self, name: &str, size: u64) -> Result<[u8; SIGNATURE]> {
        let message = file_message(HUB, USER, name, size);
        let mut signature = [0; SIGNATURE];
        Signer::new_without_digest(&self.private)?.sign_oneshot(&mut signature, &message)?;
        Ok(signature)
    }

    /// Whether this is what [`Identity::sign_file`] says.
    pub(super) fn has_signed(&self, name: &str, size: u64, signature: &[u8]) -> Result<bool> {
        let message = file_message(HUB, USER, name, size);
        let mut verifier = Verifier::new_without_digest(&self.private)?;
        Ok(verifier.verify_oneshot(signature, &message)?)
    }
}

fn file_message(hub: &str, owner: &str, name: &str, size: u64) -> Vec<u8> {
    let size = size.to_string();
    ["tfd-hub-fil-v1", hub, owner, name, &size]
        .join("\0")
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use openssl::base64::encode_block;

    use super::*;
    use crate::hub::wire::Value;

    /// The owner of the examples in the protocol.
    fn anna() -> Seed {
        let bytes: Vec<u8> = (0..32).collect();
        Seed::from_bytes(&bytes).expect("32 bytes")
    }

    const PHRASE: &str = "abandon amount liar amount expire adjust cage candy arch gather drum bullet \
                          absurd math era live bid rhythm alien crouch range attend journey unaware";

    const LOGIN: &str = "980499525ca305006c55af1127c19adc80742128cc31797261355938b00be134";

    #[test]
    fn the_phrase_is_that_of_the_protocol_and_leads_back() {
        assert_eq!(*anna().phrase().expect("phrase"), PHRASE);
        let spaced = PHRASE.to_uppercase().replace(' ', "\n  ");
        let again = Seed::from_phrase(&spaced).expect("seed");
        assert_eq!(again.bytes(), anna().bytes());
    }

    #[test]
    fn a_phrase_with_a_wrong_word_is_refused() {
        for (from, to) in [
            ("unaware", "zoo"),
            ("unaware", "unawares"),
            ("abandon ", ""),
        ] {
            let Err(e) = Seed::from_phrase(&PHRASE.replace(from, to)) else {
                panic!("{from} {to}");
            };
            assert!(matches!(e, BackupError::WrongKey(_)), "{e}");
        }
    }

    #[test]
    fn the_keys_are_those_of_the_protocol() {
        let anna = anna();
        let key = anna.derive::<32>("identity").expect("key");
        assert_eq!(
            hex(&*key),
            "ef44bcb383e0884ac77d99f2e0546df23f2bd77eab2d466ef1cce883f2a774a5"
        );
        let identity = anna.identity().expect("identity");
        assert_eq!(
            encode_block(&identity.public),
            "/7VHWnIgOUNdsPQxBDR0LBL7OFAEnfgX8PSGVhoyHnY="
        );
        assert_eq!(identity.directory(), "630689436a897bfe0b40f90de72429af");
        let public = |key: LoginKey| SigningKey::new(&key.0).and_then(|key| key.public());
        assert_eq!(hex(&*anna.login().expect("key").0), LOGIN);
        let bob = Seed::from_bytes(&(32..64).collect::<Vec<u8>>()).expect("32 bytes");
        let holder = public(bob.holder_key().expect("key")).expect("key");
        assert_eq!(holder.text(), "N78UC4ahUtSig_Eg5NZKmo8V7MCCDmlJJdRJTzZ5cHU");
        let master = anna.master_key().expect("key");
        assert_eq!(
            hex(&master.encrypt),
            "fa347426416944153ff9a86e4e87c34f525d2be5ad5fb0c4d1bb4ab1b01375a8"
        );
        assert_eq!(hex(&master.mac.k), "5b72fb36ceb8280c4a912181799d89bd");
        assert_eq!(hex(&master.mac.r), "b5187503948f9409a8cbd8006483a70a");
    }

    #[test]
    fn a_sealed_chunk_is_known_and_no_other_is_taken_for_it() {
        let seal = Seal::of(&anna()).expect("seal");
        let mut sealed: Vec<u8> = (0..16).collect();
        let rest = "74de249f4a11f521d2756e97243b9cb4ca05c7f116ae6a0e0e154b";
        let pairs = rest.as_bytes().chunks(2);
        let digits = |pair| u8::from_str_radix(str::from_utf8(pair).expect("text"), 16);
        sealed.extend(pairs.map(|pair| digits(pair).expect("digits")));
        let bytes = seal.open(&sealed, None).expect("opened");
        let chunk = |bytes: &[u8], size| Chunk {
            digits: hex(&sha256(bytes)),
            size,
        };
        let it = chunk(&bytes, None);
        assert!(seal.opens(&sealed, &it));
        for at in 0..sealed.len() {
            let mut other = sealed.clone();
            other[at] ^= 1;
            assert!(!seal.opens(&other, &it), "{at}");
            assert!(!seal.opens(&sealed[..at], &it), "{at}");
        }
        // Another chunk of this owner has a seal as well.
        assert!(!seal.opens(&sealed, &chunk(b"other", None)));
        assert!(!seal.opens(&sealed, &chunk(&bytes, Some(5))));
        let text = b"a chunk ".repeat(1000);
        let packed = zstd::bulk::compress(&text, 3).expect("compressed");
        let nonce: Vec<u8> = (1..17).collect();
        let packed = seal.0.encrypt(Nonce::from_slice(&nonce), &packed[..]);
        let sealed = [nonce, packed.expect("sealed")].concat();
        assert!(seal.opens(&sealed, &chunk(&text, Some(8000))));
        assert!(!seal.opens(&sealed, &chunk(&text, Some(7999))));
        assert!(!seal.opens(&sealed, &chunk(&text, None)));
    }

    #[test]
    fn the_signature_of_a_file_is_that_of_the_protocol() {
        let identity = anna().identity().expect("identity");
        let name = "b0fb05b3723e2db06fbcfe30eacb1366e3efb05c45dc2c35c9f34bea514ab7d8";
        let message = file_message("hub.example.org", "anna", name, 4132);
        let mut signer = Signer::new_without_digest(&identity.private).expect("signer");
        let signature = signer.sign_oneshot_to_vec(&message).expect("signature");
        assert_eq!(
            encode_block(&signature),
            "/0gGm0ryPyWzk4/g1wiVGt9PIrCXz0l6foE0JDIqDOgDQQYlvBPoZve3SusVjQj3Q7CtglKnhPgl4l4CwEQFCA=="
        );
        let signature = identity.sign_file(name, 4132).expect("signature");
        let fits = |size| identity.has_signed(name, size, &signature).expect("answer");
        assert!(fits(4132) && !fits(4133));
    }
}
