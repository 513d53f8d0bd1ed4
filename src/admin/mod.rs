//! The operator's commands of `tfd`: check, setup, keygen, import, user, status
//! and kick. They run as the user who calls them and serve no clients.

pub mod check;
pub mod import;
pub mod keygen;
pub mod setup;
pub mod status;
pub mod user;
