//! The operator's commands of `tfd`: check, setup, keygen, import, user, status
//! and kick. They run as whoever calls them and serve nobody.

pub mod check;
pub mod import;
pub mod keygen;
pub mod setup;
pub mod status;
pub mod user;
