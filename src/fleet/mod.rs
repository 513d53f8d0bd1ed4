//! A store, Redis or Valkey, by which several servers share their state. One process holds
//! the connection ([`process`]); the daemon never waits for it. What the store says is
//! checked like every byte from outside.

pub mod process;
pub mod reply;
mod store;
