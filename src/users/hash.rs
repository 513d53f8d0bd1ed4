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
    /// `$argon2id$`, and its kin argon2i and argon2d.
    Argon2,
    /// `$y$`.
    Yescrypt,
    /// `$6$`.
    Sha512Crypt,
}

impl Scheme {
    /// The scheme of a hash, if it is one of those accepted.
    #[must_use]
    pub fn of(hash: &str) -> Option<Scheme> {
        if hash.starts_with("$argon2") {
            phc::PasswordHash::new(hash).ok().map(|_| Scheme::Argon2)
        } else if hash.starts_with("$y$") {
            Some(Scheme::Yescrypt)
        } else if hash.starts_with("$6$") {
            Some(Scheme::Sha512Crypt)
        } else {
            None
        }
    }
}

/// Whether a password is the one a hash was made of.
#[must_use]
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
/// One line that says why there is none.
pub fn make(password: &[u8]) -> Result<String, String> {
    if password.is_empty() {
        return Err("the password is empty".to_owned());
    }
    if password.len() > MAX_PASSWORD {
        return Err(format!("the password is longer than {MAX_PASSWORD} bytes"));
    }
    let hash: phc::PasswordHash =
        Argon2::default().hash_password(password).map_err(|e| e.to_string())?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_hash_fits_its_password_and_no_other() {
        let hash = make(b"correct horse").expect("hash");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(fits(&hash, b"correct horse"));
        for wrong in [&b""[..], b"correct hors", b"correct horse ", b"correct horse\0"] {
            assert!(!fits(&hash, wrong));
        }
        assert!(make(b"").is_err());
        assert!(make(&[b'x'; MAX_PASSWORD + 1]).is_err());
    }

    #[test]
    fn hashes_of_other_systems_are_accepted() {
        // Of "Hello world!", as glibc's crypt(3) makes them.
        for hash in [
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcb\
             YEdFCoEOfaS35inz1",
            "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$42RgPIrXdXSEEs77lDi/4IqKVqFBAVaHJkzw5uD1r57",
        ] {
            assert!(fits(hash, b"Hello world!"), "{hash}");
            assert!(!fits(hash, b"hello world!"), "{hash}");
        }
    }

    #[test]
    fn what_is_no_hash_fits_nothing() {
        for hash in ["", "x", "*", "!", "$1$a$b", "$argon2id$", "$y$", "$6$", "hunter2"] {
            assert!(!fits(hash, b"hunter2"), "{hash}");
            assert!(!fits(hash, b""), "{hash}");
        }
    }
}
