//! Who a process is: system identities, looked up before any root changes and
//! taken for good.
pub mod identity;
pub mod names;

pub use identity::Identity;
pub use names::Names;
