//! The backup hub over real sockets and TLS, with peers that are made of single lines.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "numbers in tests are small"
)]
#![allow(unreachable_pub, reason = "shared by the modules of this test")]

#[path = "../common/mod.rs"]
mod common;

mod base;
mod crash;
mod healing;
mod keeper;
mod keepers;
mod lines;
mod login;
mod operator;
mod peer;
mod peers;
mod processes;
mod reach;
mod rebuild;
mod recovery;
mod runs;
mod watch;
