//! Counters of the bytes that a wire has moved, in memory that others read
//! meanwhile. Only the process that has the wire writes to them, so that
//! counting is a load and a store.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counters of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    /// Bytes from the peer.
    pub received: &'static AtomicU64,
    /// Bytes to the peer.
    pub sent: &'static AtomicU64,
}

/// Adds to a counter that no other process writes to.
pub(super) fn count(counter: &AtomicU64, bytes: usize) {
    let sum = counter.load(Ordering::Relaxed).wrapping_add(bytes as u64);
    counter.store(sum, Ordering::Relaxed);
}
