//! Lines that work at the same time, and what their threads share.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::ScopedJoinHandle;

use super::line::Line;
use crate::client::error::Result;

/// Lets each line do this work in a thread of its own: how each ended.
pub(super) fn on_each<'r>(
    lines: &mut [Line<'r>],
    work: impl Fn(&mut Line<'r>) -> Result<()> + Sync,
) -> Vec<Result<()>> {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = lines
            .iter_mut()
            .map(|line| scope.spawn(move || work(line)))
            .collect();
        threads.into_iter().map(joined).collect()
    })
}

/// What a thread returns; its panic goes on here.
pub(super) fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A value that threads share, whatever has become of one of them.
pub(super) fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
