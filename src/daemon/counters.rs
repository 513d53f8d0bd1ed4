//! What the daemon has counted since its start, for the metrics. Bytes are what
//! ended connections have published, which a process taken over can falsify; the
//! daemon decides nothing by them.

use super::admission::Full;

/// The counters.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Connections that got a slot.
    pub connections: u64,
    /// Connections that got none, by [`Full`].
    pub refused: [u64; Full::ALL.len()],
    /// Processes of connections that did not end by themselves.
    pub killed: u64,
    /// Bytes from clients whose connections have ended.
    pub received: u64,
    /// Bytes to them.
    pub sent: u64,
    /// Generations started.
    pub generations: u64,
    /// Helper processes that ended unasked, or could no longer fork.
    pub failures: u64,
}

impl Counters {
    /// Counts a connection that got no slot.
    pub fn refuse(&mut self, why: Full) {
        self.refused[why as usize] += 1;
    }

    /// Adds the bytes that a connection has moved.
    pub fn add(&mut self, (received, sent): (u64, u64)) {
        self.received = self.received.wrapping_add(received);
        self.sent = self.sent.wrapping_add(sent);
    }
}
