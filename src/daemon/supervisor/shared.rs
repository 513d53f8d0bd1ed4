//! The daemon and the state that several servers share: it reports sessions.

use super::Supervisor;
use crate::ipc::orders::Tag;

impl Supervisor<'_> {
    /// Reports to the other servers what has changed here.
    pub(super) fn share_if_due(&mut self) {
        let (config, identities) = (&self.config, self.identities.as_ref());
        let Some(shared) = &mut self.memory.shared else {
            return;
        };
        let helper = identities.map(|who| &who.helpers);
        shared.restart_if_due(config, helper, &self.sandbox);
        if let Some(ended) = &mut self.registry.ended {
            shared.ended(std::mem::take(ended));
        }
        shared.act_if_due();
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
}
