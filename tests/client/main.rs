//! `tf` that goes on for a while: watching, and in a shell, on a terminal too.
#![allow(unreachable_pub, reason = "shared by the test binaries")]

#[path = "../common/mod.rs"]
mod common;
mod running;
mod shell;
mod terminal;
mod tmux;
mod watch;
