//! BBFTP, versions 1 to 3: a control connection with binary messages, and the
//! bytes of files on parallel data connections.

/// The protocol's name in status and metrics.
pub const NAME: &str = "bbftp";

/// Its name in a handshake of TLS.
pub const ALPN: [&[u8]; 1] = [b"bbftp"];

mod gate;
mod request;
pub mod server;
pub mod session;
pub mod stdin;
pub mod stream;
pub mod wire;
