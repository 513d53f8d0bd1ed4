//! What waits for a connection in a run: small files, of which many are on
//! their way at once, large ones, and the ranges of a very large one.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::resume::Rest;
use super::run::{Id, Line, Run, lock, on_each};
use crate::client::error::{ClientError, Result};

/// The largest file that goes with others, in bytes.
const SMALL: u64 = 4 * 1024 * 1024;

/// The smallest that goes by itself once its connection was lost, so that it
/// can be resumed.
const WORTH_RESUMING: u64 = 256 * 1024;

/// So many files are worth a second connection that nobody asked for.
const HUNDREDS: usize = 200;

/// The bytes of a range.
pub(super) const RANGE: u64 = 32 * 1024 * 1024;

/// A file to be moved.
pub(super) trait Item: Send {
    /// Whether hundreds of small ones are moved faster over two connections.
    const IN_TWO: bool;

    fn id(&self) -> &Id;
    fn size(&self) -> u64;

    /// Whether it can't go with others, however small.
    fn goes_alone(&self) -> bool;

    /// Moves this one over all of the lines.
    ///
    /// # Errors
    /// Why it can't be moved, or a connection is lost for good.
    fn move_large(&self, run: &Run<'_>, lines: &mut [Line<'_>]) -> Result<()>;
}

/// Moves small files of the queue until there are none left. Those that can't be
/// moved with others are given back. Fails when the connection is lost, or with
/// `Interrupted`.
type MoveSmall<T> = fn(&Run<'_>, &Queue<T>, &mut Line<'_>) -> Result<()>;

/// Files that wait.
pub(super) struct Queue<T> {
    move_small: MoveSmall<T>,
    small: Mutex<VecDeque<T>>,
    large: Mutex<VecDeque<T>>,
}

impl<T: Item> Queue<T> {
    /// Those that `go_alone` don't go with others, however small they are.
    pub(super) fn new(
        items: Vec<T>,
        move_small: MoveSmall<T>,
        go_alone: impl Fn(&T) -> bool,
    ) -> Queue<T> {
        let (small, large) = items
            .into_iter()
            .partition(|item| item.size() <= SMALL && !item.goes_alone() && !go_alone(item));
        Queue {
            move_small,
            small: Mutex::new(small),
            large: Mutex::new(large),
        }
    }

    /// The next small file.
    pub(super) fn take_small(&self) -> Option<T> {
        lock(&self.small).pop_front()
    }

    /// Lets a file go by itself: what fails there is reported exactly.
    pub(super) fn set_large(&self, item: T) {
        lock(&self.large).push_back(item);
    }

    /// Gives files back whose connection was lost.
    pub(super) fn give_back(&self, items: impl Iterator<Item = T>) {
        for item in items {
            if item.size() >= WORTH_RESUMING {
                self.set_large(item);
            } else {
                lock(&self.small).push_back(item);
            }
        }
    }

    fn len(&self) -> usize {
        lock(&self.small).len() + lock(&self.large).len()
    }

    /// Moves all files over the lines.
    ///
    /// # Errors
    /// Why some were left: the last connection was lost for good, or
    /// `Interrupted`. What fails for one file alone is reported and counted.
    pub(super) fn run(&self, run: &Run<'_>, lines: &mut [Line<'_>]) -> Result<()> {
        let moved = self
            .move_by_ranges(run, lines)
            .and_then(|()| self.move_each(run, lines));
        let left = self.len();
        if left == 0 {
            return Ok(());
        }
        run.sum(|summary| summary.left = left as u64);
        moved.and(Err(ClientError::Interrupted))
    }

    /// Moves very large files, one after another over all lines, when there
    /// are fewer of them than lines that the user asked for.
    fn move_by_ranges(&self, run: &Run<'_>, lines: &mut [Line<'_>]) -> Result<()> {
        let is_worth_it = |item: &T| item.size() >= 2 * RANGE;
        let count = lock(&self.large)
            .iter()
            .filter(|item| is_worth_it(item))
            .count();
        // An account that may only add can't open a file twice.
        if run.options.streams.is_none() || run.direct() || count >= lines.len() {
            return Ok(());
        }
        for _ in 0..count {
            let mut large = lock(&self.large);
            let next = large.iter().position(is_worth_it);
            let Some(item) = next.and_then(|at| large.remove(at)) else {
                break;
            };
            drop(large);
            self.move_one(run, item, lines)?;
        }
        Ok(())
    }

    /// Moves files over the lines, each line in a thread of its own.
    fn move_each(&self, run: &Run<'_>, lines: &mut [Line<'_>]) -> Result<()> {
        let asked = run.options.streams.is_some();
        let many_small = T::IN_TWO && self.len() >= HUNDREDS;
        let many = if asked || many_small { lines.len() } else { 1 };
        run.allow_another(!asked && many == 1);
        let many = many.min(self.len());
        let ends = on_each(&mut lines[..many], |line| self.work(run, line));
        ends.into_iter().find(Result::is_err).unwrap_or(Ok(()))
    }

    fn work(&self, run: &Run<'_>, line: &mut Line<'_>) -> Result<()> {
        loop {
            run.go_on()?;
            let next = lock(&self.large).pop_front();
            if let Some(item) = next {
                self.move_one(run, item, std::slice::from_mut(line))?;
            } else if !lock(&self.small).is_empty() {
                (self.move_small)(run, self, line)?;
            } else {
                return Ok(());
            }
        }
    }

    fn move_one(&self, run: &Run<'_>, item: T, lines: &mut [Line<'_>]) -> Result<()> {
        match item.move_large(run, lines) {
            Err(e) if e.ends_a_run() => {
                self.set_large(item);
                return Err(e);
            }
            Err(e) => run.failed(item.id(), lines[0].explain(e)),
            Ok(()) => {}
        }
        Ok(())
    }
}

/// The ranges of a file, and how far it is.
pub(super) struct Ranges<'r> {
    run: &'r Run<'r>,
    id: &'r Id,
    /// The bytes that were there before.
    before: u64,
    /// What nobody has taken, in order.
    waiting: Mutex<VecDeque<Range<u64>>>,
    end: u64,
    /// Ranges that are taken and not done.
    begun: Mutex<Vec<Range<u64>>>,
    moved: AtomicU64,
}

impl<'r> Ranges<'r> {
    /// What a file of `length` bytes lacks.
    pub(super) fn new(run: &'r Run<'r>, id: &'r Id, rest: &Rest, length: u64) -> Ranges<'r> {
        Ranges {
            run,
            id,
            before: length - rest.bytes(),
            waiting: Mutex::new(rest.ranges.iter().cloned().collect()),
            end: length,
            begun: Mutex::default(),
            moved: AtomicU64::new(0),
        }
    }

    /// Lets each line move one range after another.
    ///
    /// # Errors
    /// Why not all could be moved.
    pub(super) fn move_all(
        &self,
        lines: &mut [Line<'_>],
        one: impl Fn(&mut Line<'_>, Range<u64>) -> Result<()> + Sync,
    ) -> Result<()> {
        let work = |line: &mut Line<'_>| -> Result<()> {
            while let Some(range) = self.take() {
                self.run.go_on()?;
                one(line, range.clone())?;
                lock(&self.begun).retain(|begun| *begun != range);
            }
            Ok(())
        };
        let ends = on_each(lines, work);
        if lock(&self.begun).is_empty() && lock(&self.waiting).is_empty() {
            return Ok(());
        }
        ends.into_iter()
            .find(Result::is_err)
            .unwrap_or(Err(ClientError::Interrupted))
    }

    fn take(&self) -> Option<Range<u64>> {
        let mut waiting = lock(&self.waiting);
        let mut range = waiting.pop_front()?;
        // Ranges end at multiples, whatever was there before.
        let end = (range.start / RANGE + 1).saturating_mul(RANGE);
        if end < range.end {
            waiting.push_front(end..range.end);
            range.end = end;
        }
        drop(waiting);
        lock(&self.begun).push(range.clone());
        Some(range)
    }

    /// The first byte that has not been moved.
    pub(super) fn frontier(&self) -> u64 {
        let first = lock(&self.waiting).front().map(|range| range.start);
        let waiting = first.unwrap_or(self.end);
        let begun = lock(&self.begun);
        begun
            .iter()
            .map(|range| range.start)
            .fold(waiting, u64::min)
    }

    /// Reports bytes that a line has moved.
    pub(super) fn moved(&self, bytes: u64, of_line: &AtomicU64) {
        of_line.fetch_add(bytes, Ordering::Relaxed);
        let moved = self.moved.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.run.at(self.id, self.before + moved);
    }
}
