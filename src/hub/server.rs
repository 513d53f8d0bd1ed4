//! The hub as the daemon serves it: its gate, its broker and its sessions.

use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use super::gate::{self, Served};
use super::helpers::HubHelpers;
use super::place::Place;
use super::wire::{Label, Value};
use super::{relay, session};
use crate::config::{self, Config};
use crate::ipc::codec::Decode;
use crate::net::link::Meter;
use crate::session::protocol::{Gate, HelperContext, Helpers, Protocol, Secrets, Serve};

/// The protocol's name in status and metrics.
const NAME: &str = "hub";

/// The hub with the settings of a configuration.
#[derive(Clone, Debug)]
pub struct Server {
    hub: Label,
    roots: PathBuf,
    /// The listeners of the relay.
    relays: Vec<u16>,
}

impl Server {
    /// The hub as this configuration has it, if it does.
    pub fn new(config: &Config) -> Option<Server> {
        let hub = config.hub.as_ref()?;
        let listeners = config.listeners().into_iter();
        let relays = listeners.filter(|it| it.key == config::RELAY_KEY);
        Some(Server {
            relays: relays.map(|it| it.id).collect(),
            hub: Label::read(&hub.name)?,
            roots: Place::at(&hub.data).roots(),
        })
    }
}

impl Protocol for Server {
    fn name(&self) -> &'static str {
        NAME
    }

    fn has_own_accounts(&self) -> bool {
        true
    }

    fn root(&self) -> Option<&Path> {
        Some(&self.roots)
    }

    fn secrets(&self, config: &Config) -> Result<Option<Secrets>, String> {
        let Some(hub) = &config.hub else {
            return Ok(None);
        };
        super::helpers::identity(config, hub)?;
        let above = hub.data.parent().filter(|above| !above.is_dir());
        if let Some(above) = above {
            let (data, above) = (hub.data.display(), above.display());
            return Err(format!("hub.data: {data}: {above} is missing: make it"));
        }
        Ok(None)
    }

    fn start_helpers(
        &self,
        context: &HelperContext<'_>,
        before: Option<&dyn Helpers>,
    ) -> Result<Option<Box<dyn Helpers>>, String> {
        let Some(hub) = &context.config.hub else {
            return Ok(None);
        };
        let before = before.and_then(|before| before.as_any().downcast_ref());
        let helpers = HubHelpers::start(context, hub, before)?;
        Ok(Some(Box::new(helpers)))
    }

    fn gate(&self, gate: Gate<'_>) -> io::Result<()> {
        let peer = gate.peer;
        let admitted = match self.relays.contains(&gate.listener) {
            true => relay::admit(gate),
            false => {
                let door = gate.tls;
                gate::admit(gate, door, &self.hub)
            }
        };
        if let Err(e) = admitted {
            gate::log_refusal(peer, &e);
        }
        Ok(())
    }

    fn resume(&self, socket: TcpStream, state: &[u8], meter: Meter) -> io::Result<Serve<'_>> {
        let state = Served::from_bytes(state).ok_or(io::ErrorKind::InvalidData)?;
        let handed = match state {
            Served::Line(handed) => handed,
            Served::Relay(token) => {
                let serve = move |context| relay::serve(&socket, token, context);
                return Ok(Box::new(serve));
            }
        };
        let peer = session::take_over(socket, handed)?;
        Ok(Box::new(move |context| {
            session::serve(peer, meter, context)
        }))
    }
}
