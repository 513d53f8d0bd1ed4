//! Version 1.0 on a listener without TLS: what the document says, tested alone.

mod crash;
mod ladders;
mod login;
mod mixing;
mod moves;
mod peer;
mod tables;
mod transfer;
