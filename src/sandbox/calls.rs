//! System calls, by which of our processes need them, and the arguments they may
//! have. docs/decisions/system-calls.md gives the reasons.

/// Changes of identity and root.
pub(crate) const CHANGES: &[libc::c_long] = &[
    libc::SYS_chroot,
    libc::SYS_setuid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
];

/// Calls that none of our processes needs.
pub(crate) const DEADLY: &[libc::c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_personality,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_mknodat,
    // Calls that act on another process.
    libc::SYS_setpriority,
    libc::SYS_ioprio_set,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setattr,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setscheduler,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_tgkill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_send_signal,
    // Memory that counts for no process, and pages of others.
    libc::SYS_memfd_create,
    libc::SYS_remap_file_pages,
];

/// A condition on 32 bits of an argument, which comes first by its position.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    Is(u8, u32),
    IsNot(u8, u32),
    /// These bits have this value.
    Bits(u8, u32, u32),
}

/// A call that our code, the standard library or the C library makes. It may be
/// made if all conditions of one of the lists hold; with any arguments if there is
/// no list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    #[cfg_attr(
        not(feature = "testing"),
        expect(dead_code, reason = "tests look calls up by it")
    )]
    pub name: &'static str,
    pub number: libc::c_long,
    pub when: &'static [&'static [When]],
}

const fn is(at: u8, value: libc::c_int) -> When {
    When::Is(at, value.cast_unsigned())
}

/// The argument has none of these bits.
const fn without(at: u8, mask: libc::c_int) -> When {
    When::Bits(at, mask.cast_unsigned(), 0)
}

/// The second argument is one of these.
macro_rules! second {
    ($($value:expr),* $(,)?) => { &[$(&[is(1, $value)]),*] };
}

/// The second and the third argument are one of these pairs.
macro_rules! options {
    ($($level:expr => $($option:expr),*;)*) => {
        &[$($(&[is(1, $level), is(2, $option)]),*),*]
    };
}

macro_rules! calls {
    ($($call:ident $(: $when:expr)?),* $(,)?) => {
        &[$(Call {
            name: stringify!($call),
            number: libc::$call,
            when: calls!(@ $($when)?),
        }),*]
    };
    (@) => { &[] };
    (@ $when:expr) => { $when };
}

/// A request of `ioctl` as a condition has it.
#[expect(clippy::cast_possible_truncation, reason = "requests have 32 bits")]
const fn request(of: libc::Ioctl) -> libc::c_int {
    of as libc::c_int
}

/// One process, and no group of processes; with zero left out.
const POSITIVE: When = When::Bits(0, 1 << 31, 0);

/// A mapping that no other process has.
const PRIVATE: When = When::Bits(3, 0xf, libc::MAP_PRIVATE.cast_unsigned());

/// What no thread and no child is made with: namespaces, another parent, a
/// tracer.
const CLONE_FLAGS: libc::c_int = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_PARENT
    | libc::CLONE_PTRACE;

/// Calls of all processes. docs/decisions/system-calls.md says what for.
pub(crate) const KNOWN: &[Call] = calls![
    // Files.
    SYS_read,
    SYS_write,
    SYS_writev,
    SYS_pread64,
    SYS_pwrite64,
    SYS_preadv2,
    SYS_openat,
    SYS_openat2,
    SYS_close,
    SYS_close_range,
    SYS_fstat,
    SYS_newfstatat,
    SYS_statx,
    SYS_fstatfs,
    SYS_lseek,
    SYS_ftruncate,
    SYS_fgetxattr,
    SYS_fsetxattr,
    SYS_flistxattr,
    SYS_fremovexattr,
    SYS_fsync,
    SYS_fdatasync,
    SYS_sync_file_range,
    SYS_syncfs,
    SYS_fadvise64,
    SYS_flock,
    SYS_fcntl: &[
        &[is(1, libc::F_DUPFD_CLOEXEC)],
        &[is(1, libc::F_GETFD)],
        &[is(1, libc::F_SETFD)],
        &[is(1, libc::F_GETFL)],
        &[is(1, libc::F_SETFL), without(2, libc::O_ASYNC)],
        &[is(1, F_SETOWN_EX)],
        &[is(1, libc::F_ADD_SEALS)],
        &[is(1, libc::F_GET_SEALS)],
        &[is(1, libc::F_SETPIPE_SZ)],
        &[is(1, libc::F_OFD_SETLK)],
        &[is(1, libc::F_SETLK)],
        &[is(1, libc::F_GETLK)],
    ],
    SYS_ioctl: second![
        request(libc::FIONBIO),
        request(libc::FIONREAD),
        request(SIOCATMARK),
        request(libc::FICLONE),
    ],
    SYS_pipe2,
    SYS_getdents64,
    SYS_fchdir,
    SYS_mkdirat,
    SYS_unlinkat,
    SYS_renameat2,
    SYS_linkat,
    SYS_symlinkat,
    SYS_readlinkat,
    SYS_faccessat2,
    SYS_fchmod,
    SYS_fchown,
    SYS_fchownat,
    SYS_utimensat,
    SYS_copy_file_range,
    SYS_sendfile,
    SYS_splice,
    SYS_inotify_init1,
    SYS_inotify_add_watch,
    SYS_inotify_rm_watch,
    // Existing sockets, and pairs.
    SYS_socketpair: &[&[is(0, libc::AF_UNIX)]],
    SYS_sendto,
    SYS_recvfrom,
    SYS_sendmsg,
    SYS_recvmsg,
    SYS_sendmmsg,
    SYS_shutdown,
    SYS_setsockopt: options![
        libc::SOL_SOCKET => libc::SO_REUSEADDR, libc::SO_KEEPALIVE, libc::SO_RCVTIMEO,
            libc::SO_SNDTIMEO, SO_RCVTIMEO_NEW, SO_SNDTIMEO_NEW;
        libc::IPPROTO_TCP => libc::TCP_NODELAY, libc::TCP_KEEPIDLE, libc::TCP_KEEPINTVL,
            libc::TCP_KEEPCNT, libc::TCP_USER_TIMEOUT, libc::TCP_QUICKACK, libc::TCP_ULP;
        libc::SOL_TLS => libc::TLS_TX;
        libc::IPPROTO_IP => libc::IP_RECVERR, libc::IP_BIND_ADDRESS_NO_PORT;
        libc::IPPROTO_IPV6 => libc::IPV6_RECVERR, libc::IPV6_V6ONLY;
    ],
    SYS_getsockopt,
    SYS_getsockname,
    SYS_getpeername,
    // Waiting.
    SYS_ppoll,
    SYS_epoll_create1,
    SYS_epoll_ctl,
    SYS_epoll_pwait,
    SYS_clock_nanosleep,
    SYS_clock_gettime,
    SYS_restart_syscall,
    // Memory: nothing to execute, and none that is shared and has no descriptor.
    SYS_mmap: &[
        &[without(2, libc::PROT_EXEC), without(3, libc::MAP_ANONYMOUS)],
        &[without(2, libc::PROT_EXEC), PRIVATE],
    ],
    SYS_munmap,
    SYS_mprotect: &[&[without(2, libc::PROT_EXEC)]],
    SYS_madvise: &[
        &[is(2, libc::MADV_DONTNEED)],
        &[is(2, libc::MADV_FREE)],
        &[is(2, libc::MADV_HUGEPAGE)],
        &[is(2, libc::MADV_WIPEONFORK)],
    ],
    SYS_brk,
    // Processes and threads; of other processes only children.
    SYS_clone: &[&[without(0, CLONE_FLAGS)]],
    SYS_exit,
    SYS_exit_group,
    SYS_wait4,
    SYS_kill: &[
        &[When::IsNot(0, 0), POSITIVE, is(1, libc::SIGTERM)],
        &[When::IsNot(0, 0), POSITIVE, is(1, libc::SIGKILL)],
    ],
    SYS_signalfd4,
    SYS_futex,
    SYS_set_robust_list,
    SYS_rseq,
    SYS_sched_yield,
    SYS_sched_getaffinity: &[&[is(0, 0)]],
    SYS_getpid,
    SYS_getppid,
    SYS_gettid,
    SYS_prctl: &[
        &[is(0, libc::PR_SET_NAME)],
        &[is(0, libc::PR_SET_PDEATHSIG), is(1, libc::SIGKILL)],
        &[is(0, libc::PR_SET_NO_NEW_PRIVS)],
        &[is(0, libc::PR_GET_NO_NEW_PRIVS)],
        &[is(0, libc::PR_SET_DUMPABLE), is(1, 0)],
        &[is(0, libc::PR_GET_DUMPABLE)],
        &[is(0, libc::PR_SET_KEEPCAPS)],
    ],
    SYS_seccomp,
    SYS_landlock_create_ruleset,
    SYS_landlock_add_rule,
    SYS_landlock_restrict_self,
    SYS_prlimit64: &[&[is(0, 0)]],
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_rt_sigtimedwait,
    SYS_sigaltstack,
    SYS_getrandom,
    SYS_uname,
];

/// Further calls on this processor.
#[cfg(target_arch = "x86_64")]
pub(crate) const KNOWN_HERE: &[Call] = calls![
    SYS_poll,
    SYS_open,
    SYS_unlink,
    SYS_dup2: second![libc::STDERR_FILENO],
];
#[cfg(not(target_arch = "x86_64"))]
pub(crate) const KNOWN_HERE: &[Call] = calls![SYS_dup3: second![libc::STDERR_FILENO]];

/// Further calls of the launcher and of what it forks until that is a session.
pub(crate) const LAUNCHING: &[Call] = calls![
    SYS_chroot,
    SYS_setresuid,
    SYS_setresgid,
    SYS_setgroups,
    SYS_getresuid,
    SYS_getresgid,
    SYS_getgroups,
    SYS_capget,
    SYS_capset,
];

/// The C library's crate has no names for these.
const F_SETOWN_EX: libc::c_int = 15;
const SIOCATMARK: libc::Ioctl = 0x8905;
const SO_RCVTIMEO_NEW: libc::c_int = 66;
const SO_SNDTIMEO_NEW: libc::c_int = 67;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_both_needed_and_deadly() {
        for call in DEADLY {
            assert!(
                KNOWN
                    .iter()
                    .chain(KNOWN_HERE)
                    .all(|known| known.number != *call),
                "{call}"
            );
        }
    }
}
