//! What the kernel keeps from a process that parses what others send, should
//! it be taken over: files (Landlock), the network and signals (Landlock,
//! seccomp), and system calls it has no need of (seccomp). Made once by the
//! daemon, entered by each process, never left.
//!
//! A system call that is dangerous ends the process. One that is merely
//! unknown fails with `ENOSYS`, so that a newer C library, which tries new
//! calls first and falls back, goes on working.

mod reach;

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};
use nix::sys::resource::{Resource, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

pub use reach::Reach;

/// The newest Landlock this is written for: files, TCP, devices, signals and
/// abstract sockets. An older kernel enforces what it knows.
const LANDLOCK: ABI = ABI::V6;

/// The filters for all kinds of processes.
#[derive(Clone, Debug)]
pub struct Sandbox(Option<Arc<Filters>>);

#[derive(Debug)]
struct Filters {
    /// Every call that is not listed fails.
    known: BpfProgram,
    /// Every call that is listed ends the process.
    deadly: BpfProgram,
    /// The same for calls that only the zygote needs.
    deadly_to_loners: BpfProgram,
    /// The same for these and a change of identity or root.
    deadly_to_leaves: BpfProgram,
}

impl Sandbox {
    /// Makes the filters.
    ///
    /// # Errors
    /// When this processor is not one the filters are for.
    pub fn new() -> io::Result<Sandbox> {
        let enosys = SeccompAction::Errno(libc::ENOSYS as u32);
        let kill = SeccompAction::KillProcess;
        let filters = Filters {
            known: filter(&[KNOWN, KNOWN_HERE].concat(), enosys, SeccompAction::Allow)?,
            deadly: filter(DEADLY, SeccompAction::Allow, kill.clone())?,
            deadly_to_loners: alone(&[], kill.clone())?,
            deadly_to_leaves: alone(CHANGES, kill)?,
        };
        Ok(Sandbox(Some(Arc::new(filters))))
    }

    /// No sandbox at all.
    #[must_use]
    pub fn off() -> Sandbox {
        Sandbox(None)
    }

    /// Enters what all processes share, for good.
    ///
    /// # Errors
    /// The system's. The process must end then.
    pub fn enter(&self) -> io::Result<()> {
        let Some(filters) = &self.0 else { return Ok(()) };
        setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
        apply_filter(&filters.deadly).map_err(io::Error::other)?;
        apply_filter(&filters.known).map_err(io::Error::other)
    }

    /// For a process that forks no other and has its identity: from now on it
    /// can't, nor signal another.
    ///
    /// # Errors
    /// The system's. The process must end then.
    pub fn become_leaf(&self) -> io::Result<()> {
        let Some(filters) = &self.0 else { return Ok(()) };
        apply_filter(&filters.deadly_to_leaves).map_err(io::Error::other)
    }

    /// For a process that forks no other but has to change its root yet: from
    /// now on it can make none and signal none.
    ///
    /// # Errors
    /// The system's. The process must end then.
    pub fn stay_alone(&self) -> io::Result<()> {
        let Some(filters) = &self.0 else { return Ok(()) };
        apply_filter(&filters.deadly_to_loners).map_err(io::Error::other)
    }

    /// Leaves the process no file but those beneath `root`, whatever
    /// directory handles it has.
    ///
    /// # Errors
    /// The system's. The process must end then.
    pub fn limit_files(&self, root: Option<BorrowedFd<'_>>) -> io::Result<()> {
        if self.0.is_none() {
            return Ok(());
        }
        restrict(root).map_err(io::Error::other)
    }

    /// Whether there is one.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }
}

/// Whether this kernel's Landlock enforces all that is asked of it. An older
/// one enforces what it knows.
#[must_use]
pub fn landlock_is_whole() -> bool {
    let all = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(LANDLOCK))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(LANDLOCK)))
        .and_then(|rules| rules.scope(Scope::from_all(LANDLOCK)))
        .and_then(Ruleset::create);
    all.is_ok()
}

fn restrict(root: Option<BorrowedFd<'_>>) -> Result<(), RulesetError> {
    let mut rules = rules()?;
    if let Some(root) = root {
        rules = rules.add_rule(PathBeneath::new(root, AccessFs::from_all(LANDLOCK)))?;
    }
    rules.restrict_self().map(drop)
}

/// Rules under which nothing is left that is not added to them.
fn rules() -> Result<RulesetCreated, RulesetError> {
    Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()
}

fn filter(
    calls: &[libc::c_long],
    otherwise: SeccompAction,
    listed: SeccompAction,
) -> io::Result<BpfProgram> {
    let rules = calls.iter().map(|call| (*call, Vec::new())).collect();
    compile(rules, otherwise, listed)
}

/// Making processes, and signals to others, which only the zygote needs, and
/// these calls besides. A thread may be made.
fn alone(besides: &[libc::c_long], kill: SeccompAction) -> io::Result<BpfProgram> {
    let flags = |value: u64| {
        let mask = libc::CLONE_THREAD as u64;
        let operation = SeccompCmpOp::MaskedEq(mask);
        SeccompCondition::new(0, SeccompCmpArgLen::Qword, operation, value)
            .and_then(|condition| SeccompRule::new(vec![condition]))
            .map_err(io::Error::other)
    };
    let mut rules = std::collections::BTreeMap::from([
        (libc::SYS_clone, vec![flags(0)?]),
        (libc::SYS_kill, Vec::new()),
        (libc::SYS_tkill, Vec::new()),
        (libc::SYS_rt_sigqueueinfo, Vec::new()),
        (libc::SYS_pidfd_send_signal, Vec::new()),
    ]);
    rules.extend(besides.iter().map(|call| (*call, Vec::new())));
    #[cfg(target_arch = "x86_64")]
    rules.extend([(libc::SYS_fork, Vec::new()), (libc::SYS_vfork, Vec::new())]);
    compile(rules, SeccompAction::Allow, kill)
}

fn compile(
    rules: std::collections::BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    listed: SeccompAction,
) -> io::Result<BpfProgram> {
    let here = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    let filter = SeccompFilter::new(rules, otherwise, listed, here).map_err(io::Error::other)?;
    BpfProgram::try_from(filter).map_err(io::Error::other)
}

/// Changes of identity and root.
const CHANGES: &[libc::c_long] = &[
    libc::SYS_chroot,
    libc::SYS_setuid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
];

/// What no process of ours has any business with.
const DEADLY: &[libc::c_long] = &[
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
];

/// What our code, the standard library and the C library use.
const KNOWN: &[libc::c_long] = &[
    // Files.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_lseek,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync_file_range,
    libc::SYS_syncfs,
    libc::SYS_fadvise64,
    libc::SYS_readahead,
    libc::SYS_flock,
    libc::SYS_fcntl,
    libc::SYS_ioctl,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_chdir,
    libc::SYS_fchdir,
    libc::SYS_chroot,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    SYS_FCHMODAT2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_copy_file_range,
    libc::SYS_sendfile,
    libc::SYS_splice,
    libc::SYS_umask,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_rm_watch,
    libc::SYS_memfd_create,
    // Sockets that are there already, and pairs.
    libc::SYS_socketpair,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvmmsg,
    libc::SYS_shutdown,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    // Waiting.
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_signalfd4,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_restart_syscall,
    // Memory.
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_mlock,
    libc::SYS_munlock,
    libc::SYS_membarrier,
    libc::SYS_brk,
    // Processes and threads.
    libc::SYS_clone,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_kill,
    libc::SYS_tgkill,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getpriority,
    libc::SYS_setpriority,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getgroups,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_capget,
    libc::SYS_capset,
    libc::SYS_prctl,
    libc::SYS_seccomp,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_add_rule,
    libc::SYS_landlock_restrict_self,
    libc::SYS_prlimit64,
    libc::SYS_getrusage,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_getrandom,
    libc::SYS_uname,
    libc::SYS_sysinfo,
];

/// `fchmodat2`, on every architecture.
const SYS_FCHMODAT2: libc::c_long = 452;

/// What there is besides on this processor.
#[cfg(target_arch = "x86_64")]
const KNOWN_HERE: &[libc::c_long] = &[
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_create,
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_readlink,
    libc::SYS_access,
    libc::SYS_dup2,
    libc::SYS_pipe,
    libc::SYS_arch_prctl,
    libc::SYS_time,
    libc::SYS_fork,
    libc::SYS_vfork,
];
#[cfg(not(target_arch = "x86_64"))]
const KNOWN_HERE: &[libc::c_long] = &[];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_both_needed_and_deadly() {
        for call in DEADLY {
            assert!(!KNOWN.contains(call) && !KNOWN_HERE.contains(call), "{call}");
        }
    }

    #[test]
    fn the_filters_compile_here() {
        assert!(Sandbox::new().expect("filters").is_on());
        assert!(!Sandbox::off().is_on());
    }
}
