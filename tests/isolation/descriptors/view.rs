//! What the processes of a server hold, by `/proc`, in the words of the table.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use crate::common::sockets::{Socket, sockets};
use crate::common::{Server, descendants, pids};
use crate::status;

/// A descriptor of a process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    pub descriptor: String,
    pub rights: &'static str,
    /// What it leads to: the same for duplicates.
    pub target: String,
}

/// The processes of a server, and what leads where.
pub struct View<'a> {
    server: &'a Server,
    pub processes: Vec<(u32, &'static str)>,
    sockets: BTreeMap<u64, Socket>,
    /// Who holds each socket.
    holders: BTreeMap<String, BTreeSet<&'static str>>,
}

impl View<'_> {
    pub fn of(server: &Server) -> View<'_> {
        let processes = processes(server);
        let mut holders: BTreeMap<String, BTreeSet<&'static str>> = BTreeMap::new();
        for (pid, process) in &processes {
            for (_, target) in descriptors(*pid) {
                holders.entry(target).or_default().insert(process);
            }
        }
        View {
            server,
            processes,
            sockets: sockets(),
            holders,
        }
    }

    /// What a process holds.
    pub fn held(&self, pid: u32) -> Vec<Held> {
        let held = descriptors(pid).into_iter().filter_map(|(number, target)| {
            let (flags, identity) = info(pid, number)?;
            let (descriptor, rights) = match inode(&target, "socket:[") {
                Some(inode) => self.socket(inode),
                None => (self.name(pid, &target), rights(flags)),
            };
            let descriptor = self.of_log(&target, rights).unwrap_or(descriptor);
            Some(Held {
                descriptor,
                rights,
                target: format!("{target} {identity}"),
            })
        });
        held.collect()
    }

    /// What belongs to the log: where it goes, and the channels to the logger.
    fn of_log(&self, target: &str, rights: &str) -> Option<String> {
        let is_loggers = |target: &str| {
            let holders = self.holders.get(target);
            holders.is_some_and(|holders| holders.contains("logger"))
        };
        let peer = match inode(target, "socket:[").and_then(|inode| self.sockets.get(&inode)) {
            Some(Socket::Channel { peer, .. }) => peer.map(|peer| format!("socket:[{peer}]")),
            Some(_) => return None,
            None => return (is_loggers(target) && target != "/dev/null").then(|| "log".to_owned()),
        };
        match rights {
            "send" if peer.is_some_and(|peer| is_loggers(&peer)) => Some("log".to_owned()),
            "receive" if is_loggers(target) => Some("lines".to_owned()),
            _ => None,
        }
    }

    fn name(&self, pid: u32, target: &str) -> String {
        let is_root =
            fs::read_link(format!("/proc/{pid}/root")).is_ok_and(|root| root == Path::new(target));
        let top = self.server.config_path();
        let top = top.parent().expect("directory");
        let path = Path::new(target.trim_end_matches(" (deleted)"));
        if let Some(kind) = target.strip_prefix("anon_inode:") {
            return kind.trim_matches(['[', ']']).to_owned();
        }
        if let Some(name) = target.strip_prefix("/memfd:") {
            return format!("memory {}", name.trim_end_matches(" (deleted)"));
        }
        match target {
            "/dev/null" => "nothing".to_owned(),
            _ if is_root => "own root".to_owned(),
            _ if target.starts_with("pipe:") => "pipe".to_owned(),
            _ if path == self.server.root() => "root".to_owned(),
            _ if path.starts_with(self.server.root()) => "file of the client".to_owned(),
            _ if path == top => "directory".to_owned(),
            _ => match path.strip_prefix(top) {
                Ok(name) => name.display().to_string(),
                Err(_) => target.to_owned(),
            },
        }
    }

    fn socket(&self, inode: u64) -> (String, &'static str) {
        let Some(socket) = self.sockets.get(&inode) else {
            return ("socket that has ended".to_owned(), "none");
        };
        let ours = self.server.addresses();
        let is_ours = |at: &SocketAddr| {
            let tls = self.server.listening("listening with TLS address=");
            let echo = self.server.listening("listening address=");
            ours.iter().chain(&tls).chain(&echo).any(|of| of == at)
        };
        let name = match socket {
            Socket::Channel { peer, .. } => {
                let peer = peer.and_then(|peer| self.holders.get(&format!("socket:[{peer}]")));
                match peer {
                    Some(holders) => format!("channel to {}", farthest(holders)),
                    None => "channel to nobody".to_owned(),
                }
            }
            Socket::Unix(name) => name.clone(),
            Socket::Listener(at) if is_ours(at) => "listener".to_owned(),
            Socket::Listener(_) => "data listener".to_owned(),
            Socket::Connection(at, _) if is_ours(at) => "client".to_owned(),
            Socket::Connection(..) => "connection".to_owned(),
            Socket::Udp(at) if is_ours(at) => "UDP port".to_owned(),
            Socket::Udp(_) => "UDP socket".to_owned(),
        };
        (name, socket.rights())
    }
}

/// Of those that hold the other end of a channel the one that it is for: others
/// hold it to hand it on.
fn farthest(holders: &BTreeSet<&'static str>) -> &'static str {
    let hand_on = [
        "supervisor",
        "launcher",
        "zygote",
        "next session",
        "session before INJAIL",
    ];
    let last = holders.iter().find(|holder| !hand_on.contains(holder));
    let handed = hand_on.iter().rev().find(|name| holders.contains(*name));
    last.or(handed).expect("a holder")
}

/// What a server's processes are, by the names of docs/architecture.md.
pub fn processes(server: &Server) -> Vec<(u32, &'static str)> {
    let mut all = vec![(server.pid(), "supervisor")];
    let under = |name: &str| -> BTreeSet<u32> {
        let parents = pids(server, name).into_iter();
        parents.flat_map(descendants).map(|(pid, _)| pid).collect()
    };
    let (of_zygote, of_launcher) = (under("tfd-zygote"), under("tfd-launcher"));
    let is_proxy = !pids(server, "tfd-relay").is_empty();
    for (pid, name) in descendants(server.pid()) {
        let may_chroot =
            || status_of(pid, "CapPrm").is_some_and(|set| set.contains(|digit| digit != '0'));
        all.push((
            pid,
            match name.as_str() {
                "tfd-gate" => "gate",
                "tfd-session" if may_chroot() => "session before INJAIL",
                "tfd-session" => "session",
                "tfd-spare" if of_launcher.contains(&pid) => "next session",
                "tfd-spare" if is_proxy => "next relay",
                "tfd-spare" => "next gate",
                "tfd-zygote" if of_zygote.contains(&pid) => "a process that begins",
                "tfd-launcher" if of_launcher.contains(&pid) => "a process that begins",
                "tfd-zygote" if is_proxy => "zygote of a proxy",
                "tfd-udp" if is_proxy => "udp of a proxy",
                "tfd-token" => "reader of tokens",
                "tfd-auth" => "authenticator",
                "tfd-pam" => "pam",
                "tfd-pam-check" => "pam check",
                "tfd-keeper" => "keeper",
                "tfd-zygote" => "zygote",
                "tfd-launcher" => "launcher",
                "tfd-auditor" => "auditor",
                "tfd-logger" => "logger",
                "tfd-udp" => "udp",
                "tfd-pool" => "pool",
                "tfd-tables" => "tables",
                "tfd-sweeper" => "sweeper",
                "tfd-dialer" => "dialer",
                "tfd-uploads" => "uploads",
                "sleep" => "program of on_upload",
                "tfd-resolver" => "resolver",
                "tfd-responder" => "responder",
                "tfd-relay" => "relay",
                _ => "a process that begins",
            },
        ));
    }
    all
}

fn status_of(pid: u32, field: &str) -> Option<String> {
    is_there(pid).then(|| status(pid, field))
}

fn is_there(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}/status")).exists()
}

/// The descriptors of a process and what they lead to; none of one that has ended.
fn descriptors(pid: u32) -> Vec<(u32, String)> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten();
    let descriptor = |entry: fs::DirEntry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        let target = fs::read_link(entry.path()).ok()?;
        Some((number, target.to_string_lossy().into_owned()))
    };
    entries.flatten().filter_map(descriptor).collect()
}

/// How a descriptor was opened, and what distinguishes what it leads to from others
/// of the same name.
fn info(pid: u32, number: u32) -> Option<(u32, String)> {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).ok()?;
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
    let is_identity = |line: &&str| line.starts_with("ino:") || line.starts_with("eventfd-id:");
    let identity: Vec<&str> = info.lines().filter(is_identity).collect();
    Some((
        u32::from_str_radix(flags.trim(), 8).ok()?,
        identity.join(" "),
    ))
}

fn rights(flags: u32) -> &'static str {
    let has = |bits: i32| flags & bits as u32 != 0;
    match flags & 3 {
        _ if has(libc::O_PATH) => "path",
        0 => "read",
        1 if has(libc::O_APPEND) => "append",
        1 => "write",
        _ => "read, write",
    }
}

fn inode(target: &str, kind: &str) -> Option<u64> {
    target.strip_prefix(kind)?.strip_suffix(']')?.parse().ok()
}
