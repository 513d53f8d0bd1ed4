//! Passwords as they are kept: hashes in crypt format. New ones are argon2id;
//! yescrypt and SHA-512-crypt are accepted.

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc};
use sha_crypt::ShaCrypt;
use yescrypt::Yescrypt;

/// The longest password, in bytes.
pub const MAX_PASSWORD: usize = 1024;

/// How a hash was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `$argon2id$`, and argon2i and argon2d.
    Argon2,
    /// `$y$`.
    Yescrypt,
    /// `$6$`.
    Sha512Crypt,
}

impl Scheme {
    /// The scheme of a hash, if it is accepted and complete: a truncated hash
    /// would match more than one password.
    pub fn of(hash: &str) -> Option<Scheme> {
        if hash.starts_with("$argon2") {
            let hash = phc::PasswordHash::new(hash).ok()?;
            return hash.hash.is_some().then_some(Scheme::Argon2);
        }
        let fields: Vec<&str> = hash.split('$').collect();
        let (scheme, digits, len) = match fields[..] {
            ["", "y", _, _, digits] => (Scheme::Yescrypt, digits, 43),
            ["", "6", salt, digits] | ["", "6", _, salt, digits] if salt.len() <= 16 => {
                (Scheme::Sha512Crypt, digits, 86)
            }
            _ => return None,
        };
        let is_digit = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'/');
        (digits.len() == len && digits.bytes().all(is_digit)).then_some(scheme)
    }
}

/// Whether a text looks like a hash, valid or not.
pub fn is_meant(text: &[u8]) -> bool {
    [&b"$argon2"[..], b"$y$", b"$6$"]
        .iter()
        .any(|begin| text.starts_with(begin))
}

/// Whether a password is the one a hash was made of.
pub fn fits(hash: &str, password: &[u8]) -> bool {
    match Scheme::of(hash) {
        Some(Scheme::Argon2) => Argon2::default().verify_password(password, hash).is_ok(),
        Some(Scheme::Yescrypt) => Yescrypt::default().verify_password(password, hash).is_ok(),
        Some(Scheme::Sha512Crypt) => ShaCrypt::default().verify_password(password, hash).is_ok(),
        None => false,
    }
}

/// A new hash of a password: argon2id, 19 MiB, two passes.
///
/// # Errors
/// One line with the reason.
pub fn make(password: &[u8]) -> Result<String, String> {
    if password.is_empty() {
        return Err("the password is empty".to_owned());
    }
    if password.len() > MAX_PASSWORD {
        return Err(format!("the password is longer than {MAX_PASSWORD} bytes"));
    }
    let hash: phc::PasswordHash = Argon2::default()
        .hash_password(password)
        .map_err(|e| e.to_string())?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of "Hello world!", as glibc's crypt(3) makes them.
    const OF_CRYPT: [&str; 2] = [
        "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcb\
         YEdFCoEOfaS35inz1",
        "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$42RgPIrXdXSEEs77lDi/4IqKVqFBAVaHJkzw5uD1r57",
    ];

    #[test]
    fn a_new_hash_fits_its_password_and_no_other() {
        let hash = make(b"correct horse").expect("hash");
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        assert!(fits(&hash, b"correct horse"));
        for wrong in [
            &b""[..],
            b"correct hors",
            b"correct horse ",
            b"correct horse\0",
        ] {
            assert!(!fits(&hash, wrong));
        }
        assert!(make(b"").is_err());
        assert!(make(&[b'x'; MAX_PASSWORD + 1]).is_err());
    }

    #[test]
    fn hashes_of_other_systems_are_accepted() {
        for hash in OF_CRYPT {
            assert!(fits(hash, b"Hello world!"), "{hash}");
            assert!(!fits(hash, b"hello world!"), "{hash}");
        }
    }

    #[test]
    fn a_hash_that_was_cut_short_is_none() {
        for hash in OF_CRYPT {
            for len in 0..hash.len() {
                assert_eq!(Scheme::of(&hash[..len]), None, "{len}");
                assert!(!fits(&hash[..len], b"Hello world!"), "{len}");
            }
        }
        let hash = make(b"x").expect("hash");
        let (without, _) = hash.rsplit_once('$').expect("fields");
        assert_eq!(Scheme::of(without), None);
        assert_eq!(
            Scheme::of(&format!("$6$salt${0}${0}", &OF_CRYPT[0][14..])),
            None
        );
        assert!(Scheme::of(&format!("$6$rounds=9999$saltstring{}", &OF_CRYPT[0][13..])).is_some());
    }

    #[test]
    fn what_is_no_hash_fits_nothing() {
        for hash in [
            "",
            "x",
            "*",
            "!",
            "$1$a$b",
            "$argon2id$",
            "$y$",
            "$6$",
            "hunter2",
        ] {
            assert!(!fits(hash, b"hunter2"), "{hash}");
            assert!(!fits(hash, b""), "{hash}");
        }
    }
}
