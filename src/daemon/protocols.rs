//! The protocols that are served, and their helper processes. This is the one
//! place of the daemon that names protocols.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use nix::unistd::Pid;

use crate::bbftp;
use crate::config::{self, Config};
use crate::holder;
use crate::hub;
use crate::ipc::figures::Figures;
use crate::session::failure::Failure;
use crate::session::login::AskingGate;
use crate::session::protocol::{Called, HelperContext, Helpers, OwnLogin, Protocol, Secrets};
use crate::tf;
use crate::users::Login;
use crate::vault;

/// The protocols that a configuration listens for, by number.
#[derive(Debug, Default)]
pub struct Protocols(Vec<Option<Box<dyn Protocol>>>);

impl Protocols {
    /// Those of this configuration.
    pub fn of(config: &Config) -> Protocols {
        let protocols = config::Protocol::ALL.iter();
        Protocols(protocols.map(|protocol| open(*protocol, config)).collect())
    }

    /// One of them.
    pub fn get(&self, number: u8) -> io::Result<&dyn Protocol> {
        let protocol = self.0.get(usize::from(number)).and_then(Option::as_deref);
        protocol.ok_or(io::ErrorKind::InvalidInput.into())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &dyn Protocol> {
        self.0.iter().flatten().map(|protocol| &**protocol)
    }

    /// Whether sessions of any of them have data connections.
    pub fn have_data_connections(&self) -> bool {
        self.iter().any(|protocol| protocol.data_ports().is_some())
    }

    /// What the keeper has to hold for each, by number.
    pub fn secrets(&self, config: &Config) -> Result<Vec<Option<Secrets>>, String> {
        let secrets = |protocol: &Option<Box<dyn Protocol>>| match protocol {
            Some(protocol) => protocol.secrets(config),
            None => Ok(None),
        };
        self.0.iter().map(secrets).collect()
    }

    /// The directories beneath which sessions have their roots, of protocols that
    /// have one of their own, with their numbers.
    pub fn roots(&self) -> impl Iterator<Item = (u8, &Path)> {
        let all = (0..).zip(&self.0);
        all.filter_map(|(number, protocol)| Some((number, protocol.as_ref()?.root()?)))
    }

    /// The descriptors of all of them that gates and sessions keep.
    pub fn handles(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.iter().flat_map(Protocol::handles)
    }
}

/// A protocol, if the configuration listens for it.
fn open(protocol: config::Protocol, config: &Config) -> Option<Box<dyn Protocol>> {
    let is_of_it = |listener: &config::Listener| listener.protocol == protocol;
    config.listeners().iter().find(|it| is_of_it(it))?;
    Some(match protocol {
        config::Protocol::Tf => Box::new(tf::server::Server::new(config)?),
        config::Protocol::Bbftp => Box::new(bbftp::server::Server::new(config)?),
        config::Protocol::Vault => Box::new(vault::server::Server::new(config)?),
        config::Protocol::Hub => Box::new(hub::server::Server::new(config)?),
        config::Protocol::Holder => Box::new(holder::server::Server::new(config)?),
        #[cfg(feature = "testing")]
        config::Protocol::Echo => Box::new(crate::echo::Echo::new(config)),
    })
}

/// The helper processes of all protocols, by number.
#[derive(Debug, Default)]
pub struct ProtocolHelpers(Vec<Option<Box<dyn Helpers>>>);

impl ProtocolHelpers {
    /// Starts them; `before` are those that run.
    pub fn start(
        context: &HelperContext<'_>,
        before: &ProtocolHelpers,
    ) -> Result<ProtocolHelpers, String> {
        let before = before.0.iter().map(Option::as_deref);
        let before = before.chain(std::iter::repeat(None));
        let protocols = Protocols::of(context.config);
        let start = |(protocol, before): (&Option<Box<dyn Protocol>>, _)| match protocol {
            Some(protocol) => protocol.start_helpers(context, before),
            None => Ok(None),
        };
        let started = protocols.0.iter().zip(before).map(start);
        Ok(ProtocolHelpers(started.collect::<Result<_, _>>()?))
    }

    fn iter(&self) -> impl Iterator<Item = &dyn Helpers> {
        self.0.iter().flatten().map(|helpers| &**helpers)
    }

    /// Descriptors that zygote and launcher keep.
    pub fn handles(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.iter().flat_map(Helpers::handles)
    }

    /// Makes them of use to the gates and sessions that this process will fork.
    pub fn adopt(&self) -> io::Result<()> {
        self.iter().try_for_each(Helpers::adopt)
    }

    /// A channel for a new session of a protocol, on which it asks its helpers.
    pub fn open(&self, protocol: u8, login: &Login, peer: IpAddr) -> io::Result<Option<OwnedFd>> {
        let helpers = self.0.get(usize::from(protocol)).and_then(Option::as_ref);
        helpers.map_or(Ok(None), |helpers| helpers.open(login, peer))
    }

    /// Has the helpers of a protocol decide about a login.
    pub fn admit(&self, protocol: u8, gate: AskingGate) -> io::Result<()> {
        let helpers = self.0.get(usize::from(protocol)).and_then(Option::as_ref);
        helpers.ok_or(io::ErrorKind::NotConnected)?.admit(gate)
    }

    /// The next gate whose client the helpers of a protocol have let in, or why a login
    /// has failed.
    pub fn admitted(&mut self, index: usize) -> Option<Result<OwnLogin, Failure>> {
        self.0.get_mut(index)?.as_mut()?.admitted()
    }

    /// The channels on which they say something, by number.
    pub fn channels(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let all = self.0.iter().enumerate();
        let all = all.filter_map(|(index, helpers)| Some((index, helpers.as_ref()?)));
        all.flat_map(|(index, helpers)| {
            let channels = helpers.channel().into_iter().chain(helpers.calls());
            channels.map(move |channel| (index, channel))
        })
    }

    /// Has those that can connect to a client that waits at this address.
    pub fn call(&mut self, address: SocketAddr) {
        let helpers = self.0.iter_mut().flatten();
        helpers.for_each(|helpers| helpers.call(address));
    }

    /// The next connection that the helpers of a protocol have made for a gate.
    pub fn called(&mut self, index: usize) -> Option<Called> {
        self.0.get_mut(index)?.as_mut()?.called()
    }

    /// Answers what has come on one of them; `page` finds a page.
    pub fn hear(&mut self, index: usize, page: &dyn Fn(u32) -> Option<OwnedFd>) {
        if let Some(Some(helpers)) = self.0.get_mut(index) {
            helpers.hear(page);
        }
    }

    /// What they publish, by the sections of their protocols.
    pub fn figures(&self) -> impl Iterator<Item = (&'static str, &Figures)> {
        let all = config::Protocol::ALL.iter().zip(&self.0);
        all.filter_map(|(of, helpers)| Some((of.section(), helpers.as_ref()?.figures()?)))
    }

    /// Takes note that a process has ended; whether it was one that must be
    /// started again.
    pub fn reaped(&mut self, pid: Pid) -> bool {
        let mut helpers = self.0.iter_mut().flatten();
        helpers.any(|helpers| helpers.reaped(pid))
    }

    /// When [`ProtocolHelpers::restart_if_due`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        self.iter().filter_map(Helpers::due).min()
    }

    /// Starts again those that have ended, once that is due.
    pub fn restart_if_due(&mut self, context: &HelperContext<'_>) {
        for helpers in self.0.iter_mut().flatten() {
            helpers.restart_if_due(context);
        }
    }
}
