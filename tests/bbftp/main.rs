//! BBFTP over real sockets.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "numbers in tests are small"
)]
#![allow(unreachable_pub, reason = "shared by the modules of this test")]

mod client;
#[path = "../common/mod.rs"]
mod common;
mod fake;
mod program;
