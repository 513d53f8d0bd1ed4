//! `tf` at longer work: transfers of trees, lost connections, mirrors, servers
//! that lie and disks that fill up; watching, and a shell, on a terminal too.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "numbers in tests are small"
)]
#![allow(unreachable_pub, reason = "shared by the test binaries")]

#[path = "../common/mod.rs"]
mod common;
mod cuts;
mod desk;
mod doors;
mod endless;
mod filters;
mod full;
mod interrupt;
mod kicked;
mod liar;
mod lying;
mod mirror;
mod netem;
mod output;
mod pipes;
mod planted;
mod preserve;
mod relay;
mod rights;
mod running;
mod shell;
mod sources;
mod streams;
mod terminal;
mod tmux;
mod trees;
mod trips;
mod unlisted;
mod watch;
