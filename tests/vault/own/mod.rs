//! `tfd-vault/1` over real TLS, by a client of its own.

mod entries;
mod faults;
mod login;
mod news;
pub mod peer;
