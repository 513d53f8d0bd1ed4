//! What has arrived of a file whose transfer was cut, and what is missing.

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::bbftp::wire::MAX_STREAMS;
use crate::bbftp::wire::extension::Missing;
use crate::store::wanted;
use crate::sys::number::at_most;

/// How many bytes next to a hole may not have arrived.
const DOUBTFUL: u64 = 64 * 1024;

/// Bytes of a digest read at once.
const PIECE: usize = 256 * 1024;

/// What has not arrived of so many bytes, at least one byte: the holes of the
/// file and, since a write may have stopped within a block of it, what is next to
/// them.
pub fn missing(file: impl AsFd, size: u64) -> Vec<Range<u64>> {
    let mut missing: Vec<Range<u64>> = Vec::new();
    let mut at = 0;
    while at < size {
        let data = seek(&file, SeekFrom::Data(at)).unwrap_or(size).min(size);
        if data > at {
            let begin = at.saturating_sub(DOUBTFUL);
            let end = data.saturating_add(DOUBTFUL).min(size);
            match missing.last_mut() {
                Some(last) if last.end >= begin => last.end = end,
                _ => missing.push(begin..end),
            }
        }
        at = seek(&file, SeekFrom::Hole(data)).unwrap_or(size).max(data);
    }
    if missing.is_empty() {
        missing.push(size.saturating_sub(1)..size);
    }
    missing
}

/// As many ranges as there are to be streams, or as there are gaps; never more
/// than a message can have. Gaps that are too many are taken together.
pub fn divide(gaps: Vec<Range<u64>>, streams: usize) -> Vec<Missing> {
    let most = MAX_STREAMS as usize;
    let mut ranges = gaps;
    while ranges.len() > most {
        let nearest = (1..ranges.len()).min_by_key(|at| ranges[*at].start - ranges[at - 1].end);
        let at = nearest.unwrap_or(1);
        ranges[at - 1].end = ranges[at].end;
        ranges.remove(at);
    }
    while ranges.len() < streams.min(most) {
        let longest = (0..ranges.len()).max_by_key(|at| ranges[*at].end - ranges[*at].start);
        let Some(at) = longest.filter(|at| ranges[*at].end - ranges[*at].start > 1) else {
            break;
        };
        let Range { start, end } = ranges[at].clone();
        let middle = start + (end - start) / 2;
        ranges[at].end = middle;
        ranges.insert(at + 1, middle..end);
    }
    let missing = |range: Range<u64>| Missing {
        begin: range.start,
        len: range.end - range.start,
    };
    ranges.into_iter().map(missing).collect()
}

/// What is there of so many bytes, when these ranges of them are missing, which
/// do not overlap.
pub fn kept(missing: &[Missing], size: u64) -> Vec<Range<u64>> {
    let mut missing = missing.to_vec();
    missing.sort_unstable_by_key(|missing| missing.begin);
    let mut kept = Vec::new();
    let mut at = 0;
    for Missing { begin, len } in missing {
        if begin > at {
            kept.push(at..begin);
        }
        at = begin + len;
    }
    if at < size {
        kept.push(at..size);
    }
    kept
}

/// The SHA-256 of these ranges of a file, one behind the other; of what a file
/// that has become shorter still has.
///
/// # Errors
/// `ECANCELED` when nobody waits for it any more, else the system's.
pub fn digest(file: BorrowedFd<'_>, ranges: &[Range<u64>]) -> Result<[u8; 32], Errno> {
    let mut digest = Sha256::new();
    let mut buffer = vec![0; PIECE];
    let mut unchecked = 0;
    for range in ranges {
        let mut at = range.start;
        while at < range.end {
            let room = at_most(range.end - at, PIECE);
            match rustix::io::pread(file, &mut buffer[..room], at) {
                Ok(0) => break,
                Ok(n) => {
                    digest.update(&buffer[..n]);
                    at += n as u64;
                    unchecked += n as u64;
                }
                Err(Errno::INTR) => {}
                Err(e) => return Err(e),
            }
            if unchecked >= wanted::WORK {
                unchecked = 0;
                wanted::check()?;
            }
        }
    }
    Ok(digest.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    fn bounds(missing: &Missing) -> Range<u64> {
        missing.begin..missing.begin + missing.len
    }

    #[test]
    fn gaps_become_as_many_ranges_as_there_are_streams() {
        let divided = |gaps: &[Range<u64>], streams| {
            let missing = divide(gaps.to_vec(), streams);
            missing.iter().map(bounds).collect::<Vec<_>>()
        };
        let whole = |gap| std::iter::once(gap).collect::<Vec<_>>();
        assert_eq!(divided(&whole(10..20), 1), whole(10..20));
        assert_eq!(divided(&whole(10..20), 3), [10..15, 15..17, 17..20]);
        assert_eq!(divided(&[0..1, 10..20], 1), [0..1, 10..20]);
        assert_eq!(divided(&whole(0..2), 32), [0..1, 1..2]);
        let many: Vec<_> = (0..40).map(|at| at * 10..at * 10 + 5).collect();
        let divided = divided(&many, 1);
        assert_eq!(divided.len(), 32);
        let covers = |gap: &Range<u64>| {
            let holds = |range: &Range<u64>| range.start <= gap.start && gap.end <= range.end;
            divided.iter().any(holds)
        };
        assert!(many.iter().all(covers));
    }

    #[test]
    fn what_is_not_missing_is_kept() {
        let kept = |ranges: &[Range<u64>]| {
            let missing = |range: &Range<u64>| Missing {
                begin: range.start,
                len: range.end - range.start,
            };
            super::kept(&ranges.iter().map(missing).collect::<Vec<_>>(), 10)
        };
        assert_eq!(kept(&[0..10, 10..10]), []);
        assert_eq!(kept(&[7..8, 2..4]), [0..2, 4..7, 8..10]);
        assert_eq!(
            kept(&[0..3, 3..9]),
            std::iter::once(9..10).collect::<Vec<_>>()
        );
    }

    #[test]
    fn holes_and_what_is_next_to_them_are_missing() {
        const SIZE: u64 = 8 << 20;
        let file = tempfile::tempfile().expect("file");
        file.set_len(SIZE).expect("length");
        let all = std::iter::once(0..SIZE).collect::<Vec<_>>();
        assert_eq!(missing(&file, SIZE), all);
        let data = vec![1; 2 << 20];
        file.write_all_at(&data, 2 << 20).expect("write");
        let missing = missing(&file, SIZE);
        let left: u64 = missing.iter().map(|gap| gap.end - gap.start).sum();
        assert!(left < SIZE, "the system knows of holes");
        let kept = kept(&divide(missing, 1), SIZE);
        assert_eq!(kept.len(), 1);
        assert!(kept[0].start >= (2 << 20) + DOUBTFUL && kept[0].end + DOUBTFUL <= 4 << 20);
        let ours = digest(file.as_fd(), &kept).expect("digest");
        let len = usize::try_from(kept[0].end - kept[0].start).expect("small");
        assert_eq!(ours[..], Sha256::digest(&data[..len])[..]);
    }
}
