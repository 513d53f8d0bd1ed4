//! An account as the daemon knows it: the identity of its sessions and what
//! they may do, without its hash.

use super::account::{Account, Rights};
use super::identity::Identity;

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

impl Login {
    /// The login of an account whose system user was looked up.
    #[must_use]
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

    /// The login as bytes, for another process of tfd.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![match self.rights {
            Rights::Full => 0,
            Rights::ReadOnly => 1,
            Rights::AppendOnly => 2,
        }];
        bytes.extend_from_slice(&self.max_sessions.unwrap_or(0).to_be_bytes());
        bytes.extend_from_slice(&self.rate.unwrap_or(0).to_be_bytes());
        bytes.extend_from_slice(&self.quota.unwrap_or(0).to_be_bytes());
        for text in [&self.name, &self.home] {
            bytes.extend_from_slice(&(text.len() as u16).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes.extend(self.identity.to_bytes());
        bytes
    }

    /// The login in such bytes, if they are one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Login> {
        let (rights, bytes) = bytes.split_first()?;
        let rights = match rights {
            0 => Rights::Full,
            1 => Rights::ReadOnly,
            2 => Rights::AppendOnly,
            _ => return None,
        };
        let (max, bytes) = bytes.split_first_chunk::<4>()?;
        let max = u32::from_be_bytes(*max);
        let (rate, bytes) = bytes.split_first_chunk::<8>()?;
        let rate = u64::from_be_bytes(*rate);
        let (quota, mut bytes) = bytes.split_first_chunk::<8>()?;
        let quota = u64::from_be_bytes(*quota);
        let mut text = || {
            let (len, rest) = bytes.split_first_chunk::<2>()?;
            let (text, rest) = rest.split_at_checked(u16::from_be_bytes(*len).into())?;
            bytes = rest;
            String::from_utf8(text.to_vec()).ok()
        };
        let (name, home) = (text()?, text()?);
        let identity = Identity::from_bytes(bytes)?;
        let max_sessions = (max > 0).then_some(max);
        let rate = (rate > 0).then_some(rate);
        let quota = (quota > 0).then_some(quota);
        Some(Login {
            name,
            identity,
            home,
            rights,
            max_sessions,
            rate,
            quota,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
