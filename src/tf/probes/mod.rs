//! The UDP process: answers probes (document, "Keepalive") on the port of each
//! listener and hands out servers of the pool (TLB), to those who ask by UDP
//! and to sessions. It has its sockets from the daemon, reads the keys of
//! sessions, asks the daemon for the page of one whose urgent bytes a client
//! wants to know, and writes to nothing.

pub mod answer;
mod serve;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::ipc::channel::pair;
use crate::ipc::pipe;
use crate::ipc::{Helper, Pipe};
use crate::sandbox::confinement::{Confinement, Duty};
use crate::session::protocol::HelperContext;
use crate::tf::pool::reader;

use crate::net::udp::Port;
use crate::tf::probes::answer::Pages;
use crate::tf::probes::serve::Server;

/// The UDP process, in the daemon.
#[derive(Debug)]
pub struct Udp {
    /// Its process, until it has ended.
    pid: Option<Pid>,
    /// Where it asks for pages.
    channel: Option<Pipe<Option<OwnedFd>, u32>>,
    pool: Option<Pid>,
    /// Where sessions ask for a server, if there is a pool.
    questions: Option<OwnedFd>,
}

impl Udp {
    /// Starts it, and where there is a pool the process that reads that. It
    /// reads the memory with the keys of sessions.
    ///
    /// # Errors
    /// One line that says what could not be started.
    pub fn start(context: &HelperContext<'_>) -> Result<Udp, String> {
        let HelperContext {
            config,
            udp,
            keys,
            identity,
            sandbox,
        } = *context;
        let failed = |e: io::Error| format!("udp: {e}");
        let (questions, sessions) = pair().map_err(failed)?;
        let (list, lists) = pipe::pair().map_err(failed)?;
        let pool = reader::start(config, lists, identity, sandbox)?;
        let ports: Vec<Port> = udp
            .iter()
            .copied()
            .map(Port::new)
            .collect::<io::Result<_>>()
            .map_err(failed)?;
        let probes = serve::probe_sockets().map_err(failed)?;
        let confinement = Confinement::new(identity, sandbox)?;
        let helper = Helper::spawn("udp", |child| {
            let daemon = child.channel.try_clone()?;
            let keys = (keys, Pages::of(&daemon));
            let server = Server::new(config, keys, &ports, &probes, &questions, &list)?;
            let mut handles: Vec<BorrowedFd<'_>> = ports.iter().map(AsFd::as_fd).collect();
            handles.extend(probes.iter().map(AsFd::as_fd));
            handles.extend([questions.as_fd(), list.as_fd(), daemon.as_fd()]);
            let confined = confinement.with(Duty::Alone(None));
            child.enter(c"tfd-udp", &confined, &handles)?;
            server.run()
        })?;
        let questions = config.tf.has_pool().then(|| sessions.into_handle());
        Ok(Udp {
            pid: Some(helper.pid),
            channel: Some(helper.channel),
            pool,
            questions,
        })
    }

    /// Whether a process is one of its two; it has ended then.
    pub fn reaped(&mut self, pid: Pid) -> bool {
        if self.pool == Some(pid) {
            self.pool = None;
            return true;
        }
        self.pid.take_if(|own| *own == pid).is_some()
    }

    /// Where it asks for pages.
    pub fn channel(&self) -> Option<BorrowedFd<'_>> {
        self.channel.as_ref().map(AsFd::as_fd)
    }

    /// Gives it the page that it asks for.
    pub fn hear(&mut self, page: &dyn Fn(u32) -> Option<OwnedFd>) {
        let Some(channel) = &self.channel else { return };
        match channel.try_receive() {
            Ok(Some(slot)) => drop(channel.try_send(&page(slot))),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            _ => self.channel = None,
        }
    }

    /// Where sessions ask for a server, if there is a pool.
    pub fn questions(&self) -> Option<BorrowedFd<'_>> {
        self.questions.as_ref().map(AsFd::as_fd)
    }
}

impl Drop for Udp {
    /// Ends both.
    fn drop(&mut self) {
        for pid in [self.pid, self.pool].into_iter().flatten() {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

/// A number that nobody can foresee.
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    let _ = getrandom::fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}
