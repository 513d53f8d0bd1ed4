//! What a request does to files: its place among a session's rights.

use crate::users::Rights;

/// What a request does to files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It changes nothing.
    Reads,
    /// It only adds what does not exist yet, or can be restricted to that.
    Adds,
    /// It replaces, alters or removes.
    Changes,
}

impl Effect {
    /// Whether a session with these rights may do it.
    pub fn is_allowed(self, rights: Rights) -> bool {
        match rights {
            Rights::Full => true,
            Rights::AppendOnly => self != Effect::Changes,
            Rights::ReadOnly => self == Effect::Reads,
        }
    }
}
