//! TF Protocol 2.4.1: bytes to units to requests to replies.

/// The protocol's name in status and metrics.
pub const NAME: &str = "tf";

pub mod cipher;
mod command;
pub mod env;
mod extension;
pub mod gate;
pub mod helpers;
pub mod key;
mod locks;
pub mod login;
pub mod notify;
pub mod pool;
pub mod probes;
pub mod request;
pub mod server;
pub mod session;
pub mod settings;
pub mod status;
mod transfer;
pub mod urgent;
pub mod wire;
