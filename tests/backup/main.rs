//! `tf backup` and its sisters as a person uses them: real files, real processes, and
//! disks that are directories.
#![allow(unreachable_pub, reason = "shared by the test binaries")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "numbers in tests are small"
)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../hub/peer.rs"]
#[allow(dead_code, reason = "the hub's tests use the rest")]
mod peer;

use self::common::{disk, schema};

mod browse;
mod chunks;
mod cuts;
mod damage;
mod desk;
mod full;
mod hub;
mod json;
mod keeper;
mod kept;
mod keys;
mod small;
mod stories;
mod together;
mod trees;
mod units;

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
