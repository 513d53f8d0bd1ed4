//! The backup hub: people who trust one hub, and nobody with their data, keep each
//! other's backups. Owners send sealed files to holders, which the protocol calls
//! keepers; the hub knows which file of whom lies where, and sees no byte of them.

pub mod book;
pub mod dialogue;
pub mod proofs;
pub mod state;
pub mod wire;
