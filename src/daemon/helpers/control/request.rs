//! An operator's request on the control socket: one line of text.

use std::net::{IpAddr, SocketAddr};

use crate::users::throttle::{Target, source_of};

/// The longest line, in bytes.
pub const MAX_LINE: usize = 1024;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The connections and what they do, as JSON.
    Status,
    /// A line with the addresses listened on, and one with the configuration's
    /// path.
    Serving,
    /// End sessions.
    Kick(Whom),
    /// Have the other servers free an account or an address.
    Free(Target),
    /// Have the holder connect to an owner who waits at this address.
    Call(SocketAddr),
}

/// Which sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// That of a slot.
    Slot(u32),
    /// Those of a user.
    User(String),
    /// Those from an address.
    Address(IpAddr),
    /// All.
    All,
}

impl Request {
    /// The line, without its end.
    pub fn to_line(&self) -> String {
        match self {
            Request::Status => "status json".to_owned(),
            Request::Serving => "serving".to_owned(),
            Request::Kick(Whom::Slot(slot)) => format!("kick slot {slot}"),
            Request::Kick(Whom::User(user)) => format!("kick user {user}"),
            Request::Kick(Whom::Address(address)) => format!("kick address {address}"),
            Request::Kick(Whom::All) => "kick all".to_owned(),
            Request::Free(Target::Address(address)) => format!("free address {address}"),
            Request::Free(Target::Account(name)) => format!("free account {name}"),
            Request::Call(address) => format!("call {address}"),
        }
    }

    /// The request in a line, if it is one.
    pub fn from_line(line: &[u8]) -> Option<Request> {
        let line = std::str::from_utf8(line).ok()?;
        if let Some(target) = line.strip_prefix("free ") {
            return Some(Request::Free(match target.split_once(' ')? {
                ("address", address) => Target::Address(source_of(address.parse().ok()?)),
                ("account", name) => Target::Account(name.to_owned()),
                _ => return None,
            }));
        }
        if let Some(address) = line.strip_prefix("call ") {
            return Some(Request::Call(address.parse().ok()?));
        }
        let whom = match line {
            "status json" => return Some(Request::Status),
            "serving" => return Some(Request::Serving),
            "kick all" => Whom::All,
            _ => match line.strip_prefix("kick ")?.split_once(' ')? {
                ("slot", slot) => Whom::Slot(slot.parse().ok()?),
                ("user", user) => Whom::User(user.to_owned()),
                ("address", address) => {
                    Whom::Address(address.parse::<IpAddr>().ok()?.to_canonical())
                }
                _ => return None,
            },
        };
        Some(Request::Kick(whom))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn requests_arrive_as_sent() {
        for request in [
            Request::Status,
            Request::Serving,
            Request::Kick(Whom::Slot(u32::MAX)),
            Request::Kick(Whom::User("a name".to_owned())),
            Request::Kick(Whom::Address("2001:db8::1".parse().expect("address"))),
            Request::Kick(Whom::All),
            Request::Free(Target::Account("ann".to_owned())),
            Request::Free(Target::Address("192.0.2.1".parse().expect("address"))),
            Request::Call("[2001:db8::1]:7171".parse().expect("address")),
        ] {
            assert_eq!(
                Request::from_line(request.to_line().as_bytes()),
                Some(request)
            );
        }
        for wrong in [
            "",
            "kick",
            "kick slot -1",
            "kick slot",
            "status xml",
            "kick address x",
            "free address x",
            "free",
            "call x",
            "call 192.0.2.1",
        ] {
            assert_eq!(Request::from_line(wrong.as_bytes()), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Request::from_line(&bytes);
        }
    }
}
