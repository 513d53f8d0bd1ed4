//! On which processors the threads of a run are. The library hands each entry from thread
//! to thread; to wake one on another processor takes longer than the whole work for an
//! entry that has not changed. So all are on one processor while hardly anything is read.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// After how many entries to look, and how few bytes have been read since if one
/// processor is enough.
const ENTRIES: u64 = 1000;
const FEW: u64 = 64 << 10;

/// After how many bytes on one processor the others are of use.
const MUCH: u64 = 1 << 20;

/// Where the threads are.
pub(super) struct Processors {
    state: Mutex<State>,
    /// The bytes of the run at which to take all again.
    spread_at: AtomicU64,
}

#[derive(Default)]
struct State {
    /// The bytes of the run at the last look.
    bytes: u64,
    /// Those to take again, while all are on one.
    all: Option<CpuSet>,
}

impl Processors {
    /// As the system has it.
    pub(super) fn new() -> Processors {
        Processors {
            state: Mutex::default(),
            spread_at: AtomicU64::new(u64::MAX),
        }
    }

    /// So many entries have been looked at, and so many bytes read.
    pub(super) fn looked(&self, entries: u64, bytes: u64) {
        if !entries.is_multiple_of(ENTRIES) {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let few = bytes - state.bytes < FEW;
        state.bytes = bytes;
        if few && state.all.is_none() {
            // Where that can't be done, all is as it was.
            state.all = gather().ok();
            if state.all.is_some() {
                self.spread_at.store(bytes + MUCH, Ordering::Relaxed);
            }
        }
    }

    /// So many bytes have been read.
    pub(super) fn read(&self, bytes: u64) {
        if bytes < self.spread_at.load(Ordering::Relaxed) {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.spread_at.store(u64::MAX, Ordering::Relaxed);
        if let Some(all) = state.all.take() {
            let _ = put_all_on(&all);
        }
    }
}

/// Has all threads of this process stay on the processor that this one is on; those
/// before.
fn gather() -> io::Result<CpuSet> {
    let all = sched_getaffinity(None)?;
    let mut one = CpuSet::new();
    one.set(sched_getcpu());
    put_all_on(&one)?;
    Ok(all)
}

fn put_all_on(processors: &CpuSet) -> io::Result<()> {
    for task in fs::read_dir("/proc/self/task")? {
        let name = task?.file_name();
        let thread = name.to_str().and_then(|it| it.parse().ok());
        let Some(thread) = thread.and_then(Pid::from_raw) else {
            continue;
        };
        // It may have ended.
        match sched_setaffinity(Some(thread), processors) {
            Err(e) if e != rustix::io::Errno::SRCH => return Err(e.into()),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The processors of a thread that was there before, as of another one's work.
    fn of_another(work: impl FnOnce()) -> u32 {
        let (begin, wait) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || {
            let _ = wait.recv();
            sched_getaffinity(None).expect("affinity").count()
        });
        work();
        drop(begin);
        other.join().expect("end")
    }

    #[test]
    fn all_threads_are_on_one_processor_while_hardly_anything_is_read() {
        let all = sched_getaffinity(None).expect("affinity").count();
        let processors = Processors::new();
        assert_eq!(of_another(|| processors.looked(999, 0)), all);
        assert_eq!(of_another(|| processors.looked(1000, 100)), 1);
        assert_eq!(of_another(|| processors.read(MUCH)), 1);
        assert_eq!(of_another(|| processors.read(MUCH + 100)), all);
        assert_eq!(of_another(|| processors.looked(2000, MUCH + 100)), all);
        assert_eq!(of_another(|| processors.looked(3000, MUCH + 200)), 1);
        processors.read(u64::MAX);
    }
}
