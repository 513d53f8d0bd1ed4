//! How tfd's processes speak with one another: messages with descriptors over
//! a channel. Knows no protocol and trusts no peer.

pub mod channel;
pub mod helper;
pub mod tag;

pub use helper::Helper;
