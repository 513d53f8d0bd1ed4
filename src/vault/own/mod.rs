//! `tfd-vault/1`, the vault's own dialect, inside TLS: typed messages, entries that
//! the client has sealed, and revisions that the server counts.

pub mod frame;
pub(super) mod gate;
pub mod message;
#[cfg(test)]
mod model;
pub(super) mod session;
pub(super) mod store;
#[cfg(test)]
mod tests;
mod types;

/// What a client asks for in the handshake of TLS.
pub const ALPN: &[u8] = b"tfd-vault/1";
