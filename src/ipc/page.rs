//! Words of shared memory that change together (a seqlock): a reader gets all
//! of one change or nothing, and neither side ever waits. The number of
//! changes stands in a word of its own, odd while the words change; the next
//! change makes up for a writer that died in one.

use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Changes words, as the one writer; `change` stores them relaxed.
pub fn change(changes: &AtomicU64, change: impl FnOnce()) {
    let odd = changes.load(Ordering::Relaxed) | 1;
    changes.store(odd, Ordering::Relaxed);
    fence(Ordering::Release);
    change();
    changes.store(odd.wrapping_add(1), Ordering::Release);
}

/// Reads words, unless so many tries each meet a change. `changes` reads the
/// number of changes, `read` the words.
pub fn read<T>(tries: usize, changes: impl Fn() -> u64, read: impl Fn() -> T) -> Option<T> {
    (0..tries).find_map(|_| {
        let before = changes();
        fence(Ordering::Acquire);
        let words = read();
        fence(Ordering::Acquire);
        (before.is_multiple_of(2) && changes() == before).then_some(words)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_read_as_a_whole_or_not_at_all() {
        let [changes, a, b] = [const { AtomicU64::new(0) }; 3];
        let number = || changes.load(Ordering::Relaxed);
        let both = || (a.load(Ordering::Relaxed), b.load(Ordering::Relaxed));
        change(&changes, || {
            a.store(1, Ordering::Relaxed);
            assert_eq!(read(3, number, both), None);
            b.store(2, Ordering::Relaxed);
        });
        assert_eq!(read(3, number, both), Some((1, 2)));
        // A writer that died.
        changes.fetch_add(1, Ordering::Relaxed);
        assert_eq!(read(3, number, both), None);
        change(&changes, || a.store(3, Ordering::Relaxed));
        assert_eq!(read(3, number, both), Some((3, 2)));
    }
}
