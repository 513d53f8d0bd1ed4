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
    /// What else the child needs to know.
    pub rest: Vec<u8>,
    /// The descriptors that it needs.
    pub handles: Vec<OwnedFd>,
}

codec!(struct Start { slot, peer, key, rest, handles });

/// How the process of a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The connection's slot.
    pub slot: u32,
    /// Whether it ended by itself, and not by a signal or a panic.
    pub orderly: bool,
}

codec!(struct Ended { slot, orderly });

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::codec::{Decode, Encode};
    use proptest::prelude::*;

    #[test]
    fn orders_and_news_arrive_as_sent() {
        for peer in ["127.0.0.1:9", "[2001:db8::1]:65535"] {
            let start = Start {
                slot: 70_000,
                peer: peer.parse().expect("address"),
                key: [9; 16],
                rest: b"more".to_vec(),
                handles: Vec::new(),
            };
            let sent = format!("{start:?}");
            let order = Order::from_bytes(&Order::Start(start).to_bytes());
            assert_eq!(
                format!("{:?}", order.expect("order")),
                format!("Start({sent})")
            );
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
        let ended = Ended {
            slot: 70_000,
            orderly: true,
        };
        assert_eq!(Ended::from_bytes(&ended.to_bytes()), Some(ended));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..48)) {
            let _ = (Order::from_bytes(&bytes), Ended::from_bytes(&bytes));
        }
    }
}
