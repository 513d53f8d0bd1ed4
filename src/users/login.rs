//! An account as the daemon knows it: the identity of its sessions and what
//! they may do, without its hash.

use super::account::{Account, Rights};
use super::identity::Identity;
use crate::ipc::codec::codec;

/// What the daemon needs to start a session of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The name of the account.
    pub name: String,
    /// The identity its sessions take.
    pub identity: Identity,
    /// The directory beneath the root that is their root; empty for the root
    /// itself.
    pub home: String,
    /// What they may do to files.
    pub rights: Rights,
    /// The most sessions at once; `None` if unlimited.
    pub max_sessions: Option<u32>,
    /// The most bytes a second of one session; `None` if unlimited.
    pub rate: Option<u64>,
    /// The most bytes its system user may have stored.
    pub quota: Option<u64>,
}

codec!(struct Login { name, identity, home, rights, max_sessions, rate, quota });
codec!(enum Rights { 0 => Full, 1 => ReadOnly, 2 => AppendOnly });

impl Login {
    /// The login of an account whose system user was looked up.
    pub fn new(account: &Account, identity: Identity) -> Login {
        Login {
            name: account.name.clone(),
            identity,
            home: account.home.clone(),
            rights: account.options.rights,
            max_sessions: account.options.max_sessions,
            rate: account.options.rate,
            quota: account.options.quota,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::codec::{Decode, Encode};
    use proptest::prelude::*;

    #[test]
    fn a_login_arrives_as_sent() {
        let identity = Identity::of("root").expect("root");
        for (rights, max_sessions, rate) in [
            (Rights::Full, None, None),
            (Rights::ReadOnly, Some(3), None),
            (Rights::AppendOnly, None, Some(1 << 40)),
        ] {
            let (name, home) = ("ann".to_owned(), "sites/ann".to_owned());
            let identity = identity.clone();
            let quota = rate.map(|rate| rate * 3);
            let login = Login {
                name,
                identity,
                home,
                rights,
                max_sessions,
                rate,
                quota,
            };
            assert_eq!(Login::from_bytes(&login.to_bytes()), Some(login));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Login::from_bytes(&bytes);
        }
    }
}
