//! Who a process is: system identities, looked up before any root changes and
//! taken for good.
pub mod identity;

pub use identity::Identity;
