//! What `tf watch` remembers of files: those it has seen and that stay, those
//! that failed, and the one whose deletion may not have reached the server.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::client::Stat;

/// The longest pause before what failed is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A file that is reported this often in a row, although its deletion was
/// requested, is worth a remark.
const STUBBORN: u32 = 3;

/// Where a directory stands in the list, and a name in it.
type File = (usize, Vec<u8>);

/// What is remembered, over sessions.
pub(super) struct Memory {
    interval: Duration,
    seen: HashMap<File, Option<Stat>>,
    failures: HashMap<File, (u32, Instant)>,
    last: Option<Last>,
    met: bool,
}

/// The file done last.
struct Last {
    file: File,
    stat: Option<Stat>,
    when: Instant,
    /// How often it was reported in a row, an interval or more after the answer.
    again: u32,
    /// Whether this session has reported a file since.
    heard: bool,
}

impl Memory {
    /// Nothing is known yet.
    pub(super) fn new(interval: Duration) -> Memory {
        let (seen, failures) = (HashMap::new(), HashMap::new());
        Memory {
            interval,
            seen,
            failures,
            last: None,
            met: false,
        }
    }

    /// A session begins: whether the server heard the last answer of the one
    /// before is not known.
    pub(super) fn meet(&mut self) {
        self.met = true;
        if let Some(last) = &mut self.last {
            last.heard = false;
        }
    }

    /// Whether there was a session before.
    pub(super) fn was_met(&self) -> bool {
        self.met
    }

    /// Whether all was done with a file in the session before, and only the
    /// answer was lost. It must be as it was.
    pub(super) fn was_done(&mut self, index: usize, name: &[u8], stat: Option<Stat>) -> bool {
        let Some(last) = &mut self.last else {
            return false;
        };
        let heard = std::mem::replace(&mut last.heard, true);
        !heard && is(&last.file, index, name) && stat.is_some() && same(last.stat, stat)
    }

    /// Takes note of a file that is to be deleted. Whether it is one that
    /// comes back all the time.
    pub(super) fn done(&mut self, index: usize, name: &[u8], stat: Option<Stat>) -> bool {
        self.failures.remove(&(index, name.to_vec()));
        let now = Instant::now();
        let again = match &self.last {
            Some(last) if is(&last.file, index, name) && now - last.when >= self.interval => {
                last.again + 1
            }
            _ => 0,
        };
        let file = (index, name.to_vec());
        self.last = Some(Last {
            file,
            stat,
            when: now,
            again,
            heard: true,
        });
        again == STUBBORN
    }

    /// Whether a file that stays is known as it is.
    pub(super) fn knows(&self, index: usize, name: &[u8], stat: Option<Stat>) -> bool {
        self.seen
            .get(&(index, name.to_vec()))
            .is_some_and(|seen| same(*seen, stat))
    }

    /// Takes note of a file that stays.
    pub(super) fn saw(&mut self, index: usize, name: &[u8], stat: Option<Stat>) {
        let file = (index, name.to_vec());
        self.failures.remove(&file);
        self.seen.insert(file, stat);
    }

    /// Forgets the files of a directory that are not there any more.
    pub(super) fn keep_only(&mut self, index: usize, is_there: impl Fn(&Vec<u8>) -> bool) {
        let stays = |file: &File| file.0 != index || is_there(&file.1);
        self.seen.retain(|file, _| stays(file));
        self.failures.retain(|file, _| stays(file));
    }

    /// Takes note of a failure: the file rests for a while, longer each time.
    pub(super) fn failed(&mut self, index: usize, name: &[u8]) {
        let (times, due) = self
            .failures
            .entry((index, name.to_vec()))
            .or_insert((0, Instant::now()));
        *due = Instant::now() + (self.interval * (1 << *times)).min(LONGEST_PAUSE);
        *times = (*times + 1).min(16);
    }

    /// Whether a file does not rest.
    pub(super) fn may_try(&self, index: usize, name: &[u8]) -> bool {
        let failure = self.failures.get(&(index, name.to_vec()));
        failure.is_none_or(|(_, due)| *due <= Instant::now())
    }
}

fn is(file: &File, index: usize, name: &[u8]) -> bool {
    file.0 == index && file.1 == name
}

/// Whether two looks at a file show the same one, unchanged. Reading it
/// changes nothing.
fn same(a: Option<Stat>, b: Option<Stat>) -> bool {
    let what = |stat: Stat| (stat.kind, stat.size, stat.modified);
    a.map(what) == b.map(what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Kind;

    fn stat(size: u64, accessed: i64) -> Option<Stat> {
        Some(Stat {
            kind: Kind::File,
            size,
            accessed,
            modified: 7,
        })
    }

    #[test]
    fn only_the_file_whose_answer_may_be_lost_counts_as_done() {
        let mut memory = Memory::new(Duration::from_millis(1));
        memory.meet();
        assert!(!memory.was_done(0, b"f", stat(1, 0)));
        memory.done(0, b"f", stat(1, 0));
        assert!(
            !memory.was_done(0, b"f", stat(1, 0)),
            "in the same session it is reported again"
        );
        for (index, name, seen, done) in [
            (0, b"f", stat(1, 5), true),
            (1, b"f", stat(1, 0), false),
            (0, b"g", stat(1, 0), false),
            (0, b"f", stat(2, 0), false),
            (0, b"f", None, false),
        ] {
            memory.done(0, b"f", stat(1, 0));
            memory.meet();
            assert_eq!(
                memory.was_done(index, name, seen),
                done,
                "{index} {name:?} {seen:?}"
            );
            assert!(
                !memory.was_done(0, b"f", stat(1, 0)),
                "only the first of a session"
            );
        }
    }

    #[test]
    fn a_file_that_failed_rests_longer_each_time() {
        let mut memory = Memory::new(Duration::from_secs(1));
        for rest in [1, 2, 4, 8, 16, 32, 60, 60] {
            memory.failed(0, b"f");
            let left = memory.failures[&(0, b"f".to_vec())].1 - Instant::now();
            let expected = Duration::from_secs(rest);
            assert!(
                left <= expected && left + Duration::from_millis(500) > expected,
                "{left:?}"
            );
            assert!(!memory.may_try(0, b"f") && memory.may_try(0, b"g"));
        }
        memory.saw(0, b"f", None);
        assert!(memory.may_try(0, b"f") && memory.knows(0, b"f", None));
        assert!(!memory.knows(0, b"f", stat(1, 0)));
        memory.keep_only(0, |name| name != b"f");
        assert!(!memory.knows(0, b"f", None));
    }
}
