//! What a store that several servers share adds to the failures counted here: blocks that
//! other servers have caused, until their own end, and that an operator has freed somebody
//! elsewhere. It never ends a block that has come about here since.

use std::io;
use std::net::IpAddr;

use super::{Record, State, Target, Throttle, Who, source_of};
use crate::ipc::codec::codec;

codec!(enum Target { 1 => Address(address), 2 => Account(name) });

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
    /// How many seconds ago an operator has freed the account.
    pub account_freed: Option<u64>,
    /// The same of the address.
    pub source_freed: Option<u64>,
}

codec!(struct LoginState { login, source, is_known, is_blocked, account_freed, source_freed });

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
            let mut has_changed = state.free_older(source, name, shared, now);
            let login = Who::Login(name.to_owned(), source);
            has_changed |= state.block_as(login, shared.login, now);
            if !shared.is_known {
                has_changed |= state.block_as(Who::Elsewhere(source), shared.source, now);
            }
            ((), has_changed)
        })
    }
}

impl State {
    /// Forgets what is older than the word of an operator.
    fn free_older(&mut self, source: IpAddr, name: &str, shared: &LoginState, now: u64) -> bool {
        let is_older = |record: &Record, age: Option<u64>| {
            age.is_some_and(|age| record.last.saturating_add(age) <= now)
        };
        let before = self.records.len();
        self.records.retain(|who, record| match who {
            Who::Address(of) | Who::Elsewhere(of) if *of == source => {
                !is_older(record, shared.source_freed)
            }
            Who::Login(of, from) if of == name && *from == source => {
                let ages = [shared.account_freed, shared.source_freed];
                !ages.into_iter().any(|age| is_older(record, age))
            }
            _ => true,
        });
        before != self.records.len()
    }

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
