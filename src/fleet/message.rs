//! What the daemon and the authenticator say to the process at the store, and what they
//! hear from it.

use std::net::IpAddr;

use crate::ipc::Pipe;
use crate::ipc::codec::codec;
use crate::ipc::orders::Tag;
use crate::store::usage::{Counter, Counts, Used};
use crate::users::throttle::Target;
use crate::users::throttle::shared::LoginState;

/// The most counters in one message: a longer one would not fit into a channel.
pub const MOST_COUNTERS: usize = 1024;

/// From the daemon.
#[derive(Debug)]
pub enum ToState {
    /// Somebody who may ask, such as an authenticator.
    Caller(Pipe<Answer, Question>),
    /// A session of an account has begun, or is still running after a restart.
    Began {
        /// Its connection.
        tag: Tag,
        /// The account.
        account: String,
    },
    /// It has ended, or did not begin.
    Ended {
        /// Its connection.
        tag: Tag,
        /// The account.
        account: String,
    },
    /// Sessions are to end at all servers.
    Kick(Kicked),
    /// An operator has freed an account or an address.
    Free(Target),
    /// What is stored now, by this server's counters.
    Usage(Vec<Used>),
    /// May this server count what is stored?
    MayCount,
    /// It has, and this is a part of the result.
    Counted {
        /// The part.
        counts: Counts,
        /// Whether it is the last.
        is_last: bool,
    },
}

codec!(enum ToState {
    1 => Caller(caller),
    2 => Began { tag, account },
    3 => Ended { tag, account },
    4 => Kick(whom),
    5 => Free(target),
    6 => Usage(used),
    7 => MayCount,
    8 => Counted { counts, is_last },
});

/// To the daemon.
#[derive(Debug, PartialEq, Eq)]
pub enum FromState {
    /// Sessions that another server wants ended.
    Kick {
        /// Which.
        whom: Kicked,
        /// How long ago that was, in milliseconds: later sessions stay.
        age: u64,
    },
    /// What all servers have stored, without what this one has not published yet.
    Usage(Counts),
    /// Whether this server may count what is stored now.
    MayCount(bool),
    /// Whether a count is that of all servers from now on.
    Counted(bool),
    /// The store is gone: what this server has counted is its own.
    CountedAlone,
}

codec!(enum FromState {
    1 => Kick { whom, age },
    2 => Usage(used),
    3 => MayCount(may),
    4 => Counted(is_taken),
    5 => CountedAlone,
});

/// Whose sessions are to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kicked {
    /// Those of a user.
    User(String),
    /// Those from an address.
    Address(IpAddr),
}

codec!(enum Kicked { 1 => User(name), 2 => Address(address) });

codec!(enum Counter { 1 => All, 2 => User(uid) });

codec!(struct Used { counter, added, stored });

/// A question of the authenticator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Its number, which the answer has.
    pub number: u64,
    /// What is asked.
    pub what: What,
}

codec!(struct Question { number, what });

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Is this login blocked?
    Check(Attempt),
    /// It has failed, unless it was blocked meanwhile.
    Failed(Attempt),
    /// It is right, unless it was blocked meanwhile.
    Succeeded(Attempt),
    /// One more session of an account, of which there may be so many.
    Begin {
        /// Its connection.
        tag: Tag,
        /// The account.
        account: String,
        /// The most.
        most: u32,
    },
}

codec!(enum What {
    1 => Check(attempt),
    2 => Failed(attempt),
    3 => Succeeded(attempt),
    4 => Begin { tag, account, most },
});

/// A login.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// The name, if an account may have it.
    pub account: Option<String>,
    /// Where it comes from, as the throttle counts it.
    pub source: IpAddr,
    /// Whether it has logged in from there to the account at this server before.
    pub is_known: bool,
}

codec!(struct Attempt { account, source, is_known });

/// An answer to the authenticator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The number of the question.
    pub number: u64,
    /// What the store says; `None` if it says nothing.
    pub said: Option<Said>,
}

codec!(struct Answer { number, said });

/// What the store says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Of a login.
    Login(LoginState),
    /// Whether one more session may begin.
    May(bool),
}

codec!(enum Said { 1 => Login(state), 2 => May(may) });
