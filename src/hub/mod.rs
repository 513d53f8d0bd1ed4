//! The backup hub: people who trust one hub, and nobody with their data, keep each
//! other's backups. Owners send sealed files to holders, which the protocol calls
//! keepers; the hub knows which file of whom lies where, and sees no byte of them.

pub mod base;
pub mod book;
pub mod broker;
pub mod dialogue;
pub mod gate;
pub(crate) mod helpers;
pub(crate) mod operator;
#[cfg_attr(
    not(feature = "testing"),
    allow(dead_code, reason = "owners and holders use a part each")
)]
pub mod peer;
pub(crate) mod place;
pub(crate) mod prober;
pub mod proofs;
mod relay;
mod room;
pub(crate) mod server;
mod session;
mod speech;
mod state;
pub mod wire;
