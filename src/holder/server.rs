//! The holder as the daemon serves it: its gate, its stock, its line to the hub, and its
//! sessions.

use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use super::gate::{self, Handed};
use super::helpers::{self, HolderHelpers};
use super::place::Place;
use super::session;
use crate::config::Config;
use crate::ipc::codec::Decode;
use crate::net::link::Meter;
use crate::session::protocol::{Gate, HelperContext, Helpers, Protocol, Secrets, Serve};

/// The protocol's name in status and metrics.
const NAME: &str = "holder";

/// The holder with the settings of a configuration.
#[derive(Clone, Debug)]
pub struct Server {
    roots: PathBuf,
}

impl Server {
    /// The holder as this configuration has it, if it does.
    pub fn new(config: &Config) -> Option<Server> {
        let holder = config.holder.as_ref()?;
        Some(Server {
            roots: Place::at(&holder.store).roots(),
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
        match &config.holder {
            Some(holder) => helpers::check(config, holder).map(|()| None),
            None => Ok(None),
        }
    }

    fn start_helpers(
        &self,
        context: &HelperContext<'_>,
        before: Option<&dyn Helpers>,
    ) -> Result<Option<Box<dyn Helpers>>, String> {
        let Some(holder) = &context.config.holder else {
            return Ok(None);
        };
        let before = before.and_then(|before| before.as_any().downcast_ref());
        let helpers = HolderHelpers::start(context, holder, before)?;
        Ok(Some(Box::new(helpers)))
    }

    fn gate(&self, gate: Gate<'_>) -> io::Result<()> {
        let peer = gate.peer;
        if let Err(e) = gate::admit(gate) {
            gate::log_refusal(peer, &e);
        }
        Ok(())
    }

    fn resume(&self, socket: TcpStream, state: &[u8], meter: Meter) -> io::Result<Serve<'_>> {
        let state = Handed::from_bytes(state).ok_or(io::ErrorKind::InvalidData)?;
        let peer = session::take_over(socket, state)?;
        Ok(Box::new(move |context| {
            session::serve(peer, meter, context)
        }))
    }
}
