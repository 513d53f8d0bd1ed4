//! BBFTP over real sockets: the server by a client made of single bytes, and our
//! client against servers that follow a script.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "numbers in tests are small"
)]
#![allow(unreachable_pub, reason = "shared by the modules of this test")]

#[path = "../common/mod.rs"]
mod common;

mod addresses;
mod client;
mod fake;
mod fields;
mod files;
mod login;
mod pair;
mod peer;
mod program;
mod resumed;
mod stdin;
mod strangers;
mod streams;
mod transfers;
mod transfers_cut;
mod transfers_more;
mod versions;
