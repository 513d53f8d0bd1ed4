//! Names of secure directories (document, "Secured Directory"): made from a name
//! and a passphrase, so that nobody can guess them.

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::hex;

/// The name of a secure directory: the SHA-256 of `name:passphrase` in
/// hexadecimal, that of these digits for each further round, and `.sd`.
#[must_use]
pub fn secret_name(name: &str, passphrase: &str, rounds: u32) -> String {
    let mut text = Zeroizing::new(format!("{name}:{passphrase}"));
    for _ in 0..rounds.max(1) {
        text = Zeroizing::new(hex_digest(&text));
    }
    format!("{}.sd", *text)
}

/// The name of the entry in it that allows its removal by RMSECDIR; it follows
/// from the directory's name.
#[must_use]
pub fn secret_token(directory: &str) -> String {
    hex_digest(directory)
}

fn hex_digest(text: &str) -> String {
    hex::digits(&Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_be_derived_by_hand() {
        // printf ann:secret | sha256sum
        let once = "816f9bf0766e9b74f04ecb467e9977d9b3c0ac5af8b6373246d575de00d2c8ad";
        assert_eq!(secret_name("ann", "secret", 1), format!("{once}.sd"));
        assert_ne!(
            secret_name("ann", "secret", 2),
            secret_name("ann", "secret", 1)
        );
        assert_eq!(
            secret_name("ann", "secret", 2),
            format!("{}.sd", hex_digest(once))
        );
        assert_eq!(secret_token("x").len(), 64);
    }
}
