//! The accounts that clients log in to, by name, and the hash that a password is compared
//! with. Whether a name has an account must not show in how long that takes, nor how many
//! accounts there are.

use std::ops::Index;

use crate::users::Account;
use crate::users::hash::{self, Scheme};

/// The accounts of the users file, and a hash for when they have none.
pub(super) struct Accounts {
    all: Vec<Account>,
    /// The numbers of all, in the order of their names.
    by_name: Vec<usize>,
    /// The numbers of those that have a hash.
    with_hash: Vec<usize>,
    nobody: String,
}

impl Accounts {
    /// # Errors
    /// One line, when no hash can be made.
    pub(super) fn new(all: Vec<Account>) -> Result<Accounts, String> {
        let mut password = [0; 32];
        getrandom::fill(&mut password).map_err(|e| e.to_string())?;
        let nobody = hash::make(&password)?;
        let mut by_name: Vec<usize> = (0..all.len()).collect();
        by_name.sort_unstable_by_key(|&index| &all[index].name);
        let with_hash = (0..all.len()).filter(|&index| has_hash(&all[index]));
        Ok(Accounts {
            with_hash: with_hash.collect(),
            by_name,
            all,
            nobody,
        })
    }

    /// The number of the account of this name.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        let name_of = |&index: &usize| self.all[index].name.as_str();
        let place = self.by_name.binary_search_by_key(&name, name_of).ok()?;
        Some(self.by_name[place])
    }

    /// The hash to check a password against, and whether it is of the account. For an
    /// unknown name, or an account without a password, it is the hash of some account,
    /// always the same: the answer takes as long as for an account of the file.
    pub(super) fn hash_for(&self, found: Option<usize>, name: &str) -> (&str, bool) {
        let own = found.map(|index| &self.all[index]);
        if let Some(account) = own.filter(|account| has_hash(account)) {
            return (&account.hash, true);
        }
        let all = &self.with_hash;
        let sum = name.bytes().fold(0_usize, |sum, b| {
            sum.wrapping_mul(31).wrapping_add(b.into())
        });
        let other = all.get(sum.checked_rem(all.len()).unwrap_or(0));
        (
            other.map_or(&self.nobody, |&other| &self.all[other].hash),
            false,
        )
    }
}

fn has_hash(account: &Account) -> bool {
    Scheme::of(&account.hash).is_some()
}

impl Index<usize> for Accounts {
    type Output = Account;

    fn index(&self, index: usize) -> &Account {
        &self.all[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_account_is_found_by_its_name_and_no_other_is() {
        let lines = ["carl:!:c:::", "ann:!:a:::", "bob:!:b:::"];
        let accounts = lines.iter().map(|line| line.parse().expect("account"));
        let accounts = Accounts::new(accounts.collect()).expect("hash");
        for (name, found) in [("carl", 0), ("ann", 1), ("bob", 2)] {
            assert_eq!(accounts.find(name), Some(found), "{name}");
        }
        for name in ["", "a", "annA", "zoe"] {
            assert_eq!(accounts.find(name), None, "{name}");
        }
    }
}
