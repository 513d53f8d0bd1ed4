//! The sandboxes of processes that open connections of their own, those of the
//! proxy and those that ask name servers: like all others except for one kind of
//! socket.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use landlock::{AccessFs, AccessNet, NetPort, PathBeneath, RulesetCreatedAttr, RulesetError};

use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition};

use crate::sandbox::{
    CHANGES, DEADLY, Filters, KNOWN, KNOWN_HERE, Sandbox, SeccompAction, SeccompRule, alone,
    compile, deadly, rules, sharing,
};

/// The port of name servers.
const DNS: u16 = 53;

/// What sockets a process may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// TCP over IPv4 and IPv6.
    Tcp,
    /// UDP over IPv4 and IPv6.
    Udp,
    /// Everything a lookup needs.
    Names,
}

/// The calls to make and use them. None may listen.
const CALLS: [libc::c_long; 3] = [libc::SYS_socket, libc::SYS_connect, libc::SYS_bind];

impl Sandbox {
    /// The sandbox of a process that may open such connections itself.
    ///
    /// # Errors
    /// When this processor is not one the filters are for.
    pub fn reaching(&self, reach: Reach) -> io::Result<Sandbox> {
        if !self.is_on() {
            return Ok(Sandbox::off());
        }
        let calls: Vec<_> = DEADLY
            .iter()
            .copied()
            .filter(|call| !CALLS.contains(call))
            .collect();
        let known = [KNOWN, KNOWN_HERE, &CALLS].concat();
        let mut known: std::collections::BTreeMap<_, _> =
            known.into_iter().map(|call| (call, Vec::new())).collect();
        known.insert(libc::SYS_socket, sockets(reach)?);
        let enosys = SeccompAction::Errno(libc::ENOSYS as u32);
        let filters = Filters {
            known_to_launchers: compile(known.clone(), enosys.clone(), SeccompAction::Allow)?,
            known: compile(known, enosys, SeccompAction::Allow)?,
            deadly: deadly(&calls)?,
            no_fork: alone(&[]),
            deadly_to_leaves: alone(CHANGES),
            deadly_to_sharers: sharing()?,
        };
        Ok(Sandbox(Some(Arc::new(filters))))
    }

    /// Leaves the process no files, and of TCP only connections to this port, from
    /// any port of its own.
    ///
    /// # Errors
    /// The system's. The process must end then.
    pub fn limit_to_port(&self, port: u16) -> io::Result<()> {
        let restrict = || -> Result<(), RulesetError> {
            let rules = rules()?
                .add_rule(NetPort::new(port, AccessNet::ConnectTcp))?
                .add_rule(NetPort::new(0, AccessNet::BindTcp))?;
            rules.restrict_self().map(drop)
        };
        if self.is_on() {
            restrict().map_err(io::Error::other)
        } else {
            Ok(())
        }
    }

    /// Leaves the process the files beneath `top` for reading, and of TCP only
    /// connections to the port of name servers.
    ///
    /// # Errors
    /// The system's. The process must end then.
    pub fn limit_to_names(&self, top: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let restrict = || -> Result<(), RulesetError> {
            let reading = AccessFs::ReadFile | AccessFs::ReadDir;
            let mut rules = rules()?.add_rule(NetPort::new(DNS, AccessNet::ConnectTcp))?;
            if let Some(top) = top {
                rules = rules.add_rule(PathBeneath::new(top, reading))?;
            }
            rules.restrict_self().map(drop)
        };
        if self.is_on() {
            restrict().map_err(io::Error::other)
        } else {
            Ok(())
        }
    }
}

/// Which sockets may be made; without a rule any.
fn sockets(reach: Reach) -> io::Result<Vec<SeccompRule>> {
    let kind = match reach {
        Reach::Tcp => libc::SOCK_STREAM,
        Reach::Udp => libc::SOCK_DGRAM,
        Reach::Names => return Ok(Vec::new()),
    };
    // The flags in the second argument are ignored.
    let kind_only = SeccompCmpOp::MaskedEq(0xf);
    let rule = |family: i32| {
        let condition = |at, operation, value: i32| {
            SeccompCondition::new(
                at,
                SeccompCmpArgLen::Dword,
                operation,
                value.unsigned_abs().into(),
            )
        };
        SeccompRule::new(vec![
            condition(0, SeccompCmpOp::Eq, family)?,
            condition(1, kind_only.clone(), kind)?,
            condition(2, SeccompCmpOp::Eq, 0)?,
        ])
    };
    [libc::AF_INET, libc::AF_INET6]
        .map(rule)
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_compile_here() {
        let plain = Sandbox::new().expect("filters");
        for reach in [Reach::Tcp, Reach::Udp, Reach::Names] {
            assert!(plain.reaching(reach).expect("filters").is_on());
            assert!(!Sandbox::off().reaching(reach).expect("none").is_on());
        }
    }
}
