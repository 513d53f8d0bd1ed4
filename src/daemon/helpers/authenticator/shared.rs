//! What other servers know of a login, by the store that they share: it adds blocks, and
//! refuses sessions beyond an account's most. Without it all is as it is without a store.

use std::net::IpAddr;

use super::{Block, Book, Gate, Refusal, Throttle};
use crate::fleet::asker::{Asker, ToStore};
use crate::fleet::message::{Attempt, Said, What};
use crate::session::login::Why;
use crate::users::account::check_name;
use crate::users::throttle::shared::LoginState;
use crate::users::throttle::source_of;

/// How other servers are asked.
#[derive(Debug)]
pub struct SharedLogins {
    asker: Asker,
    /// Whether failed logins block.
    blocks: bool,
}

impl SharedLogins {
    /// By this channel.
    pub fn new(channel: ToStore, blocks: bool) -> SharedLogins {
        SharedLogins {
            asker: Asker::new(channel),
            blocks,
        }
    }
}

impl Book {
    /// Learns, before a password is looked at, what holds elsewhere; whether the address
    /// is known to the account there.
    pub(super) fn hear_shared(&self, name: &str, peer: IpAddr, now: u64) -> bool {
        let state = self.ask_shared(name, peer, What::Check);
        learn(&mut self.throttle(), name, peer, (state.as_ref(), now));
        state.is_some_and(|state| state.is_known)
    }

    /// Reports how a login has ended, and learns whether it was blocked meanwhile.
    pub(super) fn say_shared(
        &self,
        name: &str,
        peer: IpAddr,
        verdict: &Result<usize, Refusal>,
    ) -> Option<LoginState> {
        let what = match verdict {
            Ok(_) => What::Succeeded,
            Err(refusal) if matches!(refusal.why, Why::Password | Why::WrongCode) => What::Failed,
            Err(_) => What::Check,
        };
        self.ask_shared(name, peer, what)
    }

    fn ask_shared(
        &self,
        name: &str,
        peer: IpAddr,
        what: impl FnOnce(Attempt) -> What,
    ) -> Option<LoginState> {
        let shared = self.shared.as_ref().filter(|shared| shared.blocks)?;
        let attempt = Attempt {
            account: check_name(name).is_ok().then(|| name.to_owned()),
            source: source_of(peer),
            is_known: self.throttle().knows(name, peer),
        };
        match shared.asker.ask(what(attempt))? {
            Said::Login(state) => Some(state),
            Said::May(_) => None,
        }
    }

    /// Takes a place for a session of an account, if there may be only so many.
    pub(super) fn begin_session(&self, index: usize, gate: &Gate) -> Result<usize, Why> {
        let account = &self.accounts[index];
        let (Some(shared), Some(most)) = (&self.shared, account.options.max_sessions) else {
            return Ok(index);
        };
        let said = shared.asker.ask(What::Begin {
            tag: gate.tag,
            account: account.name.clone(),
            most,
        });
        if said != Some(Said::May(false)) {
            return Ok(index);
        }
        let (peer, name) = (gate.peer, account.name.as_str());
        log::warn!(peer:%, user = name, reason = "too many sessions of this user"; "login refused");
        Err(Why::TooMany)
    }
}

/// Takes over what another server has caused, or an operator there.
pub(super) fn learn(
    throttle: &mut Throttle,
    name: &str,
    peer: IpAddr,
    (state, now): (Option<&LoginState>, u64),
) {
    let Some(state) = state else { return };
    if let Err(e) = throttle.learn(peer, name, state, now) {
        log::error!(error:% = e; "blocked logins not saved");
    }
}

/// The same for a block that was there before this login: one that the login itself has
/// caused is not its own reason.
pub(super) fn learn_block(
    throttle: &mut Throttle,
    name: &str,
    peer: IpAddr,
    (state, now): (Option<&LoginState>, u64),
) {
    let state = state.filter(|state| state.is_blocked);
    learn(throttle, name, peer, (state, now));
}

/// The block that a failed login has caused, here or at all servers.
pub(super) fn longer(
    throttle: &Throttle,
    (name, peer): (&str, IpAddr),
    here: Option<Block>,
    state: Option<&LoginState>,
) -> Option<Block> {
    let Some(state) = state else { return here };
    let is_known = state.is_known || throttle.knows(name, peer);
    let source = if is_known { 0 } else { state.source.left };
    let elsewhere = Block {
        seconds: source.max(state.login.left),
        is_whole_address: source > 0,
    };
    let is_longer = elsewhere.seconds > here.map_or(0, |here| here.seconds);
    if is_longer { Some(elsewhere) } else { here }
}
