//! Sockets: listeners, links, TLS, the PROXY header, the UDP port. Knows no
//! protocol.

pub mod link;
pub mod listen;
pub mod proxy_header;
pub mod tls;
pub mod udp;

pub use link::{Link, LinkError};
