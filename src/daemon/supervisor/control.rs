//! The daemon at its control: responders are given what the daemon knows, and what
//! they report is checked.

use super::Supervisor;
use crate::daemon::helpers::control::view::View;
use crate::daemon::helpers::control::{End, Kind, Source};
use crate::ipc::orders::Order;

impl Supervisor {
    /// Deals with what has happened at the control.
    pub(super) fn hear_control(&mut self, source: Source) {
        match source {
            Source::Endpoint(kind) => self.answer(kind),
            Source::Responder(index) => {
                if let Some(end) = self.control.hear(index) {
                    self.end_session(end);
                }
            }
        }
    }

    /// Has a responder answer the client that waits at an endpoint.
    fn answer(&mut self, kind: Kind) {
        let Some(client) = self.control.accept(kind) else {
            return;
        };
        let shared_user = self
            .generations
            .last()
            .map_or("", |newest| newest.shared_user());
        let listeners = self.listeners.iter().map(|listener| listener.address);
        let listening: Vec<_> = listeners.chain(self.control.address()).collect();
        let config = std::path::absolute(&self.path).unwrap_or_default();
        let view = View {
            registry: &self.registry,
            sessions: &self.sessions,
            shared_user,
            slots: &self.memory.slots,
            usage: &self.memory.usage,
            quota: self.config.server.quota,
            limit: self.registry.slots(),
            process: std::process::id(),
            born: self.control.born,
            stopping: self.stop.is_some(),
            generations: self.generations.len(),
            config: &config,
            listening: &listening,
        };
        let identity = self.identity.as_ref();
        if let Err(e) = self
            .control
            .answer(kind, &client, &view, identity, &self.sandbox)
        {
            log::error!("can't answer kind={kind:?} error=\"{e}\"");
        }
    }

    /// Has the session ended that a responder names, if it is still that one.
    fn end_session(&self, End { slot, key }: End) {
        let Some((peer, _)) = self.registry.connection(slot).filter(|(_, of)| *of == key) else {
            return;
        };
        log::info!("session to be ended peer={peer} slot={slot}");
        for generation in self
            .generations
            .iter()
            .filter(|of| of.gates.contains_key(&slot))
        {
            generation.order(&Order::End { slot });
        }
        self.sessions.end(slot);
    }
}
