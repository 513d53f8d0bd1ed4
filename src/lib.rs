//! tfd, a file-exchange daemon that gives every client a process and a Unix
//! identity of its own.
pub mod cli;
pub mod client;
pub mod config;
pub mod daemon;
pub mod hex;
pub mod import;
pub mod keygen;
pub mod logging;
pub mod operator;
pub mod setup;
pub mod store;
pub mod sys;
pub(crate) mod text;
pub mod tf;
pub mod tls;
pub mod trusted;
pub mod users;
