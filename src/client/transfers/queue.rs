//! The files of a run that wait for a connection: small ones, of which many
//! are on their way at once, and those that go alone.

use std::collections::VecDeque;
use std::sync::Mutex;

use super::line::Line;
use super::run::{Id, Run};
use super::threads::{lock, on_each};
use crate::client::error::{ClientError, Result};

/// The largest file that goes with others, in bytes.
const SMALL: u64 = 4 * 1024 * 1024;

/// The smallest that goes alone once its connection was lost, so that it can
/// be resumed.
const WORTH_RESUMING: u64 = 256 * 1024;

/// So many files are worth a second connection that nobody asked for.
const HUNDREDS: usize = 200;

/// A file to be moved.
pub(super) trait Item: Send {
    /// Whether hundreds of small ones are moved faster over two connections.
    const IN_TWO: bool;

    fn id(&self) -> &Id;
    fn size(&self) -> u64;

    /// Moves small files of the queue until there is none. Those that don't
    /// come through are given back.
    ///
    /// # Errors
    /// When the connection is lost, or `Interrupted`.
    fn move_small(run: &Run<'_>, queue: &Queue<Self>, line: &mut Line<'_>) -> Result<()>
    where
        Self: Sized;

    /// Moves this one.
    ///
    /// # Errors
    /// Why it can't be moved, or the connection is lost for good.
    fn move_alone(&self, run: &Run<'_>, line: &mut Line<'_>) -> Result<()>;
}

/// Files that wait.
pub(super) struct Queue<T> {
    small: Mutex<VecDeque<T>>,
    alone: Mutex<VecDeque<T>>,
}

impl<T: Item> Queue<T> {
    pub(super) fn new(items: impl IntoIterator<Item = T>) -> Queue<T> {
        let (small, alone) = items.into_iter().partition(|item| item.size() <= SMALL);
        Queue {
            small: Mutex::new(small),
            alone: Mutex::new(alone),
        }
    }

    /// The next small file.
    pub(super) fn take_small(&self) -> Option<T> {
        lock(&self.small).pop_front()
    }

    /// Lets a file go alone: what fails there is told exactly.
    pub(super) fn set_alone(&self, item: T) {
        lock(&self.alone).push_back(item);
    }

    /// Gives files back whose connection was lost.
    pub(super) fn give_back(&self, items: impl Iterator<Item = T>) {
        for item in items {
            if item.size() >= WORTH_RESUMING {
                self.set_alone(item);
            } else {
                lock(&self.small).push_back(item);
            }
        }
    }

    fn len(&self) -> usize {
        lock(&self.small).len() + lock(&self.alone).len()
    }

    /// Moves all files over the lines, each in a thread of its own.
    ///
    /// # Errors
    /// Why some were left: the last connection was lost for good, or
    /// `Interrupted`. What fails for one file alone is told and summed.
    pub(super) fn run(&self, run: &Run<'_>, lines: &mut [Line<'_>]) -> Result<()> {
        let asked = run.options.streams.is_some();
        let many_small = T::IN_TWO && self.len() >= HUNDREDS;
        let many = if asked || many_small { lines.len() } else { 1 };
        run.allow_another(!asked && many == 1);
        let many = many.min(self.len());
        let ends = on_each(&mut lines[..many], |line| self.work(run, line));
        if self.len() == 0 {
            return Ok(());
        }
        run.sum(|summary| summary.left = self.len() as u64);
        ends.into_iter()
            .find(Result::is_err)
            .unwrap_or(Err(ClientError::Interrupted))
    }

    fn work(&self, run: &Run<'_>, line: &mut Line<'_>) -> Result<()> {
        loop {
            run.go_on()?;
            let next = lock(&self.alone).pop_front();
            if let Some(item) = next {
                match item.move_alone(run, line) {
                    Ok(()) => {}
                    Err(e) if e.ends_a_run() => {
                        self.set_alone(item);
                        return Err(e);
                    }
                    Err(e) => run.failed(item.id(), e),
                }
            } else if !lock(&self.small).is_empty() {
                T::move_small(run, self, line)?;
            } else {
                return Ok(());
            }
        }
    }
}
