//! What the daemon says to a zygote or an launcher, and hears from it.

use std::net::SocketAddr;

use crate::ipc::channel::{address_from_bytes, address_to_bytes};

/// Bytes of a message for a connection, without what is behind it: what, slot,
/// port, address, key.
pub const START_LEN: usize = 1 + 4 + 2 + 16 + 16;
/// Bytes of a message to the daemon: slot, how the process ended.
pub const ENDED_LEN: usize = 4 + 1;

const START: u8 = 1;
const RETIRE: u8 = 2;
const STOP: u8 = 3;
const KILL: u8 = 4;
const END: u8 = 5;

/// What the daemon tells such a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order<'a> {
    /// Fork a child; the descriptors it needs are beside the message.
    Start(Start<'a>),
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

/// A connection that is to have a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start<'a> {
    /// The connection's slot.
    pub slot: u32,
    /// The client.
    pub peer: SocketAddr,
    /// What PROCKEY tells: unguessable, the connection's own.
    pub key: [u8; 16],
    /// What else the child needs to know.
    pub rest: &'a [u8],
}

impl<'a> Order<'a> {
    /// The message.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        match self {
            Order::Start(Start {
                slot,
                peer,
                key,
                rest,
            }) => {
                let (slot, port) = (slot.to_be_bytes(), peer.port().to_be_bytes());
                [
                    &[START],
                    &slot[..],
                    &port,
                    &address_to_bytes(peer.ip()),
                    &key,
                    rest,
                ]
                .concat()
            }
            Order::Retire => vec![RETIRE],
            Order::Stop => vec![STOP],
            Order::Kill => vec![KILL],
            Order::End { slot } => [&[END], &slot.to_be_bytes()[..]].concat(),
        }
    }

    /// The order in a message, if it is one.
    #[must_use]
    pub fn from_bytes(bytes: &'a [u8]) -> Option<Order<'a>> {
        match bytes {
            [RETIRE] => Some(Order::Retire),
            [STOP] => Some(Order::Stop),
            [KILL] => Some(Order::Kill),
            [END, slot @ ..] => Some(Order::End {
                slot: u32::from_be_bytes(slot.try_into().ok()?),
            }),
            [START, ..] => {
                let (start, rest) = bytes.split_first_chunk::<START_LEN>()?;
                let slot = u32::from_be_bytes(start[1..5].try_into().ok()?);
                let port = u16::from_be_bytes([start[5], start[6]]);
                let octets: [u8; 16] = start[7..23].try_into().ok()?;
                let peer = SocketAddr::new(address_from_bytes(octets), port);
                let key = start[23..].try_into().ok()?;
                Some(Order::Start(Start {
                    slot,
                    peer,
                    key,
                    rest,
                }))
            }
            _ => None,
        }
    }
}

/// How the process of a connection ended, as the daemon learns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The connection's slot.
    pub slot: u32,
    /// Whether it ended by itself, and not by a signal or a panic.
    pub orderly: bool,
}

impl Ended {
    /// The message.
    #[must_use]
    pub fn to_bytes(self) -> [u8; ENDED_LEN] {
        let [a, b, c, d] = self.slot.to_be_bytes();
        [a, b, c, d, u8::from(self.orderly)]
    }

    /// The news in a message, if it is one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Ended> {
        let [a, b, c, d, orderly] = *bytes else {
            return None;
        };
        Some(Ended {
            slot: u32::from_be_bytes([a, b, c, d]),
            orderly: orderly == 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn orders_and_news_arrive_as_sent() {
        for peer in ["127.0.0.1:9", "[2001:db8::1]:65535"] {
            let peer = peer.parse().expect("address");
            let order = Order::Start(Start {
                slot: 70_000,
                peer,
                key: [9; 16],
                rest: b"more",
            });
            assert_eq!(Order::from_bytes(&order.to_bytes()), Some(order));
        }
        for order in [
            Order::Retire,
            Order::Stop,
            Order::Kill,
            Order::End { slot: 70_000 },
        ] {
            assert_eq!(Order::from_bytes(&order.to_bytes()), Some(order));
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
