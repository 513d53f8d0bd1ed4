//! The vault as the daemon serves it: its gate, its accounts and its sessions.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use super::gate::{self, Rules};
use super::helpers::VaultHelpers;
use super::mail;
use super::own;
use super::own::gate::Refused;
use super::own::store::Keep;
use super::place::Place;
use super::session::{self, Limits};
use crate::config::Config;
use crate::ipc::codec::{Decode, codec};
use crate::net::LinkError;
use crate::net::link::Meter;
use crate::session::protocol::{Gate, HelperContext, Helpers, Protocol, Secrets, Serve};
use crate::users::Identity;

/// The lengths that a client's nonce may have, decrypted.
const NONCE_LENGTHS: std::ops::RangeInclusive<usize> = 1..=403;

/// The vault with the settings of a configuration.
#[derive(Clone, Debug)]
pub struct Server {
    rules: Rules,
    place: Place,
    roots: PathBuf,
    limits: Limits,
    own: own::session::Limits,
}

/// What a gate hands over.
pub enum State {
    /// A client of an existing dialect.
    Old(gate::Handed),
    /// One of the own dialect.
    Own(own::gate::State),
}

codec!(enum State { 1 => Old(state), 2 => Own(state) });

impl Server {
    /// The vault as this configuration has it, if it does.
    pub fn new(config: &Config) -> Option<Server> {
        let vault = config.vault.as_ref()?;
        let place = Place::at(&vault.data);
        Some(Server {
            rules: Rules {
                dialects: vault.dialects.clone(),
                certificate: std::fs::read(place.certificate()).unwrap_or_default(),
                step: Duration::from_secs(vault.exchange_timeout.into()),
                idle_limit: config.server.idle_limit,
            },
            roots: place.roots(),
            place,
            limits: Limits {
                max_packet: vault.max_packet,
                max_account: vault.max_account,
                idle: config.server.idle_limit,
            },
            own: own::session::Limits {
                max_packet: vault.max_packet,
                max_account: vault.max_account,
                idle: config.server.idle_limit,
                keep: Keep {
                    versions: vault.keep_versions,
                    days: vault.keep_days,
                },
            },
        })
    }
}

impl Protocol for Server {
    fn name(&self) -> &'static str {
        super::NAME
    }

    fn has_own_accounts(&self) -> bool {
        true
    }

    fn root(&self) -> Option<&Path> {
        Some(&self.roots)
    }

    fn secrets(&self, config: &Config) -> Result<Option<Secrets>, String> {
        if let Some(vault) = &config.vault {
            let name = &vault.user;
            Identity::of(name).map_err(|e| {
                format!("vault.user: \"{name}\": {e}: make it (useradd --system {name})")
            })?;
            let above = vault.data.parent().filter(|above| !above.is_dir());
            if let Some(above) = above {
                let (data, above) = (vault.data.display(), above.display());
                return Err(format!("vault.data: {data}: {above} is missing: make it"));
            }
        }
        if let Some(mail) = config.vault.as_ref().and_then(|vault| vault.mail.as_ref()) {
            mail::check(mail)?;
        }
        let key = self.place.read_key()?;
        Ok(key.map(|key| Secrets {
            key,
            key_lengths: NONCE_LENGTHS,
            shared: Zeroizing::default(),
        }))
    }

    fn start_helpers(
        &self,
        context: &HelperContext<'_>,
        before: Option<&dyn Helpers>,
    ) -> Result<Option<Box<dyn Helpers>>, String> {
        let Some(vault) = &context.config.vault else {
            return Ok(None);
        };
        let before = before.and_then(|before| before.as_any().downcast_ref());
        let helpers = VaultHelpers::start(context, vault, before)?;
        Ok(Some(Box::new(helpers)))
    }

    fn gate(&self, gate: Gate<'_>) -> io::Result<()> {
        let peer = gate.peer;
        if let Some(door) = gate.tls {
            if let Err(e) = own::gate::admit(gate, door) {
                log_refusal(peer, &e);
            }
        } else if let Err(e) = gate::admit(gate, &self.rules) {
            gate::log_refusal(peer, &e);
        }
        Ok(())
    }

    fn resume(&self, socket: TcpStream, state: &[u8], meter: Meter) -> io::Result<Serve<'_>> {
        let state = State::from_bytes(state).ok_or(io::ErrorKind::InvalidData)?;
        Ok(match state {
            State::Old(state) => {
                let client = gate::take_over(socket, state, self.limits.max_packet)?;
                Box::new(move |context| session::serve(client, meter, context, &self.limits))
            }
            State::Own(state) => {
                let client = own::gate::take_over(socket, state)?;
                Box::new(move |context| own::session::serve(client, meter, context, &self.own))
            }
        })
    }
}

/// One log line on a client of the own dialect that did not pass.
fn log_refusal(peer: SocketAddr, refusal: &Refused) {
    use own::frame::FrameError;
    match refusal {
        Refused::Left
        | Refused::Frame(FrameError::Link(LinkError::Closed | LinkError::Stopped)) => {
            log::debug!(peer:%, stage:% = "handshake"; "left");
        }
        Refused::Internal(e) => log::error!(peer:%, error:% = e; "gate failed"),
        _ => log::warn!(peer:%, stage:% = "handshake", reason:% = refusal; "refused"),
    }
}
