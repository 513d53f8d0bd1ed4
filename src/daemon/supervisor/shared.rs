//! The daemon and the state that several servers share: it reports sessions and what is
//! stored, and follows what others have said.

use std::time::Duration;

use super::Supervisor;
use crate::daemon::helpers::control::End;
use crate::daemon::registry::Connection;
use crate::fleet::message::{FromState, Kicked, ToState};
use crate::ipc::orders::Tag;
use crate::store::usage::Counts;

impl Supervisor<'_> {
    /// Reports to the other servers what has changed here.
    pub(super) fn share_if_due(&mut self) {
        let counts = self.recount.counts();
        let (config, identities) = (&self.config, self.identities.as_ref());
        let Some(shared) = &mut self.memory.shared else {
            return;
        };
        let helper = identities.map(|who| &who.helpers);
        shared.restart_if_due(config, helper, &self.sandbox);
        if let Some(ended) = &mut self.registry.ended {
            shared.ended(std::mem::take(ended));
        }
        shared.act_if_due(counts.then_some(&self.memory.usage));
    }

    /// Reports a session of an account, or that there is none.
    pub(super) fn share_session(&mut self, index: usize, slot: u32, account: &str) {
        let Some(connection) = self.registry.get(slot) else {
            return;
        };
        let protocol = connection.arrived.protocol.0;
        let Some(shared) = &mut self.memory.shared else {
            return;
        };
        if !self.generations[index].logs_in(protocol) {
            return;
        }
        let tag = Tag::of(slot, connection.arrived.key);
        match connection.session {
            Some(_) => shared.began(tag, account),
            None => shared.not_begun(tag, account),
        }
    }

    /// Follows what the other servers have said.
    pub(super) fn hear_shared(&mut self) {
        while let Some(news) = self.memory.shared.as_ref().and_then(|of| of.service.news()) {
            match news {
                FromState::Kick { whom, age } => self.end_sessions_of(&whom, age),
                FromState::Usage(sums) => self.take_sums(sums),
                FromState::MayCount(may) => self.begin_count(may),
                FromState::Counted(is_taken) => self.recount.is_shared(is_taken),
                FromState::CountedAlone => self.recount.is_alone(&mut self.memory.usage),
            }
        }
    }

    /// Ends the sessions that another server has wanted ended so many milliseconds ago.
    fn end_sessions_of(&self, whom: &Kicked, age: u64) {
        let age = Duration::from_millis(age);
        let is_meant = |connection: &Connection| match whom {
            Kicked::User(name) => connection.user.as_ref() == Some(name),
            Kicked::Address(address) => {
                connection.client().ip().to_canonical() == address.to_canonical()
            }
        };
        let all = self.registry.all().into_iter();
        let meant = all.filter(|(_, of)| of.since.elapsed() >= age && is_meant(of));
        for (slot, connection) in meant {
            let key = connection.arrived.key;
            self.end_session(End { slot, key });
        }
    }

    /// Takes what all servers have stored for what quotas count.
    fn take_sums(&mut self, sums: Counts) {
        for (counter, sum) in sums {
            if let Err(e) = self.memory.usage.share(counter, sum) {
                log::error!(error:% = e; "quota of all servers not applied");
            }
        }
    }

    /// Begins a sweep if one is due; one that counts, only if no other server does.
    pub(super) fn count_if_due(&mut self) {
        if let Some(shared) = self
            .memory
            .shared
            .as_mut()
            .filter(|_| self.recount.counts())
        {
            if self.recount.asks_if_due() {
                shared.say(ToState::MayCount);
            }
            return;
        }
        let (config, identities) = (&self.config, self.identities.as_ref());
        self.recount
            .begin_if_due(config, identities, &self.sandbox, &self.memory.usage);
    }

    /// Begins the sweep that is due, and counts if no other server does.
    fn begin_count(&mut self, may: bool) {
        let (config, identities) = (&self.config, self.identities.as_ref());
        self.recount
            .begin(may, config, identities, &self.sandbox, &self.memory.usage);
    }

    /// Reads reports of the sweep in progress.
    pub(super) fn hear_count(&mut self) {
        let usage = &mut self.memory.usage;
        let Some(shared) = &mut self.memory.shared else {
            return self.recount.hear(&self.config, usage);
        };
        if let Some(counted) = self.recount.hear_for_all(&self.config, usage) {
            shared.say_counted(&counted);
        }
    }
}
