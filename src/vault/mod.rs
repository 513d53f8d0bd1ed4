//! The vault: the password store that several devices keep in sync, as its
//! existing clients speak it, in three dialects. vault-protocol(7) has the
//! protocol. The server never sees the key of an entry.

/// The protocol's name in status and metrics.
pub const NAME: &str = "vault";

mod account;
mod accounts;
mod database;
mod gate;
mod helpers;
mod import;
mod mail;
pub(crate) mod operator;
pub mod own;
mod place;
mod reply;
mod request;
pub(crate) mod server;
mod session;
pub(crate) mod wire;

pub use crate::config::VaultDialect as Dialect;

/// Seconds since the epoch.
fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

#[cfg(feature = "testing")]
pub use import::read_anything as read_any_database;

/// Reads any bytes as packets of a client, and what they ask: for fuzz targets. How
/// many were requests.
#[cfg(feature = "testing")]
pub fn read_anything(bytes: &[u8]) -> usize {
    let mut frames = wire::Frames::default();
    frames.add(bytes);
    let mut requests = 0;
    while let Some(frame) = frames.next() {
        let wire::Frame::Packet(_, text) = frame else {
            continue;
        };
        for dialect in [Dialect::G1, Dialect::G2, Dialect::G3] {
            requests += usize::from(request::Request::parse(&text, dialect).is_ok());
        }
        let keys = wire::Keys::new(&text, "nonce");
        let _ = (keys.has_mac(&text), keys.open(Dialect::G1, &text));
        for format in [wire::Format::Pem, wire::Format::Xml] {
            let _ = wire::PublicKey::read(format, &text);
        }
    }
    requests
}

#[cfg(test)]
mod tests;
