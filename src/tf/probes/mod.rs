//! The UDP process: answers probes (document, "Keepalive") on the port of each
//! listener and hands out servers of the pool (TLB), to those who ask by UDP
//! and to sessions. It has its sockets from the daemon, reads the keys of
//! sessions, asks the daemon for the page of one whose urgent bytes a client
//! wants to know, and writes to nothing.

pub mod answer;
mod serve;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use nix::unistd::Pid;

use crate::config::Tf;
use crate::ipc::pipe;
use crate::ipc::{Helper, Pipe, Service};
use crate::sandbox::confinement::{Confinement, Duty};
use crate::session::protocol::HelperContext;
use crate::tf::pool::ask::Caller;
use crate::tf::pool::reader;

use crate::net::udp::Port;
use crate::tf::probes::answer::Pages;
use crate::tf::probes::serve::Server;

/// The UDP process, in the daemon.
#[derive(Debug)]
pub struct Udp {
    service: Service<Caller>,
    started: Started,
    has_pool: bool,
}

/// What else belongs to a UDP process that was started.
#[derive(Debug)]
struct Started {
    /// Where it asks for pages, until it has ended.
    pages: Option<Pipe<Option<OwnedFd>, u32>>,
    /// The process that reads the pool, if there is one.
    reader: Option<Pid>,
}

impl Udp {
    /// Starts it, and where there is a pool the process that reads that. It
    /// reads the memory with the keys of sessions.
    ///
    /// # Errors
    /// One line that says what could not be started.
    pub fn start(context: &HelperContext<'_>, tf: &Tf) -> Result<Udp, String> {
        let (helper, started) = spawn(context, tf)?;
        Ok(Udp {
            service: Service::new(helper),
            started,
            has_pool: tf.has_pool(),
        })
    }

    /// A channel on which a session asks for a server, if there is a pool.
    pub fn open(&self) -> io::Result<Option<OwnedFd>> {
        if !self.has_pool {
            return Ok(None);
        }
        let channel = self.service.open(|caller| caller)?;
        Ok(Some(channel.into_channel().into_handle()))
    }

    /// Takes note that a process has ended; whether it was this one. The one that
    /// reads the pool takes it along.
    pub fn reaped(&mut self, pid: Pid) -> bool {
        if self.started.reader.take_if(|own| *own == pid).is_some() {
            self.service.kill();
        }
        self.service.reaped(pid)
    }

    /// When to start it again, once it has ended.
    pub fn due(&self) -> Option<Instant> {
        self.service.due()
    }

    /// Starts it again once that is due.
    pub fn restart_if_due(&mut self, context: &HelperContext<'_>, tf: &Tf) {
        let started = &mut self.started;
        self.service.restart_if_due(|| {
            let (helper, now) = spawn(context, tf)?;
            *started = now;
            Ok(helper)
        });
    }

    /// Where it asks for pages.
    pub fn channel(&self) -> Option<BorrowedFd<'_>> {
        self.started.pages.as_ref().map(AsFd::as_fd)
    }

    /// Gives it the page that it asks for.
    pub fn hear(&mut self, page: &dyn Fn(u32) -> Option<OwnedFd>) {
        let Some(channel) = &self.started.pages else {
            return;
        };
        match channel.try_receive() {
            Ok(Some(slot)) => drop(channel.try_send(&page(slot))),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            _ => self.started.pages = None,
        }
    }
}

fn spawn(context: &HelperContext<'_>, tf: &Tf) -> Result<(Helper<Caller, ()>, Started), String> {
    let HelperContext {
        udp,
        keys,
        identity,
        sandbox,
        ..
    } = *context;
    let failed = |e: io::Error| format!("udp: {e}");
    let (list, lists) = pipe::pair().map_err(failed)?;
    let (pages, daemon) = pipe::pair().map_err(failed)?;
    let reader = reader::start(tf, lists, identity, sandbox)?;
    let ports = udp.iter().copied().map(Port::new);
    let ports: Vec<Port> = ports.collect::<io::Result<_>>().map_err(failed)?;
    let probes = serve::probe_sockets().map_err(failed)?;
    let confinement = Confinement::new(identity, sandbox)?;
    let helper = Helper::spawn("udp", |child| {
        let keys = (keys, Pages::of(&daemon));
        let server = Server::new(tf, keys, ports, &probes, &list)?;
        let handles = [server.handles(), vec![daemon.as_fd()]].concat();
        let confined = confinement.with(Duty::Alone(None));
        child.enter(c"tfd-udp", &confined, &handles)?;
        server.run(&child.channel)
    })?;
    let pages = Some(pages);
    Ok((helper, Started { pages, reader }))
}

/// A number that nobody can foresee.
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    let _ = getrandom::fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}
