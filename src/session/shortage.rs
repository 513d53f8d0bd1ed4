//! Why there was no room for what a client sent: what users, the log, the audit
//! log and the metrics are told of it.

use std::cell::Cell;
use std::fmt;

use rustix::io::Errno;

use crate::ipc::codec::codec;
use crate::store::Quota;

/// What there was too little of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// Space on the disk.
    Disk,
    /// A quota: tfd's of so many bytes, or the system's.
    Quota(Option<u64>),
    /// The size that the file system lets a file have.
    FileSize,
}

codec!(enum Shortage { 0 => Disk, 1 => Quota(limit), 2 => FileSize });

impl Shortage {
    /// One for each kind, in the order of [`Shortage::kind`].
    pub const KINDS: [&str; 3] = ["disk", "quota", "file_size"];

    /// Its place in [`Shortage::KINDS`].
    pub fn kind(self) -> usize {
        match self {
            Shortage::Disk => 0,
            Shortage::Quota(_) => 1,
            Shortage::FileSize => 2,
        }
    }

    /// What an error says of room, for a session with this quota.
    pub fn of(error: Errno, quota: &Quota) -> Option<Shortage> {
        match error {
            Errno::NOSPC => Some(Shortage::Disk),
            Errno::DQUOT => Some(Shortage::Quota(quota.tightest())),
            Errno::FBIG => Some(Shortage::FileSize),
            _ => None,
        }
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shortage::Disk => f.write_str("disk full on the server"),
            Shortage::Quota(Some(limit)) => write!(f, "quota of {} reached", exactly(*limit)),
            Shortage::Quota(None) => f.write_str("quota of the server's system reached"),
            Shortage::FileSize => f.write_str("file too large for the server's file system"),
        }
    }
}

/// A number of bytes in the largest unit that has no fraction.
fn exactly(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let mut fitting = units
        .iter()
        .filter(|(shift, _)| bytes.is_multiple_of(1 << shift));
    match fitting.next() {
        Some((shift, unit)) if bytes > 0 => format!("{} {unit}", bytes >> shift),
        _ => format!("{bytes} bytes"),
    }
}

/// The shortage that the request under way has met, if it has.
#[derive(Debug, Default)]
pub struct LastShortage(Cell<Option<Shortage>>);

impl LastShortage {
    /// Keeps what an error says of room, and returns the error.
    pub fn note(&self, error: Errno, quota: &Quota) -> Errno {
        if let Some(shortage) = Shortage::of(error, quota) {
            self.0.set(Some(shortage));
        }
        error
    }

    /// The shortage.
    pub fn get(&self) -> Option<Shortage> {
        self.0.get()
    }

    /// Forgets it: another request begins.
    pub fn clear(&self) {
        self.0.set(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_says_what_there_is_too_little_of() {
        for (limit, text) in [
            (1 << 20, "quota of 1 MiB reached"),
            (1000 << 10, "quota of 1000 KiB reached"),
            (100_000, "quota of 100000 bytes reached"),
            (0, "quota of 0 bytes reached"),
            (3 << 40, "quota of 3 TiB reached"),
        ] {
            assert_eq!(Shortage::Quota(Some(limit)).to_string(), text);
        }
        let last = LastShortage::default();
        let none = Quota::none();
        for (error, text) in [
            (Errno::NOSPC, "disk full on the server"),
            (Errno::DQUOT, "quota of the server's system reached"),
            (Errno::ACCESS, "quota of the server's system reached"),
            (Errno::FBIG, "file too large for the server's file system"),
        ] {
            assert_eq!(last.note(error, &none), error);
            assert_eq!(
                last.get().map(|what| what.to_string()).as_deref(),
                Some(text)
            );
        }
    }
}
