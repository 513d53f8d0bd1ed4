//! What becomes of copies without their owner: files that lack copies are healed, those
//! of a holder that is gone or leaves go elsewhere, and a holder that has lost its store
//! gets it back.

mod away;
mod heal;
mod replay;
mod returns;
mod scores;
mod warnings;

use super::{Time, UserId};
use crate::hub::wire::{Kind, Name};

pub use away::Uncounted;
pub use heal::Plan;
pub use replay::Replayed;
pub use returns::Return;
pub use scores::Mark;

/// How long a file waits that can't be healed now, for the first time and at most, in
/// seconds.
const PAUSE: Time = 5;
const LONGEST_PAUSE: Time = 3600;

/// A copy on its way to a holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bound {
    /// Whose file it is.
    pub owner: UserId,
    /// The file.
    pub name: Name,
    /// Who gets the copy.
    pub to: UserId,
}

/// What another holder is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sending {
    /// Who sends it.
    pub source: UserId,
    /// Its bytes.
    pub size: u64,
    /// What it is.
    pub kind: Kind,
}
