//! The RSA private key of the server, which opens the clients' session keys.

use std::path::Path;

use openssl::pkey::Private;
use openssl::rsa::Rsa;

use crate::trusted;

/// The sizes an RSA key may have, in bits.
const KEY_BITS: std::ops::RangeInclusive<u32> = 2048..=4096;

/// Reads the RSA private key and checks that it is one to use.
/// Fails with what is wrong with it and what to do.
pub fn read_key(path: &Path) -> Result<Rsa<Private>, String> {
    let shown = path.display();
    let remedy = "make one with tfd keygen";
    let pem = trusted::read_secret(path, remedy)?;
    let key = Rsa::private_key_from_pem_callback(&pem, |_| Ok(0)).map_err(|_| {
        format!("{shown}: not an RSA private key in PEM without a passphrase: {remedy}")
    })?;
    let bits = key.size() * 8;
    if !KEY_BITS.contains(&bits) {
        return Err(format!(
            "{shown}: {bits} bits, allowed are 2048 to 4096: {remedy}"
        ));
    }
    if !key.check_key().unwrap_or(false) {
        return Err(format!("{shown}: the key is damaged: {remedy}"));
    }
    Ok(key)
}
