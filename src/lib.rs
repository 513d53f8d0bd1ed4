//! tfd, a file-exchange daemon that gives every client a process and a Unix
//! identity of its own.
#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        reason = "numbers in tests are small"
    )
)]

pub mod admin;
pub mod cli;
pub mod client;
pub mod config;
pub mod daemon;
pub mod hex;
pub mod ipc;
pub mod logging;
pub mod net;
pub mod proxy;
pub mod sandbox;
pub mod session;
pub mod store;
pub mod sys;
pub(crate) mod text;
pub mod tf;
pub mod trusted;
pub mod users;

#[cfg(feature = "testing")]
#[path = "../tests/echo/protocol.rs"]
pub mod echo;
