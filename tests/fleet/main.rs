//! Several servers with one store, Redis: what holds at one holds at all, and a store that
//! is gone, slow, full, wrong or hostile leaves each server with its own rules. They need
//! root and redis-server.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "numbers in tests are small"
)]
#![allow(unreachable_pub, reason = "shared by the test binaries")]

#[path = "../common/mod.rs"]
mod common;

mod blocks;
mod failing;
mod hostile;
mod kicks;
mod process;
mod quotas;
mod sessions;
mod store;
mod tls;
