//! What gates and sessions say to the broker, and what it says to them. Whose channel
//! it is decides who speaks; nothing in a message does.

use std::net::IpAddr;
use std::os::fd::OwnedFd;

use crate::hub::prober::{Job, Probed};
use crate::hub::wire::{
    Checksum, Exporter, Key, Line, LoginKey, Random, Role, Signature, Token, User,
};
use crate::ipc::Pipe;
use crate::ipc::codec::codec;
use crate::ipc::orders::Tag;
use crate::session::login::{AskingGate, GatePipe};

/// The most lines in a message.
pub const MOST_LINES: usize = 32;

/// Who has a new channel: from the daemon.
#[derive(Debug)]
pub enum NewCaller {
    /// A gate.
    Gate(AskingGate),
    /// A session.
    Session {
        /// Whom it serves.
        card: Card,
        /// The channel to it.
        channel: Pipe<ToSession, FromSession>,
    },
    /// The prober, in place of the one before.
    Prober(Pipe<Job, Probed>),
    /// The session of a relay line.
    Relay {
        /// Whom it serves.
        user: User,
        /// The channel to it.
        channel: Pipe<ToRelay, FromRelay>,
    },
}

codec!(enum NewCaller {
    1 => Gate(gate),
    2 => Session { card, channel },
    3 => Prober(channel),
    4 => Relay { user, channel },
});

/// Whom a session serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// The user.
    pub user: User,
    /// What its machine is on this line.
    pub role: Role,
    /// Where the line comes from.
    pub peer: IpAddr,
}

codec!(struct Card { user, role, peer });

/// A gate whose client is in: to the daemon.
#[derive(Debug)]
pub struct Admitted {
    /// Its connection.
    pub tag: Tag,
    /// Who has logged in.
    pub user: User,
    /// As what; `None` on a relay line.
    pub role: Option<Role>,
    /// The channel to it.
    pub gate: GatePipe,
}

codec!(struct Admitted { tag, user, role, gate });

/// What a gate asks.
#[derive(Debug)]
pub enum Ask {
    /// A challenge for who wants to log in.
    LogIn {
        /// The name.
        user: User,
        /// What its machine is on this line.
        role: Role,
        /// What both ends have exported from TLS; `None` on a line without it.
        exporter: Option<Exporter>,
    },
    /// Whether the response to it fits.
    Respond {
        /// The response.
        response: Checksum,
        /// The signature, where there is one.
        sig: Option<Signature>,
    },
    /// Whether a key is taken, of who is in but for that.
    Key {
        /// The key.
        key: Key,
        /// The login key, where there is one.
        login: Option<LoginKey>,
        /// The proof, where there is one.
        proof: Option<Signature>,
    },
    /// Whose token of the relay this is.
    Relay(Token),
}

codec!(enum Ask {
    1 => LogIn { user, role, exporter },
    2 => Respond { response, sig },
    3 => Key { key, login, proof },
    4 => Relay(token),
});

/// What a gate is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "passed on, one at a time")]
pub enum Answer {
    /// The challenge.
    Challenge {
        /// Seconds since 1970.
        time: u64,
        /// What was drawn.
        random: Random,
    },
    /// A session of the client follows.
    Admitted,
    /// The client gets this reply, to its request.
    Reply(Line),
    /// Nobody logs in now.
    Closed,
}

codec!(enum Answer {
    1 => Challenge { time, random },
    2 => Admitted,
    3 => Reply(line),
    4 => Closed,
});

/// What the session of a relay line sends: its peer is here.
#[derive(Debug)]
pub struct FromRelay {
    /// Its token.
    pub token: Token,
    /// Its connection.
    pub socket: OwnedFd,
}

codec!(struct FromRelay { token, socket });

/// What the broker sends to it, once the other peer is here, too.
#[derive(Debug)]
pub enum ToRelay {
    /// Pass bytes on between it and this connection.
    Splice(OwnedFd),
    /// Another session does.
    Met,
}

codec!(enum ToRelay { 1 => Splice(socket), 2 => Met });

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

/// What the broker sends to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "passed on, one at a time")]
pub enum ToSession {
    /// The session's user is known.
    Entered {
        /// Whether it has to say first what it shares.
        needs_share: bool,
        /// Whether it is to name all that it has.
        replays: bool,
    },
    /// Answers to one request of the peer, with its number.
    Answers {
        /// They, in this order, at most [`MOST_LINES`].
        lines: Vec<Line>,
        /// Whether no more follow.
        is_last: bool,
    },
    /// A request, with a number of the broker's, or a notice.
    Push(Line),
}

codec!(enum ToSession {
    1 => Entered { needs_share, replays },
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
        let card = Card {
            user: User::read("anna").expect("name"),
            role: Role::Owner,
            peer: "2001:db8::7".parse().expect("address"),
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
            ToSession::Entered {
                needs_share: true,
                replays: false,
            },
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
