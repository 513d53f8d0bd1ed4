//! Passwords of accounts: hashes of tfd, and those that an original server has made,
//! which are replaced at the first login. A check of one of these may take 256 MiB.

use std::sync::{Mutex, PoisonError};

use openssl::base64::encode_block;
use openssl::sha::sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::users::hash;

/// What an imported hash begins with, in front of its 256 digits.
const ORIGINAL: &str = "$original$";
const DIGITS: usize = 256;

/// How much work the original's scrypt is (N and r), before and after December
/// 2018. Nothing says which one has made a hash.
const COSTS: [(u64, u64); 2] = [(4096, 2), (262_144, 8)];

/// More than the memory that the larger one takes, in bytes.
const MOST_MEMORY: u64 = 300 << 20;

/// A hash of an original server in the form that accounts have; `None` for what is
/// not one.
pub fn of_original(digits: &str) -> Option<String> {
    let is_hash = digits.len() == DIGITS && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_hash.then(|| format!("{ORIGINAL}{}", digits.to_ascii_lowercase()))
}

/// Whether a hash is one that a login replaces.
pub fn is_of_original(hash: &str) -> bool {
    hash.starts_with(ORIGINAL)
}

/// Checks passwords; those that take much memory one at a time.
#[derive(Debug, Default)]
pub struct Checker(Mutex<()>);

impl Checker {
    /// Whether a password of a user is the one that a hash was made of.
    pub fn fits(&self, hash: &str, user: &str, password: &[u8]) -> bool {
        let Some(digits) = hash.strip_prefix(ORIGINAL) else {
            return hash::fits(hash, password);
        };
        if password.len() > hash::MAX_PASSWORD {
            return false;
        }
        let _turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        COSTS.iter().any(|cost| {
            let made = original(user, password, *cost);
            made.is_some_and(|made| made.as_bytes().ct_eq(digits.as_bytes()).into())
        })
    }
}

/// The digits that an original server stores of what a client sends as password.
fn original(user: &str, password: &[u8], (n, r): (u64, u64)) -> Option<Zeroizing<String>> {
    let name = encode_block(&sha256(user.as_bytes()));
    let salted = Zeroizing::new([name.as_bytes(), password].concat());
    let salt = encode_block(&sha256(&salted));
    let mut made = Zeroizing::new([0; DIGITS / 2]);
    openssl::pkcs5::scrypt(password, salt.as_bytes(), n, r, 1, MOST_MEMORY, &mut *made).ok()?;
    let digits: String = made.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(Zeroizing::new(digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the programs of the original have made of what clients send, with each cost.
    const STORED: [(&str, &str, &str); 5] = [
        (
            "alice",
            "bc2d16e7c176a03d8def2b0c0507b1a4f0d7217dd522b432ea148f3ecfe99404",
            "07334fd0040bc2d2775102fee3609992962127a1c914a34153fbb490c1d5663aa784038d10309285\
             f3f9570cb0d98c2123faf446e87401f4ecb8069dd40c4b35f336c4758033c3fc9d8d82b51aeacde2\
             ce6edc832e68e543f499b674525b60b8ea296b4aa177e7dbf17629690b61bb0ecfb4f22f1654c264\
             fa8b1c52a0279577",
        ),
        (
            "alice",
            "bc2d16e7c176a03d8def2b0c0507b1a4f0d7217dd522b432ea148f3ecfe99404",
            "efe3184d0e58dd9098384bd5770501eba9f89c84bcf06edd3e598e00f5d5d358f6a1d0647e05d195\
             b48bce80aebf95e9dbb2e7eeaee81950a582e0b2065ddbaca978c0e07449eeea18f4c7fce06fe326\
             023d658dd90bd79b72d3d2a2e71160dc0af0c1bdb21b6bcc0aad53b1720d1f8c9c41c13fb919690a\
             f4ce06b882c75224",
        ),
        (
            "alice",
            "jyTROKbPtGghszbRMwarNB5K/CrdCDjjqVNnnk96dx4=",
            "ca19d6c11a970d64014b1872e30b127ab7a7dad2a3acd99711a62b06527631f2b1dcb8638990ded5\
             0e59c22a49b41825a112066dbd445637039fec07984a575ec034cbde8c3cf2396d5802343fb3fce1\
             93fe7d72950476358f64472262b0309074ef64563bb7aa53e66417c8f1086119282eee55ee118980\
             ed447e5f4401f55c",
        ),
        (
            "alice",
            "jyTROKbPtGghszbRMwarNB5K/CrdCDjjqVNnnk96dx4=",
            "6eccfda574e94be1890a648dfd5893ab4daeab945197f8bc7188fd437d12110c11b1d1f032b99323\
             c123405043f60fac30940ff16e2bb05cec448972082511ed67661499f61bca7ae17d7c1ee6761b2d\
             a3a6a7c136b5a2aa9e3c5de6ed63c435a6b54696e86deac9b7380d05e5d6a29f891cba8a3eb469f9\
             07b5cf82e4610fd2",
        ),
        (
            "__ADMIN__",
            "QQTTb42iwlQ0n4WDZ5Pr4CngyVcGOjTJHC6SAxh7VjE=",
            "7bed8feaa423de01656a4f6437a9ac4e4a1e61185a13161ae2d17dffa5b1390da50d5be937466be6\
             db3fead42cad47fa9faa87481bba002e5488c029ec73ecf2d9988ff9f5cd2e768f2c2f8ffdb4b3e6\
             cf01985023c9d68a7d682b9eeef5a264094ff019cc230ea3ec6f432890d15e5ce92c3726221da7f0\
             8d898a8851994786",
        ),
    ];

    #[test]
    fn hashes_of_the_original_fit_with_both_costs_and_nothing_else_does() {
        let checker = Checker::default();
        for (user, password, stored) in STORED {
            let hash = of_original(&stored.to_ascii_uppercase()).expect("hash");
            assert!(is_of_original(&hash));
            assert!(checker.fits(&hash, user, password.as_bytes()), "{user}");
        }
        let (user, password, stored) = STORED[0];
        let hash = of_original(stored).expect("hash");
        assert!(!checker.fits(&hash, "alic", password.as_bytes()));
        assert!(!checker.fits(&hash, user, &password.as_bytes()[1..]));
        for wrong in ["", "x", &stored[1..], &stored.replace('0', "g")] {
            assert_eq!(of_original(wrong), None);
        }
        let new = hash::make(password.as_bytes()).expect("hash");
        assert!(!is_of_original(&new) && checker.fits(&new, user, password.as_bytes()));
    }
}
