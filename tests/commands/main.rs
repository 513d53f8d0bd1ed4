//! `tf` as people use it: each command against a real tfd, what it prints, its
//! exit status, and what is on disk then.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "numbers in tests are small"
)]
#![allow(unreachable_pub, reason = "shared by the test binaries")]

#[path = "../common/mod.rs"]
mod common;

mod agents;
mod completion;
mod everyday;
mod failures;
mod kdbx3;
mod listings;
mod locks;
mod probe;
mod probes;
mod schema;
mod servers;
mod setup;
mod trust;
mod tunnel;
mod vault;
