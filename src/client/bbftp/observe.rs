//! What a user may want to see: the library prints nothing itself.

use std::net::SocketAddr;

/// Something that happened.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// This address of the server is tried.
    Trying(SocketAddr),
    /// A warning, with the number of the public client; 100 is the server's.
    Warning {
        /// The number.
        code: u8,
        /// The text.
        text: &'a str,
    },
    /// A transfer has begun.
    Begun {
        /// Bytes of the file.
        size: u64,
        /// How many streams carry it.
        streams: u32,
        /// Bytes that were transferred before.
        done: u64,
    },
    /// So many bytes of the file are transferred.
    Moved(u64),
}

/// Gets the events.
pub trait Observer {
    /// Something happened.
    fn notify(&self, event: &Event<'_>);
}

/// Ignores all events.
impl Observer for () {
    fn notify(&self, _: &Event<'_>) {}
}

pub(super) const WARN_SEND_WINDOW: u8 = 23;
pub(super) const WARN_RECEIVE_WINDOW: u8 = 24;
pub(super) const WARN_NO_GZIP: u8 = 27;
pub(super) const WARN_SERVER: u8 = 100;
