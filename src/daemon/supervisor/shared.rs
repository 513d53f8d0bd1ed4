//! The daemon and the state that several servers share: it keeps the process at the store
//! running.

use super::Supervisor;

impl Supervisor<'_> {
    /// Starts the process at the store again, and says what it is to know.
    pub(super) fn share_if_due(&mut self) {
        let (config, identities) = (&self.config, self.identities.as_ref());
        let Some(shared) = &mut self.memory.shared else {
            return;
        };
        let helper = identities.map(|who| &who.helpers);
        shared.restart_if_due(config, helper, &self.sandbox);
        shared.act_if_due();
    }
}
