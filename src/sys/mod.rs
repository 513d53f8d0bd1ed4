//! Thin, documented wrappers for what the system offers and the crates in use
//! leave unsafe. The only place with unsafe code; each block says why it is
//! sound. Nothing here decides anything.
#![allow(unsafe_code)]

pub mod code;
pub mod environment;
pub mod file;
pub mod memory;
pub mod number;
pub mod pam;
pub mod process;
pub mod signal;
pub mod socket;
pub mod tls;
