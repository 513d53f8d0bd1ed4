//! TLS 1.3 on a link. rustls shakes hands; from then on records are handled
//! here, since a session is handed from one process to another with the keys
//! and the bytes it has read. It must know no protocol: the names that are
//! agreed upon (ALPN) are the protocol's.

pub mod certificate;
pub mod client;
mod hello;
mod keys;
pub mod login;
pub mod records;
pub mod secrets;
pub mod server;

use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::cipher_suite::{
    TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::crypto::aws_lc_rs::default_provider;

pub use crate::net::tls::keys::Suite;

/// Names of application protocols, the preferred one first.
pub type Alpn<'a> = &'a [&'a [u8]];

/// The cryptography of all handshakes. AES-128 comes first: it is the faster one,
/// and so is its SHA-256, which processors have instructions for.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let make = || {
        Arc::new(CryptoProvider {
            cipher_suites: vec![
                TLS13_AES_128_GCM_SHA256,
                TLS13_AES_256_GCM_SHA384,
                TLS13_CHACHA20_POLY1305_SHA256,
            ],
            ..default_provider()
        })
    };
    Arc::clone(PROVIDER.get_or_init(make))
}
