//! Which bytes of a file go over which stream.

use std::ops::Range;

/// The ranges of so many streams, at least one: all of one length, but for the
/// last, which has the rest as well.
pub fn partition(whole: Range<u64>, streams: usize) -> Vec<Range<u64>> {
    let count = streams.max(1);
    let len = whole.end.saturating_sub(whole.start);
    let each = len / count as u64;
    let start = |stream: usize| whole.start + each * stream as u64;
    let mut ranges: Vec<_> = (0..count).map(|at| start(at)..start(at + 1)).collect();
    if let Some(last) = ranges.last_mut() {
        last.end = whole.start + len;
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_stream_has_the_rest() {
        assert_eq!(partition(0..10, 3), [0..3, 3..6, 6..10]);
        assert_eq!(partition(0..2, 3), [0..0, 0..0, 0..2]);
        assert_eq!(partition(0..0, 2), [0..0, 0..0]);
        assert_eq!(partition(4..9, 2), [4..6, 6..9]);
        assert_eq!(partition(0..7, 0), partition(0..7, 1));
        assert_eq!(partition(0..7, 1).first(), Some(&(0..7)));
        let most = partition(0..u64::MAX, 32);
        assert_eq!(most.last().map(|last| last.end), Some(u64::MAX));
    }
}
