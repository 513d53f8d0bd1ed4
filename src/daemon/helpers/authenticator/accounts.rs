//! The accounts that clients log in to, by name, and the hash that a password is compared
//! with. Whether a name has an account must not show in how long that takes.

use std::ops::Index;

use crate::users::Account;
use crate::users::hash::{self, Scheme};

/// The accounts of the users file, and a hash for when they have none.
pub(super) struct Accounts {
    all: Vec<Account>,
    nobody: String,
}

impl Accounts {
    /// # Errors
    /// One line, when no hash can be made.
    pub(super) fn new(all: Vec<Account>) -> Result<Accounts, String> {
        let mut password = [0; 32];
        getrandom::fill(&mut password).map_err(|e| e.to_string())?;
        let nobody = hash::make(&password)?;
        Ok(Accounts { all, nobody })
    }

    /// The number of the account of this name.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.all.iter().position(|account| account.name == name)
    }

    /// The hash to check a password against, and whether it is of the account. For an
    /// unknown name, or an account without a password, it is the hash of some account,
    /// always the same: the answer takes as long as for an account of the file.
    pub(super) fn hash_for(&self, found: Option<usize>, name: &str) -> (&str, bool) {
        let has_hash = |account: &&Account| Scheme::of(&account.hash).is_some();
        if let Some(account) = found.map(|index| &self.all[index]).filter(has_hash) {
            return (&account.hash, true);
        }
        let all: Vec<&Account> = self.all.iter().filter(has_hash).collect();
        let sum = name.bytes().fold(0_usize, |sum, b| {
            sum.wrapping_mul(31).wrapping_add(b.into())
        });
        let other = all.get(sum.checked_rem(all.len()).unwrap_or(0));
        (other.map_or(&self.nobody, |other| &other.hash), false)
    }
}

impl Index<usize> for Accounts {
    type Output = Account;

    fn index(&self, index: usize) -> &Account {
        &self.all[index]
    }
}
