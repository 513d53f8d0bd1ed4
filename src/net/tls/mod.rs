//! TLS 1.3 below TF Protocol (tf-protocol(7), TLS). rustls shakes hands; from
//! then on records are handled here, since a session is handed from one
//! process to another with the keys and the bytes it has read.

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

/// The application protocol whose sessions are as on plain TCP. A client that
/// names none gets this one, so that any tunnel will do.
pub const ALPN_USUAL: &[u8] = b"tf/2.4.1";

/// The one without RSA block and without cipher inside.
pub const ALPN_PLAIN: &[u8] = b"tf-plain/2.4.1";

/// The cryptography of all handshakes. AES-128 comes first: it is the faster one,
/// and so is its SHA-256, which processors have instructions for.
#[must_use]
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
