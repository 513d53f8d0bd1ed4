//! The daemon's orders to a zygote or a launcher, and their reports.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use crate::ipc::codec::codec;

/// An order of the daemon.
#[derive(Debug)]
pub enum Order {
    /// Fork a child.
    Start(Start),
    /// Take no more connections, and end after the last child.
    Retire,
    /// Ask all children to end, and end after the last.
    Stop,
    /// End all children now.
    Kill,
    /// Ask the child of this slot to end, and soon end it.
    End {
        /// The slot.
        slot: u32,
    },
}

codec!(enum Order { 1 => Start(start), 2 => Retire, 3 => Stop, 4 => Kill, 5 => End { slot } });

/// A connection that needs a process.
#[derive(Debug)]
pub struct Start {
    /// The connection's slot.
    pub slot: u32,
    /// The client.
    pub peer: SocketAddr,
    /// The connection's unguessable key (PROCKEY).
    pub key: [u8; 16],
    /// The connection's page.
    pub page: OwnedFd,
    /// What else the child needs to know.
    pub rest: Vec<u8>,
    /// The descriptors that it needs.
    pub handles: Vec<OwnedFd>,
}

codec!(struct Start { slot, peer, key, page, rest, handles });

/// What a fork server reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// A connection has its process.
    Begun {
        /// The connection's slot.
        slot: u32,
        /// The process.
        pid: u32,
    },
    /// It has ended.
    Ended(Ended),
}

codec!(enum News { 1 => Begun { slot, pid }, 2 => Ended(ended) });

impl News {
    /// How many forks in a row have failed up to this news.
    pub fn failed_forks(&self) -> u32 {
        match self {
            News::Ended(ended) => ended.failed_forks,
            News::Begun { .. } => 0,
        }
    }
}

/// So many forks in a row fail in a fork server that is of use before it is
/// replaced.
pub const MAX_FAILED_FORKS: u32 = 3;

/// How the process of a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The connection's slot.
    pub slot: u32,
    /// Whether it ended by itself, and not by a signal or a panic.
    pub orderly: bool,
    /// How many forks in a row have failed up to this one; 0 if there was a
    /// process.
    pub failed_forks: u32,
}

codec!(struct Ended { slot, orderly, failed_forks });

/// Which connection a message is about: its slot, and a mark that distinguishes it
/// from one that had the slot before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag {
    /// The slot.
    pub slot: u32,
    /// See [`mark`].
    pub mark: u64,
}

codec!(struct Tag { slot, mark });

/// The mark of the connection with this key, different from others in the slot.
pub fn mark(key: [u8; 16]) -> u64 {
    u64::from_ne_bytes(key.as_chunks().0[0])
}

impl Tag {
    /// The connection with this process key.
    pub fn of(slot: u32, key: [u8; 16]) -> Tag {
        Tag {
            slot,
            mark: mark(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    use crate::ipc::codec::{Decode, Encode};

    #[test]
    fn orders_and_news_arrive_as_sent() {
        for peer in ["127.0.0.1:9", "[2001:db8::1]:65535"] {
            let page = || OwnedFd::from(std::fs::File::open("/dev/null").expect("file"));
            let start = Order::Start(Start {
                slot: 70_000,
                peer: peer.parse().expect("address"),
                key: [9; 16],
                page: page(),
                rest: b"more".to_vec(),
                handles: Vec::new(),
            });
            assert!(Order::from_bytes(&start.to_bytes()).is_none());
            let order = Order::from_message(&start.to_bytes(), vec![page()]);
            let Some(Order::Start(read)) = order else {
                panic!("order");
            };
            assert_eq!(
                (read.slot, read.peer.to_string()),
                (70_000, peer.to_owned())
            );
            assert_eq!((read.key, &read.rest[..]), ([9; 16], &b"more"[..]));
        }
        for order in [
            Order::Retire,
            Order::Stop,
            Order::Kill,
            Order::End { slot: 70_000 },
        ] {
            let read = Order::from_bytes(&order.to_bytes()).expect("order");
            assert_eq!(format!("{read:?}"), format!("{order:?}"));
        }
        let (slot, pid) = (70_000, 9);
        let ended = Ended {
            slot,
            orderly: true,
            failed_forks: 3,
        };
        for news in [News::Begun { slot, pid }, News::Ended(ended)] {
            assert_eq!(News::from_bytes(&news.to_bytes()), Some(news));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..48)) {
            let _ = (Order::from_bytes(&bytes), News::from_bytes(&bytes));
        }
    }
}
