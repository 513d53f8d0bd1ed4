//! State that several servers share by a store, Redis or Valkey: failed logins, sessions
//! of accounts, quotas in use, orders to end sessions. One process holds the connection
//! ([`process`]); the authenticator asks it within a time limit ([`asker`]), the daemon
//! never waits for it. What the store says is checked like every byte from outside, and
//! can only add to what a server decides by itself.

pub mod asker;
mod keys;
pub mod message;
mod model;
pub mod process;
pub mod reply;
mod store;
mod usage;
