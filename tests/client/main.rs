//! `tf` as people use it, against a tfd of its own.
#![allow(unreachable_pub, reason = "shared by the test binaries")]

#[path = "../common/mod.rs"]
mod common;
mod desk;
mod watch;
