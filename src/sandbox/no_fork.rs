//! The filter of a process with a connection of its own: it can neither fork nor
//! signal others. Written by hand, because it is loaded once for each connection
//! and evaluated for each call, so its length matters. It is added to the filters
//! of [`super`], which end a process that makes calls of another architecture.

use seccompiler::{BpfProgram, sock_filter};

/// Calls that make a process or signal one.
const ALONE: &[libc::c_long] = &[
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_pidfd_send_signal,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
];

/// Offsets of the number of a call and of the flags of `clone` in a filter's
/// input; the processors that `seccompiler` knows are little-endian.
const NUMBER: u32 = 0;
const CLONE_FLAGS: u32 = 16;

/// Forking, signals to others, and these further calls end the process. Making
/// a thread is allowed.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the kernel compares 32 bits of a call's number, and a program jumps over 255 steps at most"
)]
pub(crate) fn alone(besides: &[libc::c_long]) -> BpfProgram {
    let deadly: Vec<u32> = ALONE
        .iter()
        .chain(besides)
        .map(|call| *call as u32)
        .collect();
    // After the comparisons: allow; the flags of `clone`, which allow or kill.
    let left = |at: usize| (deadly.len() - at) as u8;
    let mut program = vec![
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, NUMBER),
        equal(libc::SYS_clone as u32, left(0) + 1),
    ];
    program.extend(
        deadly
            .iter()
            .enumerate()
            .map(|(at, call)| equal(*call, left(at) + 2)),
    );
    program.extend([
        step(libc::BPF_RET, libc::SECCOMP_RET_ALLOW),
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, CLONE_FLAGS),
        sock_filter {
            jt: 1,
            ..step(libc::BPF_JMP | libc::BPF_JSET, libc::CLONE_THREAD as u32)
        },
        step(libc::BPF_RET, libc::SECCOMP_RET_KILL_PROCESS),
        step(libc::BPF_RET, libc::SECCOMP_RET_ALLOW),
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
