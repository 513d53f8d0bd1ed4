//! Who signs what: responses to challenges, keys, lines between peers, files, receipts
//! and removals. Each statement begins with a prefix of its own, so that none can be
//! taken for another; all bind the hub's name. Nothing here keeps a key.

use std::fmt;

use openssl::error::ErrorStack;
use openssl::md::Md;
use openssl::memcmp;
use openssl::pkey::{Id, PKey, Private, Public};
use openssl::pkey_ctx::PkeyCtx;
use openssl::sha::sha256;
use openssl::sign::{Signer, Verifier};
use zeroize::Zeroizing;

use super::wire::{
    Checksum, Exporter, Introduction, Key, Label, Name, Random, Signature, User, Value,
};
use crate::text::hex;

/// The characters of an enrolment code.
const CODE: usize = 16;

/// The letters of a code: base32 without those that are taken for others (Crockford).
const LETTERS: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// What a peer answers a challenge for: the text of its response.
#[derive(Clone, Copy, Debug)]
pub struct Challenge<'a> {
    /// The hub's name.
    pub hub: &'a Label,
    /// Who logs in.
    pub user: &'a User,
    /// When the hub has made it, in seconds since 1970.
    pub time: u64,
    /// What the hub has drawn.
    pub random: Random,
    /// What both ends have exported from TLS; `None` without it.
    pub exporter: Option<Exporter>,
}

impl Challenge<'_> {
    fn text(&self) -> Vec<u8> {
        let exporter = self.exporter.map(|it| hex(&it.0));
        joined(&[
            "tfd-hub-rsp-v1",
            self.hub.as_str(),
            self.user.as_str(),
            &self.time.text(),
            &self.random.text(),
            exporter.as_deref().unwrap_or_default(),
        ])
    }

    /// The response of whom has this key: the code's, later the login key.
    ///
    /// # Errors
    /// The library's.
    pub fn response(&self, key: &[u8; 32]) -> Result<Checksum, ErrorStack> {
        let key = PKey::hmac(key)?;
        let mut signer = Signer::new(openssl::hash::MessageDigest::sha256(), &key)?;
        let mut mac = [0; 32];
        signer.sign_oneshot(&mut mac, &self.text())?;
        Ok(Checksum(mac))
    }

    /// Whether this is that response. It takes as long for a wrong one.
    ///
    /// # Errors
    /// The library's.
    pub fn is_answered_by(&self, key: &[u8; 32], given: &Checksum) -> Result<bool, ErrorStack> {
        let response = self.response(key)?;
        Ok(memcmp::eq(&response.0, &given.0))
    }
}

/// A new enrolment code, as it is shown.
///
/// # Errors
/// The system's.
pub fn new_code() -> Result<String, getrandom::Error> {
    let mut bytes = Zeroizing::new([0; CODE]);
    getrandom::fill(&mut *bytes)?;
    let letters = bytes.map(|byte| char::from(LETTERS.as_bytes()[usize::from(byte % 32)]));
    let groups = letters
        .chunks(4)
        .map(|group| group.iter().collect::<String>());
    Ok(groups.collect::<Vec<_>>().join("-"))
}

/// The key of a login by an enrolment code, which may have any case and hyphens;
/// `None` for anything else.
///
/// # Errors
/// The library's.
pub fn enrolment_key(
    code: &str,
    hub: &Label,
    user: &User,
) -> Result<Option<Zeroizing<[u8; 32]>>, ErrorStack> {
    let letters = code.chars().filter(|c| *c != '-');
    let code: String = letters.map(|c| c.to_ascii_uppercase()).collect();
    let code = Zeroizing::new(code);
    if code.len() != CODE || !code.chars().all(|c| LETTERS.contains(c)) {
        return Ok(None);
    }
    let mut key = Zeroizing::new([0; 32]);
    let mut context = PkeyCtx::new_id(Id::HKDF)?;
    context.derive_init()?;
    context.set_hkdf_md(Md::sha256())?;
    context.set_hkdf_key(code.as_bytes())?;
    context.set_hkdf_salt(b"tfd-hub-enrol-v1")?;
    context.add_hkdf_info(&joined(&[hub.as_str(), user.as_str()]))?;
    context.derive(Some(&mut *key))?;
    Ok(Some(key))
}

/// What is signed.
#[derive(Clone, Copy, Debug)]
#[allow(
    missing_docs,
    reason = "the fields of the statements; sizes in bytes, times in seconds"
)]
pub enum Statement<'a> {
    /// A response to a challenge: by the holder key on a holder's line, else by the
    /// identity key.
    Response(&'a Challenge<'a>),
    /// This is the holder key of the user: by the identity key.
    HolderKey {
        hub: &'a Label,
        user: &'a User,
        key: Key,
    },
    /// The first identity key is here: by itself.
    OwnKey {
        hub: &'a Label,
        user: &'a User,
        key: Key,
        exporter: Exporter,
    },
    /// An end of a new line between peers.
    Peer(&'a Introduction),
    /// This file is the owner's: by the identity key.
    File {
        hub: &'a Label,
        owner: &'a User,
        name: Name,
        size: u64,
    },
    /// The holder has this file on its disk: by the holder key.
    Receipt {
        hub: &'a Label,
        holder: &'a User,
        owner: &'a User,
        name: Name,
        size: u64,
    },
    /// The file may go: by the identity key.
    Removal {
        hub: &'a Label,
        owner: &'a User,
        name: Name,
        size: u64,
        time: u64,
    },
}

impl Statement<'_> {
    fn message(&self) -> Vec<u8> {
        match self {
            Statement::Response(challenge) => {
                let mut message = b"tfd-hub-rsp-v1\0".to_vec();
                message.extend_from_slice(&sha256(&challenge.text()));
                message
            }
            Statement::HolderKey { hub, user, key } => {
                joined(&["tfd-hub-kpr-v1", hub.as_str(), user.as_str(), &key.text()])
            }
            Statement::OwnKey {
                hub,
                user,
                key,
                exporter,
            } => joined(&[
                "tfd-hub-own-v1",
                hub.as_str(),
                user.as_str(),
                &key.text(),
                &hex(&exporter.0),
            ]),
            Statement::Peer(introduction) => joined(&["tfd-hub-ds-v1", &introduction.text()]),
            Statement::File {
                hub,
                owner,
                name,
                size,
            } => {
                let (name, size) = (name.text(), size.text());
                joined(&["tfd-hub-fil-v1", hub.as_str(), owner.as_str(), &name, &size])
            }
            Statement::Receipt {
                hub,
                holder,
                owner,
                name,
                size,
            } => joined(&[
                "tfd-hub-rcp-v1",
                hub.as_str(),
                holder.as_str(),
                owner.as_str(),
                &name.text(),
                &size.text(),
            ]),
            Statement::Removal {
                hub,
                owner,
                name,
                size,
                time,
            } => joined(&[
                "tfd-hub-rem-v1",
                hub.as_str(),
                owner.as_str(),
                &name.text(),
                &size.text(),
                &time.text(),
            ]),
        }
    }

    /// Signs it.
    ///
    /// # Errors
    /// The library's.
    pub fn sign(&self, key: &SigningKey) -> Result<Signature, ErrorStack> {
        let mut signature = [0; 64];
        let mut signer = Signer::new_without_digest(&key.0)?;
        signer.sign_oneshot(&mut signature, &self.message())?;
        Ok(Signature(signature))
    }

    /// Whether the owner of this key has signed it. Bytes that are not a key have
    /// signed nothing.
    pub fn is_signed(&self, key: &Key, signature: &Signature) -> bool {
        let verified = || -> Result<bool, ErrorStack> {
            let key: PKey<Public> = PKey::public_key_from_raw_bytes(&key.0, Id::ED25519)?;
            let mut verifier = Verifier::new_without_digest(&key)?;
            verifier.verify_oneshot(&signature.0, &self.message())
        };
        verified().unwrap_or(false)
    }
}

/// Texts with a zero byte between them, which none of them has.
fn joined(texts: &[&str]) -> Vec<u8> {
    texts.join("\0").into_bytes()
}

/// A private key that signs statements: Ed25519.
pub struct SigningKey(PKey<Private>);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

impl SigningKey {
    /// The one of these bytes.
    ///
    /// # Errors
    /// The library's.
    pub fn new(bytes: &[u8; 32]) -> Result<SigningKey, ErrorStack> {
        PKey::private_key_from_raw_bytes(bytes, Id::ED25519).map(SigningKey)
    }

    /// Its public key.
    ///
    /// # Errors
    /// The library's.
    pub fn public(&self) -> Result<Key, ErrorStack> {
        let mut key = [0; 32];
        let bytes = self.0.raw_public_key()?;
        key.copy_from_slice(&bytes);
        Ok(Key(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::wire::LoginKey;
    use crate::text::unhex;

    const NAME: &str = "b0fb05b3723e2db06fbcfe30eacb1366e3efb05c45dc2c35c9f34bea514ab7d8";
    const DS1: &str = "1.1,ds1,backup,anna,bob,1795336860,AAECAwQFBgcICQoLDA0ODw,\
                       IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI";

    fn read<T: Value>(text: &str) -> T {
        T::read(text).unwrap_or_else(|| panic!("{text}"))
    }

    fn key(digits: &str) -> SigningKey {
        let bytes = unhex(digits.as_bytes()).expect("digits");
        SigningKey::new(&bytes.try_into().expect("32 bytes")).expect("key")
    }

    fn anna() -> SigningKey {
        key("ef44bcb383e0884ac77d99f2e0546df23f2bd77eab2d466ef1cce883f2a774a5")
    }

    /// Bob's identity key and his holder key.
    fn bob() -> (SigningKey, SigningKey) {
        (
            key("6547927345dd85500812b40d9490847f6696e59c27c17c29ace069993e045941"),
            key("976b0b3767263dfb6be01939f12f3222dfc5807f1df7d2bf41fb970a252a6423"),
        )
    }

    /// Each statement of the protocol's examples, who signs it, and the signature.
    fn with_statements(mut test: impl FnMut(Statement<'_>, &SigningKey, &str)) {
        let (hub, anna_name, bob_name): (Label, User, User) =
            (read("hub.example.org"), read("anna"), read("bob"));
        let (hub, owner, holder) = (&hub, &anna_name, &bob_name);
        let (name, size) = (read(NAME), 4132);
        let (bob_identity, bob_holder) = bob();
        let challenge = Challenge {
            hub,
            user: owner,
            time: 1_795_336_800,
            random: read("8f14e45fceea167a5a36dedd4bea2543"),
            exporter: Some(Exporter([0x11; 32])),
        };
        test(
            Statement::Response(&challenge),
            &anna(),
            "SXPAjxrzo2yESzZ04vNOSteltZrDR4HbXTlks1H5glF51Kr0FiH0wXr8lUVrBe3jfhKob9USBA4GFCDIy5OyBw",
        );
        let holder_key = Statement::HolderKey {
            hub,
            user: holder,
            key: read("N78UC4ahUtSig_Eg5NZKmo8V7MCCDmlJJdRJTzZ5cHU"),
        };
        test(
            holder_key,
            &bob_identity,
            "VEOTscb65Yj0MnTPCKafXgHOXdIdhcWwXKoqfsOsVoSvIdpDcx-SNNEgG_WoTztRGmLdXDrGx4rFOj95kUqoDw",
        );
        let own_key = Statement::OwnKey {
            hub,
            user: owner,
            key: read("_7VHWnIgOUNdsPQxBDR0LBL7OFAEnfgX8PSGVhoyHnY"),
            exporter: Exporter([0x11; 32]),
        };
        test(
            own_key,
            &anna(),
            "V3ZoQ-ybyatbcOzQ4azrCIXbqpmdFF6o5LB5qr1lS_LM2URTD7qQE22FKCa83fXZ7BsjrxE8mxJLMmF3hVkkAw",
        );
        test(
            Statement::Peer(&read(DS1)),
            &anna(),
            "c8CMAl9CNHH3C9TK9dWOJiP7Bp2IvZRMnrS2NIn8mtrlDLlMxQ7t9UF8sGQV8omeKBrMPkmVt8S6pzezRFfeDw",
        );
        let listener = DS1.replace("ds1", "ds2").replace("anna,bob", "bob,anna");
        test(
            Statement::Peer(&read(&listener)),
            &bob_holder,
            "An1GMRJTre8NT3FuiQ6wiRZEu29ehB7I-KAYRUsFe_xh_GEtSdF7-KUSa6Av5W07TMZ44kU6H38rubweLO99Ag",
        );
        let file = Statement::File {
            hub,
            owner,
            name,
            size,
        };
        test(
            file,
            &anna(),
            "_0gGm0ryPyWzk4_g1wiVGt9PIrCXz0l6foE0JDIqDOgDQQYlvBPoZve3SusVjQj3Q7CtglKnhPgl4l4CwEQFCA",
        );
        let receipt = Statement::Receipt {
            hub,
            holder,
            owner,
            name,
            size,
        };
        test(
            receipt,
            &bob_holder,
            "mtuaYlHkus89y4udXJIEdP2miuVNjoaPouBiotLZ5cjrEj6ohQ9QjDFBPIgEk7bFNSvKm65Aqe4HNc0QmBDQDg",
        );
        let removal = Statement::Removal {
            hub,
            owner,
            name,
            size,
            time: 1_795_337_000,
        };
        test(
            removal,
            &anna(),
            "hOrNqK5wJQbEHIeBiHvhS0ZKQaBVzSNo9UPBCJL7KFa3acRnnklBIb2vbf2QHRsqwj9R9LNBj13iyICXKqfNCw",
        );
    }

    #[test]
    fn public_keys_are_those_of_the_protocol() {
        let public = |key: &SigningKey| key.public().expect("key").text();
        assert_eq!(
            public(&anna()),
            "_7VHWnIgOUNdsPQxBDR0LBL7OFAEnfgX8PSGVhoyHnY"
        );
        assert_eq!(
            public(&bob().1),
            "N78UC4ahUtSig_Eg5NZKmo8V7MCCDmlJJdRJTzZ5cHU"
        );
    }

    #[test]
    fn signatures_are_those_of_the_protocol() {
        with_statements(|statement, key, signature| {
            let signed = statement.sign(key).expect("signature");
            assert_eq!(signed.text(), signature, "{statement:?}");
        });
    }

    #[test]
    fn a_signature_is_of_one_statement_and_one_key() {
        let mut all: Vec<Signature> = Vec::new();
        with_statements(|_, _, signature| all.push(read(signature)));
        let mut at = 0;
        with_statements(|statement, key, _| {
            let public = key.public().expect("key");
            for (other, signature) in all.iter().enumerate() {
                assert_eq!(statement.is_signed(&public, signature), other == at);
            }
            for bit in [0, 255, 511] {
                let mut changed = all[at];
                changed.0[bit / 8] ^= 1 << (bit % 8);
                assert!(!statement.is_signed(&public, &changed));
            }
            let stranger = key_of_nobody().public().expect("key");
            assert!(!statement.is_signed(&stranger, &all[at]));
            assert!(!statement.is_signed(&Key([0xff; 32]), &all[at]));
            at += 1;
        });
    }

    fn key_of_nobody() -> SigningKey {
        SigningKey::new(&[7; 32]).expect("key")
    }

    #[test]
    fn responses_are_those_of_the_protocol_and_bound_to_the_connection() {
        let (hub, user): (Label, User) = (read("hub.example.org"), read("anna"));
        let login: LoginKey = read("mASZUlyjBQBsVa8RJ8Ga3IB0ISjMMXlyYTVZOLAL4TQ");
        let with = |exporter| Challenge {
            hub: &hub,
            user: &user,
            time: 1_795_336_800,
            random: read("8f14e45fceea167a5a36dedd4bea2543"),
            exporter,
        };
        let bound = with(Some(Exporter([0x11; 32])));
        let response = bound.response(&login.0).expect("response");
        let expected = "973c81106fb88c667a78d638abb901ea5cefa2b7cb162ab19c7b3100b853f429";
        assert_eq!(response.text(), expected);
        let plain = with(None).response(&login.0).expect("response");
        let expected = "5407d21a9f3705da357fb6795e989aed86219c86ec2b890c2e00c3f282edd2a2";
        assert_eq!(plain.text(), expected);
        assert!(bound.is_answered_by(&login.0, &response).expect("check"));
        assert!(!bound.is_answered_by(&login.0, &plain).expect("check"));
        let elsewhere = with(Some(Exporter([0x12; 32])));
        assert!(
            !elsewhere
                .is_answered_by(&login.0, &response)
                .expect("check")
        );
    }

    #[test]
    fn the_key_of_a_code_is_that_of_the_protocol_however_it_is_typed() {
        let (hub, user): (Label, User) = (read("hub.example.org"), read("anna"));
        let key = |code| enrolment_key(code, &hub, &user).expect("key");
        let expected = "0eb401361c334d3a1fa6aacba32ae4a3937ac7b0a17a09123b459fde7dca6af3";
        for code in ["JZ4M-7QXK-2P9D-HV6T", "jz4m7qxk2p9dhv6t"] {
            assert_eq!(key(code).map(|key| hex(&*key)).as_deref(), Some(expected));
        }
        for code in [
            "",
            "JZ4M-7QXK-2P9D-HV6",
            "JZ4M-7QXK-2P9D-HV6U",
            "ÄZ4M-7QXK-2P9D-HV6",
        ] {
            assert!(key(code).is_none(), "{code}");
        }
    }
}
