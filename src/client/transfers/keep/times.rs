//! Times of two trees, compared at the resolution that both sides have.

use crate::client::extension::Time;
use crate::client::transfers::mirror::Direction;
use crate::client::transfers::scan::{Found, Tree};

/// The nanoseconds that file systems store times in: one, hundreds, micro- and
/// milliseconds, hundredths of a second, seconds.
const RESOLUTIONS: [u32; 6] = [1, 100, 1_000, 1_000_000, 10_000_000, SECOND];
const SECOND: u32 = 1_000_000_000;

/// How the times of files are compared.
#[derive(Clone, Copy, Debug)]
pub(in crate::client::transfers) struct Comparison {
    resolution: u32,
    /// Which side is the copy, and how many seconds the server's clock is ahead, if
    /// copies have times of their own: they are the same when they are not older.
    own_times: Option<(Direction, i64)>,
}

impl Comparison {
    /// How these trees are compared.
    pub(in crate::client::transfers) fn of(
        here: &Tree,
        there: &Tree,
        own_times: Option<(Direction, i64)>,
    ) -> Comparison {
        Comparison {
            resolution: resolution(here).max(resolution(there)),
            own_times,
        }
    }

    /// Whether copies are to have the time of their source.
    pub(in crate::client::transfers) fn keeps_times(&self) -> bool {
        self.own_times.is_none()
    }

    /// Whether two times are equal.
    pub(in crate::client::transfers) fn is_equal(&self, a: &Found, b: &Found) -> bool {
        let cut = |time: Time| (time.seconds, time.nanoseconds / self.resolution);
        cut(a.modified) == cut(b.modified)
    }

    /// Whether two files of one size are taken for the same.
    pub(in crate::client::transfers) fn is_same(&self, here: &Found, there: &Found) -> bool {
        self.is_equal(here, there)
            || match self.own_times {
                None => false,
                Some((Direction::Up, ahead)) => {
                    there.modified.seconds.saturating_sub(ahead) >= rounded_up(here.modified)
                }
                Some((Direction::Down, ahead)) => {
                    here.modified.seconds.saturating_add(ahead) >= rounded_up(there.modified)
                }
            }
    }
}

fn rounded_up(time: Time) -> i64 {
    time.seconds.saturating_add((time.nanoseconds > 0).into())
}

/// The coarsest resolution that all times of a tree's files fit.
fn resolution(tree: &Tree) -> u32 {
    let mut files = tree.entries.values().filter(|found| found.is_file());
    if !tree.is_detailed {
        return SECOND;
    }
    let Some(first) = files.next() else { return 1 };
    let all = || std::iter::once(first).chain(files.clone());
    let fits = |unit: u32| all().all(|found| found.modified.nanoseconds % unit == 0);
    let coarsest = RESOLUTIONS.into_iter().rev().find(|unit| fits(*unit));
    coarsest.unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(nanoseconds: &[u32]) -> Tree {
        let mut tree = Tree::empty();
        tree.is_detailed = true;
        for (number, nanoseconds) in nanoseconds.iter().enumerate() {
            tree.entries
                .insert(number.to_string().into_bytes(), file(7, *nanoseconds));
        }
        tree
    }

    fn file(seconds: i64, nanoseconds: u32) -> Found {
        Found {
            modified: Time {
                seconds,
                nanoseconds,
            },
            ..Found::default()
        }
    }

    #[test]
    fn times_are_cut_as_the_coarser_side_cuts_them() {
        let rows = [
            (
                &[123_456_789, 0][..],
                &[123_456_789][..],
                (7, 123_456_789),
                (7, 123_456_788),
                false,
            ),
            (
                &[123_456_789],
                &[123_456_000],
                (7, 123_456_789),
                (7, 123_456_000),
                true,
            ),
            (
                &[123_456_789],
                &[123_456_000],
                (7, 123_457_789),
                (7, 123_456_000),
                false,
            ),
            (&[123_456_789], &[0, 0], (7, 123_456_789), (7, 0), true),
            (&[123_456_789], &[0, 1], (7, 123_456_789), (7, 0), false),
            (&[123_456_789], &[], (7, 1), (7, 0), false),
        ];
        for (here, there, a, b, equal) in rows {
            let compare = Comparison::of(&tree(here), &tree(there), None);
            assert_eq!(
                compare.is_same(&file(a.0, a.1), &file(b.0, b.1)),
                equal,
                "{a:?} {b:?}"
            );
        }
    }

    #[test]
    fn copies_with_times_of_their_own_are_the_same_when_they_are_not_older() {
        let exact = tree(&[1]);
        let up = Comparison::of(&exact, &exact, Some((Direction::Up, 10)));
        assert!(up.is_same(&file(5, 1), &file(16, 0)));
        assert!(!up.is_same(&file(5, 1), &file(15, 0)));
        let down = Comparison::of(&exact, &exact, Some((Direction::Down, 10)));
        assert!(down.is_same(&file(6, 0), &file(15, 1)));
        assert!(!down.is_same(&file(5, 0), &file(15, 1)));
    }
}
