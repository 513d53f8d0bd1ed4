//! Communication between tfd's processes: typed messages with descriptors over
//! channels. Knows no protocol and trusts no peer.

pub mod backoff;
pub mod channel;
pub mod codec;
pub mod figures;
pub mod fork_server;
pub mod gates;
pub mod helper;
pub mod log_channel;
pub mod orders;
pub mod page;
pub mod pipe;
pub mod poll;
pub mod service;

pub use helper::Helper;
pub use pipe::Pipe;
pub use poll::Poll;
pub use service::Service;
