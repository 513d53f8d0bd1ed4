//! tfd, a file-exchange daemon that gives every client a process and a Unix
//! identity of its own. The library is [`client`]; all else is the programs' own,
//! and public only for tests, benches and fuzz targets (feature `testing`).

#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        reason = "numbers in tests are small"
    )
)]

pub mod client;

#[cfg(not(feature = "testing"))]
mod admin;
#[cfg(feature = "testing")]
pub mod admin;
#[cfg(feature = "backup")]
mod backup;
#[cfg(not(feature = "testing"))]
mod bbftp;
#[cfg(feature = "testing")]
pub mod bbftp;
#[cfg(not(feature = "testing"))]
mod cli;
#[cfg(feature = "testing")]
pub mod cli;
#[cfg(not(feature = "testing"))]
mod config;
#[cfg(feature = "testing")]
pub mod config;
#[cfg(not(feature = "testing"))]
mod daemon;
#[cfg(feature = "testing")]
pub mod daemon;
#[cfg(not(feature = "testing"))]
mod fleet;
#[cfg(feature = "testing")]
pub mod fleet;
mod handover;
#[cfg(not(feature = "testing"))]
mod holder;
#[cfg(feature = "testing")]
pub mod holder;
#[cfg(not(feature = "testing"))]
mod hub;
#[cfg(feature = "testing")]
pub mod hub;
#[cfg(not(feature = "testing"))]
mod ipc;
#[cfg(feature = "testing")]
pub mod ipc;
#[cfg(not(feature = "testing"))]
mod logging;
#[cfg(feature = "testing")]
pub mod logging;
#[cfg(not(feature = "testing"))]
mod net;
#[cfg(feature = "testing")]
pub mod net;
#[cfg(not(feature = "testing"))]
mod proxy;
#[cfg(feature = "testing")]
pub mod proxy;
mod replace;
#[cfg(not(feature = "testing"))]
mod sandbox;
#[cfg(feature = "testing")]
pub mod sandbox;
#[cfg(not(feature = "testing"))]
mod session;
#[cfg(feature = "testing")]
pub mod session;
#[cfg(not(feature = "testing"))]
mod store;
#[cfg(feature = "testing")]
pub mod store;
#[cfg(not(feature = "testing"))]
mod sys;
#[cfg(feature = "testing")]
pub mod sys;
#[cfg(not(feature = "testing"))]
mod text;
#[cfg(feature = "testing")]
pub mod text;
#[cfg(not(feature = "testing"))]
mod tf;
#[cfg(feature = "testing")]
pub mod tf;
#[cfg(not(feature = "testing"))]
mod trusted;
#[cfg(feature = "testing")]
pub mod trusted;
#[cfg(not(feature = "testing"))]
mod users;
#[cfg(feature = "testing")]
pub mod users;
#[cfg(not(feature = "testing"))]
mod vault;
#[cfg(feature = "testing")]
pub mod vault;

#[doc(hidden)]
pub use admin::run as run_tfd;
#[cfg(feature = "backup")]
#[doc(hidden)]
pub use cli::backup::main as run_tf_backup;
#[doc(hidden)]
pub use cli::bbftp::main as run_bbftp;
#[doc(hidden)]
pub use cli::main as run_tf;

#[cfg(feature = "testing")]
#[path = "../tests/echo/protocol.rs"]
pub mod echo;
