//! What a session and the broker say to each other: the lines of the session's peer,
//! which the session has found to be allowed, and the lines that the peer gets. Whose
//! channel it is decides who speaks; nothing in a message does.

use std::net::IpAddr;

use crate::hub::wire::{Key, Line, Role, User};
use crate::ipc::codec::codec;

/// The most bytes of a message. The broker puts lines into several messages, if they
/// are more.
pub const MAX_MESSAGE: usize = 8192;

/// Who has logged in: from the daemon, with the session's channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// The user.
    pub user: User,
    /// What its machine is on this line.
    pub role: Role,
    /// The key that this role signs with, as the authenticator knows it.
    pub key: Key,
    /// Where the line comes from.
    pub peer: IpAddr,
    /// The most bytes that the account may use.
    pub quota: Option<u64>,
    /// The user with whom it is one person.
    pub pool: Option<User>,
    /// Whether it may not delete.
    pub is_append_only: bool,
}

codec!(struct Card { user, role, key, peer, quota, pool, is_append_only });

/// What a session sends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "passed on, one at a time")]
pub enum FromSession {
    /// It serves from now on: `Entered`.
    Enter,
    /// Its peer's request, notice or answer.
    Line(Line),
}

codec!(enum FromSession { 1 => Enter, 2 => Line(line) });

/// What the broker sends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "passed on, one at a time")]
pub enum ToSession {
    /// The session's user is known.
    Entered {
        /// Whether it has to say first what it shares.
        needs_share: bool,
    },
    /// Answers to one request of the peer, with its number.
    Answers {
        /// They, in this order.
        lines: Vec<Line>,
        /// Whether no more follow.
        is_last: bool,
    },
    /// A request, with a number of the broker's, or a notice.
    Push(Line),
}

codec!(enum ToSession {
    1 => Entered { needs_share },
    2 => Answers { lines, is_last },
    3 => Push(line),
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::wire::Value;
    use crate::ipc::codec::{Decode, Encode};

    fn line(text: &str) -> Line {
        Line::parse(text.as_bytes()).expect(text)
    }

    #[test]
    fn messages_arrive_as_sent_and_nothing_else_is_one() {
        let key = "N78UC4ahUtSig_Eg5NZKmo8V7MCCDmlJJdRJTzZ5cHU";
        let card = Card {
            user: User::read("anna").expect("name"),
            role: Role::Owner,
            key: Key::read(key).expect("key"),
            peer: "2001:db8::7".parse().expect("address"),
            quota: Some(1 << 40),
            pool: None,
            is_append_only: true,
        };
        assert_eq!(Card::from_bytes(&card.to_bytes()), Some(card.clone()));
        let mut bytes = card.to_bytes().to_vec();
        bytes[4] = b'A';
        assert_eq!(Card::from_bytes(&bytes), None);
        for message in [FromSession::Enter, FromSession::Line(line("GIP bob id=7"))] {
            let bytes = message.to_bytes();
            assert_eq!(FromSession::from_bytes(&bytes), Some(message));
            assert_eq!(FromSession::from_bytes(&bytes[..bytes.len() - 1]), None);
        }
        let answers = ToSession::Answers {
            lines: vec![line("212 Transfer completed ; id=7"), line("406 x ; id=7")],
            is_last: true,
        };
        for message in [
            ToSession::Entered { needs_share: true },
            answers,
            ToSession::Push(line("NFI")),
        ] {
            assert_eq!(ToSession::from_bytes(&message.to_bytes()), Some(message));
        }
        for text in ["GIP bob", "GIP bob\n", "XYZ\r\n", "GIP b\0b\r\n", "\r\n"] {
            let bytes = [&[2][..], &text.to_owned().to_bytes()].concat();
            assert_eq!(FromSession::from_bytes(&bytes), None, "{text:?}");
        }
        let long = format!("GIP bob a={}\r\n", "x".repeat(4096));
        assert_eq!(Line::from_bytes(&long.to_bytes()), None);
    }
}
