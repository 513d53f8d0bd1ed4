//! TLS 1.3 on a link. rustls shakes hands; from then on records are handled
//! here, since a session is handed from one process to another with the keys
//! and the bytes it has read. It must know no protocol: the names that are
//! agreed upon (ALPN) are the protocol's. Here is what both ends of a handshake have in
//! common: records are read one at a time, so that rustls reads nothing behind it, and
//! the traffic secrets are kept.

pub mod certificate;
pub mod client;
mod exported;
mod keys;
pub mod login;
pub mod records;
pub mod secrets;
pub mod server;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustls::KeyLog;
use rustls::crypto::aws_lc_rs::cipher_suite::{
    TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use zeroize::Zeroizing;

use crate::net::tls::records::{HEADER, Inbox, Records};
use crate::net::{Link, LinkError};

pub use crate::net::tls::exported::Exported;
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

/// The signatures that are taken from clients.
pub(crate) fn algorithms() -> WebPkiSupportedAlgorithms {
    provider().signature_verification_algorithms
}

/// The type of a record that a handshake begins with.
const HANDSHAKE: u8 = 22;

/// The first traffic secrets of a connection, and the one for exports.
#[derive(Default)]
pub(crate) struct Secrets(Mutex<[Zeroizing<Vec<u8>>; 3]>);

const LABELS: [&str; 3] = [
    "CLIENT_TRAFFIC_SECRET_0",
    "SERVER_TRAFFIC_SECRET_0",
    "EXPORTER_SECRET",
];

impl KeyLog for Secrets {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        if let Some(at) = LABELS.iter().position(|known| *known == label) {
            let mut secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            secrets[at] = Zeroizing::new(secret.to_vec());
        }
    }

    fn will_log(&self, label: &str) -> bool {
        LABELS.contains(&label)
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

/// Which end of a connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The one that has connected.
    Client,
    /// The one that has accepted.
    Server,
}

impl Secrets {
    /// The records that follow the handshake, with the numbers of the next ones
    /// from the peer and to it.
    pub(crate) fn records(
        &self,
        end: End,
        suite: rustls::CipherSuite,
        (rx, tx): (u64, u64),
        inbox: Inbox,
    ) -> Option<Records> {
        let secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [client, server, _] = &*secrets;
        let (from, to) = if end == End::Server {
            (client, server)
        } else {
            (server, client)
        };
        Records::new(Suite::of(suite)?, (from, rx), (to, tx), inbox)
    }

    /// What both ends have for further connections, under this label.
    pub(crate) fn exported(&self, suite: rustls::CipherSuite, label: &str) -> Option<Exported> {
        let secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [_, _, exporter] = &*secrets;
        Exported::new(Suite::of(suite)?, exporter, label)
    }

    /// So many bytes of the same, for proofs.
    pub(crate) fn exported_bytes<const N: usize>(
        &self,
        suite: rustls::CipherSuite,
        label: &str,
    ) -> Option<[u8; N]> {
        let secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [_, _, exporter] = &*secrets;
        let bytes = exported::bytes(Suite::of(suite)?, exporter, label, N)?;
        bytes.as_slice().try_into().ok()
    }
}

/// Reads until a record is whole: its length, header included.
pub(crate) fn read_record(link: &mut Link, inbox: &mut Inbox) -> Result<usize, LinkError> {
    loop {
        match inbox.whole_record() {
            Ok(Some(len)) => return Ok(HEADER + len),
            Ok(None) => {}
            Err(fault) => return Err(LinkError::Tls(fault.text)),
        }
        let n = link.read_handshake(inbox.room(0))?;
        inbox.arrived(n);
        check_begin(inbox.raw())?;
    }
}

/// What no TLS begins with is refused at its first byte.
fn check_begin(raw: &[u8]) -> Result<(), LinkError> {
    match raw {
        [0, ..] => Err(LinkError::Tls("a client without TLS on a TLS listener")),
        [HANDSHAKE | 20 | 21 | 23, 3, ..] | [HANDSHAKE | 20 | 21 | 23] => Ok(()),
        _ => Err(LinkError::Tls("what came is not TLS")),
    }
}
