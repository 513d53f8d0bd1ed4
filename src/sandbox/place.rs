//! A hook for tests: once a process has given up everything that it is to give
//! up, a build for tests calls a visitor that tries what an attacker would. Other
//! builds have none.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
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
    /// A helper of this name, before its first message. It has no client.
    Helper(&'static str),
}

/// In place of a helper's client.
pub(crate) const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

#[cfg(feature = "testing")]
mod visitor {
    use super::{BorrowedFd, Place, SocketAddr};
    use crate::sandbox::calls::{Call, KNOWN, KNOWN_HERE, LAUNCHING};
    use std::sync::OnceLock;

    /// Called with the place, the client, and the handle of the root if the process
    /// has one.
    pub type Visitor = fn(Place, SocketAddr, Option<BorrowedFd<'_>>);

    static VISITOR: OnceLock<Visitor> = OnceLock::new();

    static LEFT_OUT: OnceLock<libc::c_long> = OnceLock::new();

    /// Calls this in every process that reaches its place from now on.
    pub fn call_in_place(visitor: Visitor) {
        let _ = VISITOR.set(visitor);
    }

    /// Takes this call out of the lists of those that processes may make: it ends
    /// them from now on. Whether there was one of this name.
    pub fn leave_out(name: &str) -> bool {
        let call = calls().find(|call| call.name == name);
        call.is_some_and(|call| LEFT_OUT.set(call.number).is_ok())
    }

    /// The names and numbers of all calls in the lists.
    pub fn known() -> impl Iterator<Item = (&'static str, libc::c_long)> {
        calls().map(|call| (call.name, call.number))
    }

    fn calls() -> impl Iterator<Item = &'static Call> {
        [KNOWN, KNOWN_HERE, LAUNCHING].into_iter().flatten()
    }

    pub(crate) fn left_out() -> Option<libc::c_long> {
        LEFT_OUT.get().copied()
    }

    pub(crate) fn reached(place: Place, peer: SocketAddr, root: Option<BorrowedFd<'_>>) {
        if let Some(visitor) = VISITOR.get() {
            visitor(place, peer, root);
        }
    }
}

#[cfg(feature = "testing")]
pub use visitor::{Visitor, call_in_place, known, leave_out};
#[cfg(feature = "testing")]
pub(crate) use visitor::{left_out, reached};

#[cfg(not(feature = "testing"))]
pub(crate) fn reached(_: Place, _: SocketAddr, _: Option<BorrowedFd<'_>>) {}

/// A call that a test has taken out of the lists.
#[cfg(not(feature = "testing"))]
pub(crate) fn left_out() -> Option<libc::c_long> {
    None
}
