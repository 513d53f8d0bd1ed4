//! What a client sends, what comes back, and what is on disk then: over real
//! sockets, against the daemon as it is installed.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "numbers in tests are small"
)]
#![allow(unreachable_pub, reason = "shared by the test binaries")]

#[path = "../common/mod.rs"]
mod common;

mod again;
mod applications;
mod audit;
mod balance;
mod command_line;
mod dates;
mod dialect;
mod edges;
mod entries;
mod extension;
mod framing;
mod handshake;
mod hp;
mod integrity;
mod kernel_tls;
mod keystream;
mod later;
mod library;
mod locks;
mod log_format;
mod nagle;
mod net_locks;
mod notify;
mod notify_load;
mod operations;
mod parts;
mod probes;
mod proxied;
mod proxy;
mod quota;
mod raw;
mod service;
mod session_key;
mod streams;
mod tls;
mod trees;
mod xs1;
