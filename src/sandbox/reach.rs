//! The sandboxes of processes that open connections of their own, those of the
//! proxy and those that ask name servers: like all others except for one kind of
//! socket.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use landlock::{
    Access, AccessFs, AccessNet, NetPort, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, Scope,
};

use rustix::fs::{Mode, OFlags};
use seccompiler::SeccompRule;

use crate::sandbox::{
    CHANGES, DEADLY, Filters, KNOWN, KNOWN_HERE, LANDLOCK, Sandbox, When, allowed, alone, deadly,
    gates, only, rule, rules, sharing,
};

/// What lookups of names read.
const LOOKUP: [&str; 8] = [
    "/etc",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
];

/// The directories that lookups of names read, as far as this system has them.
pub fn lookup_directories() -> impl Iterator<Item = OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = move |path| rustix::fs::open(path, flags, Mode::empty()).ok();
    LOOKUP.into_iter().filter_map(open)
}

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
    /// TCP over IPv4 and IPv6, also to listen.
    Data,
}

/// The calls to make and use them, and those to listen.
const CALLS: &[libc::c_long] = &[libc::SYS_socket, libc::SYS_connect, libc::SYS_bind];
const LISTENING: &[libc::c_long] = &[libc::SYS_listen, libc::SYS_accept, libc::SYS_accept4];

impl Sandbox {
    /// The sandbox of a process that may open such connections itself.
    ///
    /// # Errors
    /// When this processor is not one the filters are for.
    pub fn reaching(&self, reach: Reach) -> io::Result<Sandbox> {
        if !self.is_on() {
            return Ok(Sandbox::off());
        }
        let listening = if reach == Reach::Data { LISTENING } else { &[] };
        let added = [CALLS, listening].concat();
        let calls = DEADLY.iter().copied();
        let calls: Vec<_> = calls.filter(|call| !added.contains(call)).collect();
        let mut known = allowed([KNOWN, KNOWN_HERE])?;
        known.extend(added.into_iter().map(|call| (call, Vec::new())));
        known.insert(libc::SYS_socket, sockets(reach)?);
        if reach == Reach::Names {
            // The C library loads what it looks names up with.
            known.extend([libc::SYS_mmap, libc::SYS_mprotect].map(|call| (call, Vec::new())));
        }
        let known = only(known)?;
        let filters = Filters {
            known_to_launchers: known.clone(),
            known,
            deadly: deadly(&calls)?,
            deadly_to_leaves: alone(CHANGES),
            deadly_to_gates: gates(),
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

impl Sandbox {
    /// Leaves the process the files beneath these directories for reading, and of TCP
    /// only connections to this port and, if there are any, that of name servers, which
    /// nobody asks without files.
    ///
    /// # Errors
    /// The system's. The process must end then.
    pub fn limit_to_server(&self, port: u16, files: &[BorrowedFd<'_>]) -> io::Result<()> {
        let restrict = || -> Result<(), RulesetError> {
            let reading = AccessFs::ReadFile | AccessFs::ReadDir;
            let mut rules = rules()?;
            let asks_names = !files.is_empty();
            for port in std::iter::once(port).chain(asks_names.then_some(DNS)) {
                rules = rules.add_rule(NetPort::new(port, AccessNet::ConnectTcp))?;
            }
            for directory in files {
                rules = rules.add_rule(PathBeneath::new(directory, reading))?;
            }
            rules.restrict_self().map(drop)
        };
        if self.is_on() {
            restrict().map_err(io::Error::other)
        } else {
            Ok(())
        }
    }

    /// Leaves the process the files beneath `top` for reading, and of TCP what its
    /// sandbox has: the ports are too many for a list.
    ///
    /// # Errors
    /// The system's. The process must end then.
    pub fn limit_to_sockets(&self, top: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let restrict = || -> Result<(), RulesetError> {
            let rules = Ruleset::default()
                .handle_access(AccessFs::from_all(LANDLOCK))?
                .scope(Scope::from_all(LANDLOCK))?;
            let mut rules = rules.create()?;
            if let Some(top) = top {
                let reading = AccessFs::ReadFile | AccessFs::ReadDir;
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
        Reach::Tcp | Reach::Data => libc::SOCK_STREAM,
        Reach::Udp => libc::SOCK_DGRAM,
        Reach::Names => return Ok(Vec::new()),
    };
    let of = |family: libc::c_int| {
        rule(&[
            When::Is(0, family.cast_unsigned()),
            // The flags are ignored.
            When::Bits(1, 0xf, kind.cast_unsigned()),
            When::Is(2, 0),
        ])
    };
    [libc::AF_INET, libc::AF_INET6]
        .map(of)
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_compile_here() {
        let plain = Sandbox::new().expect("filters");
        for reach in [Reach::Tcp, Reach::Udp, Reach::Names, Reach::Data] {
            assert!(plain.reaching(reach).expect("filters").is_on());
            assert!(!Sandbox::off().reaching(reach).expect("none").is_on());
        }
    }
}
