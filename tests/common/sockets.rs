//! The sockets of this machine by inode, from `/proc` and, for those between
//! processes, from the kernel's socket diagnostics (sock_diag(7)).

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

/// A socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Socket {
    /// One of a pair that keeps messages apart, and the inode of the other if that
    /// is open; what is shut.
    Channel { peer: Option<u64>, shut: u8 },
    /// Another one between processes, by the name of its file.
    Unix(String),
    /// A TCP socket that listens.
    Listener(SocketAddr),
    /// One that is connected: this end, and the other.
    Connection(SocketAddr, SocketAddr),
    /// A UDP socket.
    Udp(SocketAddr),
}

impl Socket {
    /// What may be done by it.
    pub fn rights(&self) -> &'static str {
        match self {
            Socket::Channel { shut: 1, .. } => "send",
            Socket::Channel { shut: 2, .. } => "receive",
            Socket::Channel { shut: 3, .. } => "none",
            Socket::Listener(_) => "accept",
            _ => "both ways",
        }
    }
}

/// All of them.
pub fn sockets() -> BTreeMap<u64, Socket> {
    let mut all = BTreeMap::new();
    for (file, kind) in [("tcp", 't'), ("tcp6", 't'), ("udp", 'u'), ("udp6", 'u')] {
        let text = fs::read_to_string(format!("/proc/net/{file}")).unwrap_or_default();
        all.extend(text.lines().skip(1).filter_map(|line| internet(line, kind)));
    }
    let text = fs::read_to_string("/proc/net/unix").expect("unix");
    let channels = channels();
    all.extend(
        text.lines()
            .skip(1)
            .filter_map(|line| unix(line, &channels)),
    );
    all
}

fn internet(line: &str, kind: char) -> Option<(u64, Socket)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (here, there) = (address(words.get(1)?)?, address(words.get(2)?)?);
    let socket = match (kind, *words.get(3)?) {
        ('u', _) => Socket::Udp(here),
        (_, "0A") => Socket::Listener(here),
        _ => Socket::Connection(here, there),
    };
    Some((words.get(9)?.parse().ok()?, socket))
}

/// An address as `/proc/net` has it: words of the machine, in hexadecimal.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(ip.get(at..at + 8)?, 16).ok();
    let words: Vec<[u8; 4]> = (0..ip.len() / 8)
        .filter_map(|index| Some(word(8 * index)?.to_ne_bytes()))
        .collect();
    let ip = match <[u8; 16]>::try_from(words.as_flattened()) {
        Ok(bytes) => IpAddr::from(bytes).to_canonical(),
        Err(_) => IpAddr::from(*words.first()?),
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

fn unix(line: &str, channels: &BTreeMap<u64, (Option<u64>, u8)>) -> Option<(u64, Socket)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let inode = words.get(6)?.parse().ok()?;
    let name = Path::new(words.get(7).unwrap_or(&"")).file_name();
    let name = name.unwrap_or_default().to_string_lossy();
    let (kind, listens) = (*words.get(4)?, words.get(3)?.ends_with("10000"));
    let socket = match kind {
        "0005" => {
            let (peer, shut) = channels.get(&inode).copied()?;
            Socket::Channel { peer, shut }
        }
        "0002" => Socket::Unix("datagrams".to_owned()),
        _ if listens => Socket::Unix(format!("socket {name}")),
        _ => Socket::Unix(format!("client of {name}")),
    };
    Some((inode, socket))
}

/// The numbers of the question for sockets between processes, of its answers, and of
/// what is in them.
const BY_FAMILY: u16 = 20;
const ROOT_AND_MATCH: u16 = 0x301;
const DONE: u16 = 3;
const SHOW_PEER: u32 = 4;
const PEER: u16 = 2;
const SHUTDOWN: u16 = 6;

/// The peer of each socket between processes, and what is shut.
fn channels() -> BTreeMap<u64, (Option<u64>, u8)> {
    let asked = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )
    .expect("netlink");
    // A header of 16 bytes: length, type, flags, sequence, sender. Then the family,
    // the states, an inode, what to show, and a cookie.
    let mut question = Vec::new();
    question.extend(40_u32.to_ne_bytes());
    question.extend(BY_FAMILY.to_ne_bytes());
    question.extend(ROOT_AND_MATCH.to_ne_bytes());
    question.extend([0; 8]);
    question.extend([libc::AF_UNIX as u8, 0, 0, 0]);
    for word in [u32::MAX, 0, SHOW_PEER, 0, 0] {
        question.extend(word.to_ne_bytes());
    }
    send(asked.as_raw_fd(), &question, MsgFlags::empty()).expect("question");
    let (mut all, mut buffer) = (BTreeMap::new(), vec![0; 64 << 10]);
    loop {
        let len = recv(asked.as_raw_fd(), &mut buffer, MsgFlags::empty()).expect("answer");
        let mut rest = &buffer[..len];
        while rest.len() >= 16 {
            let (message, next) = rest.split_at(word(rest, 0) as usize);
            if half(message, 4) == DONE {
                return all;
            }
            assert_eq!(half(message, 4), BY_FAMILY, "sock_diag: {message:?}");
            all.insert(word(message, 20).into(), attributes(&message[32..]));
            rest = next;
        }
    }
}

fn attributes(mut rest: &[u8]) -> (Option<u64>, u8) {
    let (mut peer, mut shut) = (None, 0);
    while rest.len() >= 4 {
        let len = usize::from(half(rest, 0));
        match half(rest, 2) {
            PEER => peer = Some(word(rest, 4).into()),
            SHUTDOWN => shut = rest[4],
            _ => {}
        }
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    (peer, shut)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}
