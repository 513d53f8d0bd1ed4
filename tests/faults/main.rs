//! What goes wrong in the world: cut connections, full disks, killed
//! processes, restarts. No acknowledged byte is lost, no other session
//! notices, and nothing stays behind.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "numbers in tests are small"
)]
#![allow(unreachable_pub, reason = "shared by the test binaries")]

#[path = "../common/mod.rs"]
mod common;

mod chaos;
mod clock;
mod cuts;
mod disk;
mod fleet;
mod limits;
mod link;
mod log;
mod operator;
mod processes;
mod readers;
