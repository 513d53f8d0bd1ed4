//! What the hub knows: users, holders, which file of whom lies where, runs, orders and
//! warnings, in one database. Every change checks first and writes then, so a refusal
//! changes nothing; asked twice, each gives the same answer. Nothing here knows a
//! connection.

mod care;
mod copies;
mod database;
mod deletion;
mod holders;
mod lists;
mod logins;
mod orders;
mod placement;
mod report;
mod runs;
mod space;
mod sweep;
#[cfg(test)]
mod tests;
mod uptime;
mod users;

use std::collections::HashSet;

use super::wire::{Code, Label, Reply};

pub use care::{Bound, Mark, Plan, Replayed, Return, Sending, Uncounted};
#[cfg(test)]
use copies::Counted;
pub use copies::{Placed, Wish};
pub use database::Book;
pub use deletion::Removal;
pub use holders::Share;
pub use lists::Listed;
pub use logins::Known;
pub use report::Report;
pub use runs::NewRun;
pub use users::{Account, Settings};

/// The number of a user in the database.
pub type UserId = i64;

/// The users whose holders are online.
pub type Online = HashSet<UserId>;

/// Seconds since 1970, of the hub's clock.
pub type Time = i64;

/// What holds for all users of a hub.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The hub's name, which signatures have.
    pub hub: Label,
    /// Bytes that each user may use without a share.
    pub free: u64,
    /// How many hundredths of its share a user may use beyond that.
    pub ratio: u64,
}

/// Why something is not done.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The peer gets this reply. Nothing has changed.
    #[error("refused: {}", .0.code().text())]
    Refused(Reply),
    /// The database. What was under way is not done.
    #[error("hub.db: {0}")]
    Sql(#[from] rusqlite::Error),
}

impl From<Reply> for Trouble {
    fn from(reply: Reply) -> Trouble {
        Trouble::Refused(reply)
    }
}

impl Trouble {
    /// The code of the reply, for a refusal.
    pub fn code(&self) -> Option<Code> {
        match self {
            Trouble::Refused(reply) => Some(reply.code()),
            Trouble::Sql(_) => None,
        }
    }
}

/// Shorthand for what can be refused.
pub type Result<T> = std::result::Result<T, Trouble>;

/// A number as the database has it.
fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number of the database, which is never negative.
fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
