//! TF Protocol 2.4.1: bytes to units to requests to replies.
pub mod cipher;
pub mod status;
pub mod wire;
