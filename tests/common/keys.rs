//! Keys and certificates of the servers under test.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::sync::OnceLock;

use openssl::pkey::{Private, Public};
use openssl::rsa::Rsa;

/// One key for all servers of a test binary.
pub fn key() -> &'static Rsa<Private> {
    static KEY: OnceLock<Rsa<Private>> = OnceLock::new();
    KEY.get_or_init(|| Rsa::generate(2048).expect("key"))
}

pub fn public_key() -> Rsa<Public> {
    Rsa::public_key_from_pem(&key().public_key_to_pem().expect("pem")).expect("key")
}

/// Writes a certificate and its key into a directory; the lines that name them.
pub fn write_certificate(dir: &Path, owner: Option<u32>) -> &'static str {
    let (certificate, key) =
        tfd::net::tls::certificate::self_signed(&["127.0.0.1".to_owned()]).expect("certificate");
    fs::write(dir.join("tls.pem"), certificate).expect("write certificate");
    let path = dir.join("tls-key.pem");
    fs::write(&path, &*key).expect("write key");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("mode");
    chown(&path, owner, None).expect("chown");
    "tls_certificate = \"tls.pem\"\ntls_key = \"tls-key.pem\""
}
