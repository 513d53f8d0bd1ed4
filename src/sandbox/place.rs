//! A hook for tests: once a process has given up everything that it is to give
//! up, a build for tests calls a visitor that tries what an attacker would. Other
//! builds have none.

use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

/// A process in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A gate, before it reads its first byte.
    Gate,
    /// The process behind LOGIN that waits for INJAIL's token.
    BeforeJail,
    /// A session, before its first request.
    Session,
    /// A relay, once connected.
    Relay,
}

#[cfg(feature = "testing")]
mod visitor {
    use super::{BorrowedFd, Place, SocketAddr};
    use std::sync::OnceLock;

    /// Called with the place, the client, and the handle of the root if the process
    /// has one.
    pub type Visitor = fn(Place, SocketAddr, Option<BorrowedFd<'_>>);

    static VISITOR: OnceLock<Visitor> = OnceLock::new();

    /// Calls this in every process that reaches its place from now on.
    pub fn call_in_place(visitor: Visitor) {
        let _ = VISITOR.set(visitor);
    }

    pub(crate) fn reached(place: Place, peer: SocketAddr, root: Option<BorrowedFd<'_>>) {
        if let Some(visitor) = VISITOR.get() {
            visitor(place, peer, root);
        }
    }
}

#[cfg(feature = "testing")]
pub(crate) use visitor::reached;
#[cfg(feature = "testing")]
pub use visitor::{Visitor, call_in_place};

#[cfg(not(feature = "testing"))]
pub(crate) fn reached(_: Place, _: SocketAddr, _: Option<BorrowedFd<'_>>) {}
