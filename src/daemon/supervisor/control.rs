//! The daemon at its control: responders are given what the daemon knows, and what
//! they report is checked.

use super::Supervisor;
use crate::daemon::generation::Generation;
use crate::daemon::helpers::control::view::View;
use crate::daemon::helpers::control::{Asked, End, Kind, Source};
use crate::daemon::shared::SharedState;
use crate::fleet::message::ToState;
use crate::ipc::orders::Order;

impl Supervisor<'_> {
    /// Deals with what has happened at the control.
    pub(super) fn hear_control(&mut self, source: Source) {
        match source {
            Source::Endpoint(kind) => self.answer(kind),
            Source::Responder(index) => match self.control.hear(index) {
                Some(Asked::End(end)) => self.end_session(end),
                Some(Asked::Elsewhere(whom)) => self.share(ToState::Kick(whom)),
                Some(Asked::Free(target)) => self.share(ToState::Free(target)),
                Some(Asked::Call(address)) => self.memory.helpers.call(address),
                None => {}
            },
        }
    }

    /// Says something to the other servers, if there are any.
    fn share(&mut self, message: ToState) {
        if let Some(shared) = &mut self.memory.shared {
            shared.say(message);
        }
    }

    /// Has a responder answer the client that waits at an endpoint.
    fn answer(&mut self, kind: Kind) {
        let Some(client) = self.control.accept(kind) else {
            return;
        };
        let listeners = self.listeners.iter().map(|listener| listener.address);
        let listening: Vec<_> = listeners.chain(self.control.address()).collect();
        let config = std::path::absolute(&self.path).unwrap_or_default();
        let root = Some(self.config.server.root.as_path());
        let blocked = self.config.blocked_beside();
        let published = self.memory.published();
        let view = View {
            registry: &self.registry,
            live: None,
            usage: &self.memory.usage,
            quota: self.config.server.quota,
            logins: self.generations.last().map_or(&[], Generation::logins),
            blocked: blocked.as_deref(),
            published: &published,
            shared: self.memory.shared.as_ref().map(SharedState::is_reached),
            root: root.filter(|_| self.config.proxy().is_none()),
            limit: self.registry.slots(),
            process: std::process::id(),
            born: self.control.born,
            stopping: self.stop.is_some(),
            generations: self.generations.len(),
            config: &config,
            listening: &listening,
        };
        let identity = self.identities.as_ref().map(|who| &who.helpers);
        if let Err(e) = self
            .control
            .answer(kind, &client, &view, identity, &self.sandbox)
        {
            log::error!(kind:?, error:% = e; "can't answer");
        }
    }

    /// Has the session ended that a responder names, if it is still that one.
    pub(super) fn end_session(&self, End { slot, key }: End) {
        let connection = self.registry.get(slot);
        let Some(connection) = connection.filter(|of| of.arrived.key == key) else {
            return;
        };
        let peer = connection.client();
        log::info!(peer:%, slot; "session to be ended");
        for parent in connection.parents() {
            let zygotes = self.generations.iter();
            zygotes
                .filter(|of| of.zygote.pid == parent)
                .for_each(|of| of.order(&Order::End { slot }));
            self.sessions.order(parent, &Order::End { slot });
        }
    }
}
