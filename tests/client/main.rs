//! The transfers of `tf` and of the client library: trees, lost connections,
//! mirrors, servers that lie, disks that fill up; against the daemon over real
//! sockets.

#![allow(unreachable_pub, reason = "shared by the test binaries")]

#[path = "../common/mod.rs"]
mod common;

mod cuts;
mod desk;
mod full;
mod interrupt;
mod liar;
mod lying;
mod mirror;
mod output;
mod relay;
mod rights;
mod streams;
mod trees;
