//! Accounts and their passwords, and the system identities they map to, looked
//! up before any root changes and taken for good.
pub mod account;
pub mod file;
pub mod hash;
pub mod identity;
pub mod login;
pub mod names;
pub mod size;
pub mod throttle;

pub use account::{Account, Rights};
pub use identity::Identity;
pub use login::Login;
pub use names::Names;
