//! Sockets: listeners, TLS, the PROXY header, the UDP port. Knows no protocol.

pub mod listen;
pub mod proxy_header;
pub mod tls;
pub mod udp;
