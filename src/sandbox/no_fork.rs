//! The filter of a process with a connection of its own: it can neither fork nor
//! signal others, nor spoil the channel to the logger. Written by hand, because it is loaded once for each connection
//! and evaluated for each call, so its length matters. It is added to the filters
//! of [`super`], which end a process that makes calls of another architecture.

use seccompiler::{BpfProgram, sock_filter};

/// Calls that make a process or signal one, and those that copy a descriptor.
const ALONE: &[libc::c_long] = &[
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_pidfd_send_signal,
    libc::SYS_dup,
    libc::SYS_dup3,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_dup2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
];

/// Offsets of the number of a call and of its first argument in a filter's input;
/// the processors that `seccompiler` knows are little-endian.
const NUMBER: u32 = 0;
const ARGUMENT: u32 = 16;

/// Calls that would spoil standard error, which is the channel to the logger and
/// belongs to all processes of a kind: none may be made on it, and no copy of it.
const ON_SOCKETS: &[libc::c_long] = &[
    libc::SYS_shutdown,
    libc::SYS_setsockopt,
    libc::SYS_fcntl,
    libc::SYS_ioctl,
];

/// Forking, signals to others, these further calls, and what would spoil the
/// channel to the logger end the process. Making a thread is allowed.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the kernel compares 32 bits of a call's number, and a program jumps over 255 steps at most"
)]
pub(crate) fn alone(besides: &[libc::c_long]) -> BpfProgram {
    let deadly = ALONE.iter().chain(besides);
    // What is behind the comparisons: 0 allows, 1 looks at a descriptor, 3 at the
    // flags of `clone`, 6 kills.
    let mut ends = vec![(libc::SYS_clone, 3)];
    ends.extend(ON_SOCKETS.iter().map(|call| (*call, 1)));
    ends.extend(deadly.map(|call| (*call, 6)));
    let all = ends.len();
    let mut program = vec![step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, NUMBER)];
    for (at, (call, end)) in ends.into_iter().enumerate() {
        program.push(equal(call as u32, (all - 1 - at + end) as u8));
    }
    let thread = sock_filter {
        jt: 0,
        jf: 1,
        ..step(libc::BPF_JMP | libc::BPF_JSET, libc::CLONE_THREAD as u32)
    };
    let standard_error = sock_filter {
        jt: 3,
        jf: 2,
        ..step(libc::BPF_JMP | libc::BPF_JEQ, libc::STDERR_FILENO as u32)
    };
    program.extend([
        step(libc::BPF_RET, libc::SECCOMP_RET_ALLOW),
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, ARGUMENT),
        standard_error,
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, ARGUMENT),
        thread,
        step(libc::BPF_RET, libc::SECCOMP_RET_ALLOW),
        step(libc::BPF_RET, libc::SECCOMP_RET_KILL_PROCESS),
    ]);
    program
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the codes are constants of 16 bits"
)]
fn step(code: u32, k: u32) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    }
}

/// Skips so many more steps if the number is this.
fn equal(number: u32, further: u8) -> sock_filter {
    sock_filter {
        jt: further,
        ..step(libc::BPF_JMP | libc::BPF_JEQ, number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::CHANGES;

    /// What the system makes of a call and its first argument.
    fn verdict(program: &[sock_filter], number: u32, argument: u32) -> u32 {
        let (mut at, mut loaded) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = &program[at];
            let jump = |taken: bool| usize::from(if taken { *jt } else { *jf });
            at += 1;
            match u32::from(*code) {
                0x20 => loaded = if *k == NUMBER { number } else { argument },
                0x15 => at += jump(loaded == *k),
                0x45 => at += jump(loaded & *k != 0),
                0x06 => return *k,
                other => panic!("step {other:#x}"),
            }
        }
    }

    #[test]
    fn what_is_listed_ends_the_process_and_nothing_else_does() {
        for besides in [&[], CHANGES] {
            let program = alone(besides);
            for number in (0..1024).filter(|number| *number != libc::SYS_clone as u32) {
                let call = libc::c_long::from(number);
                let deadly = ALONE.contains(&call) || besides.contains(&call);
                let killed = verdict(&program, number, 0) == libc::SECCOMP_RET_KILL_PROCESS;
                assert_eq!(killed, deadly, "{number}");
                assert!(killed || verdict(&program, number, 0) == libc::SECCOMP_RET_ALLOW);
            }
        }
    }

    #[test]
    fn sockets_may_be_set_up_but_not_the_one_to_the_logger() {
        let program = alone(CHANGES);
        for call in ON_SOCKETS {
            let on = |handle| verdict(&program, *call as u32, handle);
            assert_eq!(on(2), libc::SECCOMP_RET_KILL_PROCESS, "{call}");
            for other in [0, 1, 3, 1 << 31] {
                assert_eq!(on(other), libc::SECCOMP_RET_ALLOW, "{call}");
            }
        }
    }

    #[test]
    fn a_thread_may_be_made_and_a_process_not() {
        let program = alone(CHANGES);
        let clone = |flags| verdict(&program, libc::SYS_clone as u32, flags);
        let thread = (libc::CLONE_THREAD | libc::CLONE_SIGHAND | libc::CLONE_VM) as u32;
        assert_eq!(clone(thread), libc::SECCOMP_RET_ALLOW);
        for flags in [0, libc::SIGCHLD as u32, !(libc::CLONE_THREAD as u32)] {
            assert_eq!(clone(flags), libc::SECCOMP_RET_KILL_PROCESS);
        }
    }
}
