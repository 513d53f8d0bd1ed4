//! Forking, the end of a forked process, and threads in addition to the one that
//! serves the client, which gets all signals.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{ForkResult, Pid, getppid};

/// The exit status of a child that panicked.
pub const PANICKED: i32 = 101;

/// Runs `child` in a forked process and ends that process with its result.
/// The child never returns into the parent's code: no destructor of the
/// parent's values runs twice.
///
/// The calling process must have one thread; builds with debug assertions
/// check it if `/proc` is mounted.
pub fn fork(child: impl FnOnce() -> i32) -> io::Result<Pid> {
    debug_assert!(
        thread_count().is_none_or(|n| n == 1),
        "fork needs a single thread"
    );
    // SAFETY: the process has a single thread (contract above, asserted in
    // debug builds), so no lock is held by a thread that the child lacks.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let status = catch_unwind(AssertUnwindSafe(child)).unwrap_or(PANICKED);
            exit(status)
        }
    }
}

/// Ends the process at once, without running destructors or exit handlers.
pub fn exit(status: i32) -> ! {
    // SAFETY: `_exit` takes any number and does not return.
    unsafe { libc::_exit(status) }
}

/// Closes every descriptor except the standard three and these. Called before a
/// process has opened any, or in one just forked: the owners of the others are
/// copies that the child neither uses nor drops.
pub fn keep_only(handles: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut kept: Vec<u32> = handles
        .iter()
        .map(|handle| handle.as_raw_fd().unsigned_abs())
        .collect();
    kept.sort_unstable();
    let mut first = 3;
    for handle in kept.into_iter().filter(|h| *h >= 3) {
        close_range(first, handle.wrapping_sub(1))?;
        first = handle + 1;
    }
    close_range(first, u32::MAX)
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    if first > last {
        return Ok(());
    }
    // SAFETY: takes any numbers; that nobody uses the descriptors closed is
    // the contract of `keep_only`, its only caller.
    match unsafe { libc::close_range(first, last, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes this process end with its parent.
pub fn follow(parent: Pid) -> io::Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    if getppid() != parent {
        return Err(io::Error::other("the parent has ended"));
    }
    Ok(())
}

/// Gives this thread, and those that it starts later, longer turns: threads that hand
/// each other small pieces of work then do many of them in one turn. Such a thread
/// waits longer for its turn where others have work.
pub fn take_long_turns() -> io::Result<()> {
    // SAFETY: reads the parameter, which outlives the call, and sets how this thread is
    // scheduled.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &PRIORITY) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The one that threads without a claim to real time have.
const PRIORITY: libc::sched_param = libc::sched_param { sched_priority: 0 };

/// How many threads this process has, if `/proc` is mounted.
pub(super) fn thread_count() -> Option<usize> {
    std::fs::read_dir("/proc/self/task")
        .ok()
        .map(Iterator::count)
}

/// Starts a thread that gets no signals, with so many bytes of stack.
pub fn spawn_beside(
    name: &str,
    stack: usize,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let before = SigSet::thread_get_mask()?;
    SigSet::all().thread_block()?;
    let thread = std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(stack);
    let started = thread.spawn(work);
    before.thread_set_mask()?;
    started.map(drop)
}

#[cfg(test)]
mod tests {
    use nix::sys::wait::{WaitStatus, waitpid};

    #[test]
    fn threads_of_a_thread_with_long_turns_have_them_too() {
        // Its place behind the name, which is in parentheses: see proc_pid_stat(5).
        let policy = || {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("stat");
            let (_, rest) = stat.rsplit_once(')').expect("name");
            rest.split_whitespace().nth(38).map(str::to_owned)
        };
        let both = std::thread::spawn(move || {
            super::take_long_turns().expect("turns");
            [policy(), std::thread::spawn(policy).join().expect("end")]
        });
        let batch = Some(libc::SCHED_BATCH.to_string());
        assert_eq!(both.join().expect("end"), [batch.clone(), batch]);
    }

    #[test]
    fn a_child_ends_with_its_result_and_never_returns() {
        // The test harness has threads, so the check of `fork` does not apply.
        // SAFETY: the child only calls `_exit`.
        let pid = match unsafe { nix::unistd::fork() }.expect("fork") {
            nix::unistd::ForkResult::Parent { child } => child,
            nix::unistd::ForkResult::Child => super::exit(7),
        };
        assert_eq!(waitpid(pid, None), Ok(WaitStatus::Exited(pid, 7)));
    }
}
