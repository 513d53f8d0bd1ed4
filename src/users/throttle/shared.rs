//! What a store that several servers share adds to the failures counted here: blocks that
//! other servers have caused, until their own end. It never ends a block that has come about here since.

use std::io;
use std::net::IpAddr;

use super::{Record, State, Throttle, Who, source_of};
use crate::ipc::codec::codec;

/// What the store knows of a login.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoginState {
    /// Failures of the address at the account.
    pub login: Failures,
    /// Failures of the address in all.
    pub source: Failures,
    /// Whether the address has logged in to the account before.
    pub is_known: bool,
    /// Whether failures blocked this login.
    pub is_blocked: bool,
}

codec!(struct LoginState { login, source, is_known, is_blocked });

/// Failures that count together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// How many.
    pub count: u32,
    /// How many more seconds they block; 0 if they don't.
    pub left: u64,
}

codec!(struct Failures { count, left });

impl Throttle {
    /// How many more seconds logins from an address are blocked for failures at other
    /// servers; `None` if they are not. Who is known to an account there is let through;
    /// a block that has come about here, [`Throttle::address_blocked`], ends for nobody.
    pub fn address_blocked_elsewhere(&mut self, address: IpAddr, now: u64) -> Option<u64> {
        self.left(&Who::Elsewhere(source_of(address)), now)
    }

    /// Takes over what holds at all servers.
    ///
    /// # Errors
    /// When the file could not be written; it holds all the same.
    pub fn learn(
        &mut self,
        address: IpAddr,
        name: &str,
        shared: &LoginState,
        now: u64,
    ) -> io::Result<()> {
        self.follow_clock(now);
        let source = source_of(address);
        self.write(|state| {
            let login = Who::Login(name.to_owned(), source);
            let mut has_changed = state.block_as(login, shared.login, now);
            if !shared.is_known {
                has_changed |= state.block_as(Who::Elsewhere(source), shared.source, now);
            }
            ((), has_changed)
        })
    }
}

impl State {
    /// Blocks for as long as elsewhere, if that is longer than here.
    fn block_as(&mut self, who: Who, shared: Failures, now: u64) -> bool {
        let until = now.saturating_add(shared.left);
        let known = self.records.get(&who).copied();
        // The clocks' seconds begin at different moments.
        if shared.left == 0 || known.is_some_and(|known| known.until.saturating_add(1) >= until) {
            return false;
        }
        let failures = known.map_or(0, |known| known.failures).max(shared.count);
        let record = Record {
            failures,
            last: now,
            until,
        };
        self.records.insert(who, record);
        true
    }
}
