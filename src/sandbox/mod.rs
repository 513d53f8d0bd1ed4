//! What a process that parses foreign bytes could not reach if an attacker took
//! it over: files (Landlock), the network and signals (Landlock, seccomp), and
//! system calls it does not need (seccomp). Made once by the daemon, entered by
//! each process, never left.
//!
//! A system call that is dangerous ends the process. One that is merely
//! unknown fails with `ENOSYS`, so that a newer C library, which tries new
//! calls first and falls back, still works.

mod calls;
pub mod confinement;
mod no_fork;
pub mod operator;
pub mod place;
mod reach;

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

use crate::sandbox::calls::{CHANGES, Call, DEADLY, KNOWN, KNOWN_HERE, LAUNCHING, When};
use crate::sandbox::no_fork::alone;
pub use crate::sandbox::reach::{Reach, lookup_directories};

/// The newest Landlock this is written for: files, TCP, devices, signals and
/// abstract sockets. An older kernel enforces what it knows.
const LANDLOCK: ABI = ABI::V6;

/// The most private memory of a process that faces a client, in bytes, and its
/// most descriptors. docs/decisions/system-calls.md has what they need.
const MAX_DATA: u64 = 256 << 20;
const MAX_DESCRIPTORS: u64 = 1024;

/// The filters for all kinds of processes.
#[derive(Clone, Debug)]
pub struct Sandbox(Option<Arc<Filters>>);

#[derive(Debug)]
struct Filters {
    /// Every call that is not listed fails.
    known: BpfProgram,
    /// The same, for processes that still change identity and root.
    known_to_launchers: BpfProgram,
    /// Every call that is listed ends the process.
    deadly: BpfProgram,
    /// The same for forks, signals, and a change of identity or root.
    deadly_to_leaves: BpfProgram,
    /// The same for these and pairs of sockets, over which a process could pass
    /// itself a copy of a descriptor.
    deadly_to_gates: BpfProgram,
    /// The same for calls that spoil a socket for others that share it.
    deadly_to_sharers: BpfProgram,
}

impl Sandbox {
    /// Makes the filters.
    ///
    /// # Errors
    /// When this processor is not one the filters are for.
    pub fn new() -> io::Result<Sandbox> {
        let filters = Filters {
            known: known([KNOWN, KNOWN_HERE])?,
            known_to_launchers: known([KNOWN, KNOWN_HERE, LAUNCHING])?,
            deadly: deadly(DEADLY)?,
            deadly_to_leaves: alone(CHANGES),
            deadly_to_gates: gates(),
            deadly_to_sharers: sharing()?,
        };
        Ok(Sandbox(Some(Arc::new(filters))))
    }

    /// No sandbox at all.
    pub fn off() -> Sandbox {
        Sandbox(None)
    }

    /// Enters the part that all processes share, for good.
    ///
    /// # Errors
    /// The system's. The process must end then.
    pub fn enter(&self) -> io::Result<()> {
        self.enter_with(|filters| [&filters.deadly, &filters.known])
    }

    /// The same, for a process whose children are to change identity and root
    /// before they become leaves.
    pub fn enter_as_launcher(&self) -> io::Result<()> {
        self.enter_with(|filters| [&filters.deadly, &filters.known_to_launchers])
    }

    fn enter_with(&self, which: fn(&Filters) -> [&BpfProgram; 2]) -> io::Result<()> {
        let Some(filters) = &self.0 else {
            return Ok(());
        };
        for of_no_use in [
            Resource::RLIMIT_CORE,
            Resource::RLIMIT_MEMLOCK,
            Resource::RLIMIT_MSGQUEUE,
        ] {
            setrlimit(of_no_use, 0, 0)?;
        }
        which(filters)
            .into_iter()
            .try_for_each(|filter| apply_filter(filter))
            .map_err(io::Error::other)
    }

    /// Bounds the memory of processes that face clients, and their descriptors, in
    /// which memory could be, too: for such a process, or the one that forks them.
    ///
    /// # Errors
    /// The system's. The process must end then.
    pub fn limit_memory(&self) -> io::Result<()> {
        if !self.is_on() {
            return Ok(());
        }
        for (resource, most) in [
            (Resource::RLIMIT_DATA, MAX_DATA),
            (Resource::RLIMIT_NOFILE, MAX_DESCRIPTORS),
        ] {
            let (soft, hard) = getrlimit(resource)?;
            setrlimit(resource, soft.min(most), hard.min(most))?;
        }
        Ok(())
    }

    /// For a process that doesn't fork and has its final identity: from now on it
    /// can neither fork nor signal others.
    ///
    /// # Errors
    /// The system's. The process must end then.
    pub fn deny_fork_and_identity(&self) -> io::Result<()> {
        let Some(filters) = &self.0 else {
            return Ok(());
        };
        apply_filter(&filters.deadly_to_leaves).map_err(io::Error::other)
    }

    /// The same for a gate or a relay, which makes no pairs of sockets, either.
    ///
    /// # Errors
    /// The system's. The process must end then.
    pub fn make_gate(&self) -> io::Result<()> {
        let Some(filters) = &self.0 else {
            return Ok(());
        };
        apply_filter(&filters.deadly_to_gates).map_err(io::Error::other)
    }

    /// For a process whose children share a socket: from now on they and it can
    /// neither shut one down nor shrink its buffers.
    ///
    /// # Errors
    /// The system's. The process must end then.
    fn share_sockets(&self) -> io::Result<()> {
        let Some(filters) = &self.0 else {
            return Ok(());
        };
        apply_filter(&filters.deadly_to_sharers).map_err(io::Error::other)
    }

    /// Leaves the process only the files beneath `root`, whatever directory
    /// handles it has.
    ///
    /// # Errors
    /// The system's. The process must end then.
    pub fn limit_files(&self, root: Option<BorrowedFd<'_>>) -> io::Result<()> {
        self.limit_files_to(root.as_slice())
    }

    /// The same for several roots.
    ///
    /// # Errors
    /// As above.
    pub fn limit_files_to(&self, roots: &[BorrowedFd<'_>]) -> io::Result<()> {
        if self.0.is_none() {
            return Ok(());
        }
        restrict(roots).map_err(io::Error::other)
    }

    /// Whether it is on.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }
}

/// Whether this kernel's Landlock enforces all rules. An older one enforces
/// those it knows.
pub fn landlock_is_whole() -> bool {
    let all = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(LANDLOCK))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(LANDLOCK)))
        .and_then(|rules| rules.scope(Scope::from_all(LANDLOCK)))
        .and_then(Ruleset::create);
    all.is_ok()
}

fn restrict(roots: &[BorrowedFd<'_>]) -> Result<(), RulesetError> {
    let mut rules = rules()?;
    for root in roots {
        rules = rules.add_rule(PathBeneath::new(root, AccessFs::from_all(LANDLOCK)))?;
    }
    rules.restrict_self().map(drop)
}

/// Rules that forbid everything that is not added to them.
fn rules() -> Result<RulesetCreated, RulesetError> {
    Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()
}

/// The rules of a filter, by the numbers of calls.
type Rules = std::collections::BTreeMap<i64, Vec<SeccompRule>>;

impl When {
    fn condition(self) -> Result<SeccompCondition, seccompiler::BackendError> {
        let (at, operation, value) = match self {
            When::Is(at, value) => (at, SeccompCmpOp::Eq, value),
            When::IsNot(at, value) => (at, SeccompCmpOp::Ne, value),
            When::Bits(at, mask, value) => (at, SeccompCmpOp::MaskedEq(mask.into()), value),
        };
        SeccompCondition::new(at, SeccompCmpArgLen::Dword, operation, value.into())
    }
}

/// A rule that matches if all conditions hold.
fn rule(when: &[When]) -> io::Result<SeccompRule> {
    let conditions = when.iter().map(|when| when.condition());
    let conditions = conditions.collect::<Result<_, _>>();
    conditions
        .and_then(SeccompRule::new)
        .map_err(io::Error::other)
}

/// The rules for calls that may be made.
fn allowed<const N: usize>(lists: [&[Call]; N]) -> io::Result<Rules> {
    let calls = lists.into_iter().flatten();
    let calls = calls.filter(|call| place::left_out() != Some(call.number));
    calls
        .map(|call| {
            let rules = call.when.iter().map(|when| rule(when));
            Ok((call.number, rules.collect::<io::Result<_>>()?))
        })
        .collect()
}

/// Lets a process make these calls, and no others.
fn known<const N: usize>(lists: [&[Call]; N]) -> io::Result<BpfProgram> {
    only(allowed(lists)?)
}

/// Lets a process make the calls that match, and no others.
fn only(rules: Rules) -> io::Result<BpfProgram> {
    let enosys = SeccompAction::Errno(libc::ENOSYS as u32);
    compile(rules, enosys, SeccompAction::Allow)
}

/// Ends a process that makes one of these calls, types at a terminal, or sets a
/// limit of another process.
fn deadly(calls: &[libc::c_long]) -> io::Result<BpfProgram> {
    let typing = [libc::TIOCSTI, libc::TIOCLINUX].map(|request| {
        #[expect(clippy::cast_possible_truncation, reason = "requests have 32 bits")]
        rule(&[When::Is(1, request as u32)])
    });
    let typing = typing.into_iter().collect::<io::Result<_>>()?;
    let others = vec![rule(&[When::IsNot(0, 0)])?];
    let calls = calls.iter().copied().chain(place::left_out());
    let rules = [(libc::SYS_ioctl, typing), (libc::SYS_prlimit64, others)];
    let mut rules = Rules::from(rules);
    rules.extend(calls.map(|call| (call, Vec::new())));
    compile(rules, SeccompAction::Allow, SeccompAction::KillProcess)
}

/// The filter of gates and relays.
fn gates() -> BpfProgram {
    alone(&[CHANGES, &[libc::SYS_socketpair]].concat())
}

/// Ends a process that shuts down a socket or sets the size of its buffers.
fn sharing() -> io::Result<BpfProgram> {
    let sizes = [libc::SO_SNDBUF, libc::SO_SNDBUFFORCE].map(|option| {
        let level = When::Is(1, libc::SOL_SOCKET.cast_unsigned());
        rule(&[level, When::Is(2, option.cast_unsigned())])
    });
    let sizes = sizes.into_iter().collect::<io::Result<_>>()?;
    let rules = [
        (libc::SYS_shutdown, Vec::new()),
        (libc::SYS_setsockopt, sizes),
    ];
    compile(
        rules.into(),
        SeccompAction::Allow,
        SeccompAction::KillProcess,
    )
}

fn compile(
    rules: Rules,
    otherwise: SeccompAction,
    listed: SeccompAction,
) -> io::Result<BpfProgram> {
    let here = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    let filter = SeccompFilter::new(rules, otherwise, listed, here).map_err(io::Error::other)?;
    BpfProgram::try_from(filter).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_compile_here() {
        assert!(Sandbox::new().expect("filters").is_on());
        assert!(!Sandbox::off().is_on());
    }
}
