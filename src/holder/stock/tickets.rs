//! Tickets: what the hub has said that a peer may come for. Each ends after ten
//! minutes, unless its peer has a line. And where this holder meets a peer that does not
//! reach it.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use super::Time;
use super::message::Call;
use crate::hub::wire::{Key, Kind, Name, Purpose, Token, User, Way};

/// How long a ticket waits for its peer, in seconds.
const LIFE: Time = 600;

/// The most tickets.
const MOST: usize = 1024;

/// How many tokens of the relay are remembered: some come twice.
const MOST_KNOWN: usize = 64;

/// Peers that wait at the hub's relay.
#[derive(Debug, Default)]
pub struct Calls {
    waiting: Vec<Call>,
    known: VecDeque<Token>,
}

impl Calls {
    /// Takes note of the way of a peer. The relay is where the hub is, and nowhere else.
    pub fn add(&mut self, hub: Option<IpAddr>, way: &Way) {
        let Calls { waiting, known } = self;
        if let (Way::Relay { port, token, .. }, Some(hub)) = (way, hub)
            && !known.contains(token)
        {
            known.truncate(MOST_KNOWN - 1);
            known.push_front(*token);
            waiting.push(Call {
                address: SocketAddr::new(hub, *port),
                token: Some(*token),
            });
        }
    }

    /// Those to which nobody has gone.
    pub fn take(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.waiting)
    }
}

/// A file that may come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Its name.
    pub name: Name,
    /// Its bytes.
    pub size: u64,
    /// What it is.
    pub kind: Kind,
    /// Whose it is.
    pub owner: User,
    /// The key that signs for the owner.
    pub key: Key,
}

/// What a peer may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Right {
    /// Send this file.
    Send(Expected),
    /// Fetch this file, or any of its own.
    Fetch(Option<Name>),
    /// Ask for checksums.
    Check,
}

/// A ticket.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// Whose it is.
    pub user: User,
    /// The key that the peer signs by.
    pub key: Key,
    /// What its line is for.
    pub purpose: Purpose,
    /// What it may do.
    pub right: Right,
}

/// All of them, each with its end.
#[derive(Debug, Default)]
pub struct Tickets(Vec<(Ticket, Time)>);

impl Tickets {
    /// Adds one, in place of an equal one; whether there is room for it.
    #[must_use]
    pub fn add(&mut self, ticket: Ticket, now: Time) -> bool {
        self.0
            .retain(|(it, _)| it.user != ticket.user || it.right != ticket.right);
        if self.0.len() >= MOST {
            return false;
        }
        self.0.push((ticket, now + LIFE));
        true
    }

    /// Those of a user.
    pub fn of<'a>(&'a self, user: &'a User) -> impl Iterator<Item = &'a Ticket> {
        let all = self.0.iter().map(|(ticket, _)| ticket);
        all.filter(move |ticket| ticket.user == *user)
    }

    /// What a user may send under this name.
    pub fn expected(&self, user: &User, key: &Key, name: Name) -> Option<&Expected> {
        let mine = |it: &&(Ticket, Time)| it.0.user == *user && it.0.key == *key;
        let mut rights = self.0.iter().filter(mine);
        rights.find_map(|(it, _)| match &it.right {
            Right::Send(expected) if expected.name == name => Some(expected),
            _ => None,
        })
    }

    /// Whether a user may fetch a file of this name, whosever it is.
    pub fn may_fetch(&self, user: &User, key: &Key, name: Name) -> bool {
        let mut rights = self.of(user).filter(|it| it.key == *key);
        rights.any(|it| it.right == Right::Fetch(Some(name)))
    }

    /// Ends the one for a file that has come.
    pub fn used(&mut self, user: &User, name: Name) {
        let is_it = |right: &Right| matches!(right, Right::Send(it) if it.name == name);
        self.0
            .retain(|(it, _)| it.user != *user || !is_it(&it.right));
    }

    /// Ends all of a user.
    pub fn end(&mut self, user: &User) {
        self.0.retain(|(it, _)| it.user != *user);
    }

    /// Ends those whose time is over, of users without a line.
    pub fn expire(&mut self, now: Time, has_line: impl Fn(&User) -> bool) {
        self.0
            .retain(|(it, until)| *until > now || has_line(&it.user));
    }

    /// Bytes that may come.
    pub fn reserved(&self) -> u64 {
        let sizes = self.0.iter().map(|(it, _)| match &it.right {
            Right::Send(expected) => expected.size,
            _ => 0,
        });
        sizes.sum()
    }
}
