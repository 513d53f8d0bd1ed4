//! Figures that a helper process publishes for metrics and status: words of a page that
//! it writes and the daemon reads. The daemon decides nothing by them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::sys::memory::{WORD, map_page, shared_pages};

/// A figure.
#[derive(Debug)]
pub struct Figure {
    /// What it is called in status, and behind the service in metrics.
    pub name: &'static str,
    /// What it says, for people.
    pub help: &'static str,
    /// Whether it counts what has happened, and so never sinks.
    pub is_counter: bool,
}

impl Figure {
    /// One that says how many there are.
    pub const fn gauge(name: &'static str, help: &'static str) -> Figure {
        Figure {
            name,
            help,
            is_counter: false,
        }
    }

    /// One that says how many there were.
    pub const fn counter(name: &'static str, help: &'static str) -> Figure {
        Figure {
            name,
            help,
            is_counter: true,
        }
    }
}

/// The figures of a service, in the daemon. They outlive its process.
#[derive(Debug)]
pub struct Figures {
    table: &'static [Figure],
    page: OwnedFd,
}

impl Figures {
    /// These, all 0.
    ///
    /// # Errors
    /// When memory is short.
    pub fn new(table: &'static [Figure]) -> Result<Figures, String> {
        let page = shared_pages("tfd-figures", 1).map_err(|e| format!("shared memory: {e}"))?;
        Ok(Figures { table, page })
    }

    /// Their values now.
    pub fn read(&self) -> Vec<(&'static Figure, u64)> {
        let mut bytes = vec![0; self.table.len() * WORD];
        let _ = rustix::io::pread(&self.page, &mut bytes, 0);
        let words = bytes.as_chunks().0.iter().copied();
        let words = words.map(u64::from_ne_bytes);
        self.table.iter().zip(words).collect()
    }

    /// The end of the process that publishes them, which calls this.
    ///
    /// # Errors
    /// When the page can't be mapped.
    pub fn board(&self) -> io::Result<Board> {
        map_page(self.page.as_fd()).map(Board)
    }
}

/// Where a process publishes figures, by their places in the table.
#[derive(Clone, Copy, Debug)]
pub struct Board(&'static [AtomicU64]);

impl Board {
    /// Says how many there are.
    pub fn set(self, figure: usize, value: u64) {
        self.0[figure].store(value, Ordering::Relaxed);
    }

    /// Counts one more.
    pub fn count(self, figure: usize) {
        self.0[figure].fetch_add(1, Ordering::Relaxed);
    }
}

/// The shortest time between two counts, and how many times as long as a count it is.
const PAUSE: Duration = Duration::from_secs(1);
const SHARE: u32 = 100;

/// When a process counts what it has, if that takes time: soon after a change, and for
/// no more than a hundredth of its time.
#[derive(Debug)]
pub struct Pace {
    next: Instant,
    is_stale: bool,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            next: Instant::now(),
            is_stale: true,
        }
    }
}

impl Pace {
    /// Takes note that there may be something else to count.
    pub fn stir(&mut self) {
        self.is_stale = true;
    }

    /// When to count, if at all.
    pub fn due(&self) -> Option<Instant> {
        self.is_stale.then_some(self.next)
    }

    /// Counts, if that is due.
    ///
    /// # Errors
    /// That of the count.
    pub fn count<E>(&mut self, count: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let begun = Instant::now();
        if !self.is_stale || begun < self.next {
            return Ok(());
        }
        self.is_stale = false;
        count()?;
        self.next = begun + PAUSE.max(begun.elapsed() * SHARE);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_publishes_is_read_by_name() {
        static TABLE: [Figure; 2] = [
            Figure::gauge("files", "Files."),
            Figure::counter("heals", "Heals."),
        ];
        let figures = Figures::new(&TABLE).expect("memory");
        let board = figures.board().expect("page");
        board.set(0, 7);
        board.count(1);
        // Another process goes on counting.
        figures.board().expect("page").count(1);
        let read = figures.read();
        let read: Vec<_> = read.iter().map(|(it, value)| (it.name, *value)).collect();
        assert_eq!(read, [("files", 7), ("heals", 2)]);
    }

    #[test]
    fn one_counts_after_a_change_and_then_pauses() {
        let mut pace = Pace::default();
        let mut counts = 0;
        for _ in 0..2 {
            pace.stir();
            let counted: Result<(), ()> = pace.count(|| {
                counts += 1;
                Ok(())
            });
            counted.expect("counted");
        }
        assert_eq!(counts, 1);
        assert!(pace.due().is_some_and(|due| due > Instant::now()));
    }
}
