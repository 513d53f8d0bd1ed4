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
pub mod place;
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

use crate::sandbox::calls::{CHANGES, DEADLY, KNOWN, KNOWN_HERE};
use crate::sandbox::no_fork::alone;
pub use crate::sandbox::reach::Reach;

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
    /// The same, for processes that still change identity and root.
    known_to_launchers: BpfProgram,
    /// Every call that is listed ends the process.
    deadly: BpfProgram,
    /// The same for calls that only the zygote needs.
    no_fork: BpfProgram,
    /// The same for these and a change of identity or root.
    deadly_to_leaves: BpfProgram,
    /// The same for calls that spoil a socket for others that share it.
    deadly_to_sharers: BpfProgram,
}

impl Sandbox {
    /// Makes the filters.
    ///
    /// # Errors
    /// When this processor is not one the filters are for.
    pub fn new() -> io::Result<Sandbox> {
        let enosys = SeccompAction::Errno(libc::ENOSYS as u32);
        let filters = Filters {
            known: filter(
                &[KNOWN, KNOWN_HERE].concat(),
                enosys.clone(),
                SeccompAction::Allow,
            )?,
            known_to_launchers: filter(
                &[KNOWN, KNOWN_HERE, CHANGES].concat(),
                enosys.clone(),
                SeccompAction::Allow,
            )?,
            deadly: deadly(DEADLY)?,
            no_fork: alone(&[]),
            deadly_to_leaves: alone(CHANGES),
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

    /// For a process that doesn't fork but will still change its root: from now on
    /// it can neither fork nor signal others.
    ///
    /// # Errors
    /// The system's. The process must end then.
    pub fn deny_fork(&self) -> io::Result<()> {
        let Some(filters) = &self.0 else {
            return Ok(());
        };
        apply_filter(&filters.no_fork).map_err(io::Error::other)
    }

    /// For a process that shares a socket with others: from now on it can neither
    /// shut it down nor shrink its buffers.
    ///
    /// # Errors
    /// The system's. The process must end then.
    pub fn share_sockets(&self) -> io::Result<()> {
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
        if self.0.is_none() {
            return Ok(());
        }
        restrict(root).map_err(io::Error::other)
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

fn restrict(root: Option<BorrowedFd<'_>>) -> Result<(), RulesetError> {
    let mut rules = rules()?;
    if let Some(root) = root {
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

/// An argument of a call that has this value.
fn is(at: u8, value: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(at, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

/// Ends a process that makes one of these calls, or types at a terminal.
fn deadly(calls: &[libc::c_long]) -> io::Result<BpfProgram> {
    let typing = [libc::TIOCSTI, libc::TIOCLINUX]
        .map(|request| SeccompRule::new(vec![is(1, request)?]))
        .into_iter()
        .collect::<Result<Vec<_>, _>>();
    let calls = calls.iter().map(|call| (*call, Vec::new()));
    let rules = calls
        .chain([(libc::SYS_ioctl, typing.map_err(io::Error::other)?)])
        .collect();
    compile(rules, SeccompAction::Allow, SeccompAction::KillProcess)
}

/// Ends a process that shuts down a socket or sets the size of its buffers.
fn sharing() -> io::Result<BpfProgram> {
    let rule = |option: libc::c_int| {
        SeccompRule::new(vec![
            is(1, libc::SOL_SOCKET.unsigned_abs().into())?,
            is(2, option.unsigned_abs().into())?,
        ])
    };
    let sizes: Result<Vec<_>, _> = [libc::SO_SNDBUF, libc::SO_SNDBUFFORCE]
        .map(rule)
        .into_iter()
        .collect();
    let rules = [
        (libc::SYS_shutdown, Vec::new()),
        (libc::SYS_setsockopt, sizes.map_err(io::Error::other)?),
    ];
    compile(
        rules.into(),
        SeccompAction::Allow,
        SeccompAction::KillProcess,
    )
}

fn filter(
    calls: &[libc::c_long],
    otherwise: SeccompAction,
    listed: SeccompAction,
) -> io::Result<BpfProgram> {
    let rules = calls.iter().map(|call| (*call, Vec::new())).collect();
    compile(rules, otherwise, listed)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_compile_here() {
        assert!(Sandbox::new().expect("filters").is_on());
        assert!(!Sandbox::off().is_on());
    }
}
