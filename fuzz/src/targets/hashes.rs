//! Hashes of passwords as they stand in the users file: one that is taken for
//! a hash fits no two passwords.

use tfd::users::hash::{Scheme, fits};

/// Takes one input.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Some(scheme) = Scheme::of(text) else {
        return;
    };
    if scheme != Scheme::Argon2 {
        let cut = text.char_indices().map(|(len, _)| &text[..len]);
        assert!(cut.map(Scheme::of).all(|scheme| scheme.is_none()), "{text}");
    }
    if is_cheap(scheme, text) {
        assert!(!fits(text, b"one") || !fits(text, b"other"), "{text}");
    }
}

/// Whether checking it takes milliseconds and little memory: Argon2 without a
/// number of its own takes the usual 19 MiB.
fn is_cheap(scheme: Scheme, hash: &str) -> bool {
    let fields: Vec<&str> = hash.split('$').collect();
    let numbers = hash
        .split(['$', ','])
        .filter_map(|one| one.split_once('=')?.1.parse().ok());
    let largest: u32 = numbers.max().unwrap_or(0);
    match scheme {
        Scheme::Argon2 => fields.iter().any(|field| field.starts_with("m=")) && largest <= 64,
        // Mode, the binary logarithm of the memory, and the size of a block.
        Scheme::Yescrypt => match fields[2].as_bytes() {
            [_, memory, block] => *memory < b'6' && *block < b'9',
            _ => false,
        },
        Scheme::Sha512Crypt => largest <= 9999,
    }
}
