//! Accounts and their passwords, and the system identities they map to, looked
//! up before any root changes and taken for good.
pub mod account;
pub mod directory;
pub mod file;
pub mod hash;
pub mod identity;
pub mod throttle;
pub mod totp;

pub use account::{Account, Login, Rights};
pub use identity::{Identities, Identity, Names};
