//! The vault over real sockets: a client of each generation, made of single bytes.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "numbers in tests are small"
)]
#![allow(unreachable_pub, reason = "shared by the modules of this test")]

#[path = "../common/mod.rs"]
mod common;

mod accounts;
mod blocks;
mod crash;
mod day;
mod entries;
mod files;
mod handshake;
mod import;
mod mail;
mod model;
mod operator;
mod own;
mod peer;
mod processes;
mod shapes;
mod smtp;
mod table;
mod thousand;
mod users_file;
mod weaknesses;
