//! A generation: the keepers and the zygote of one reading of the
//! configuration. A reload starts a new one; the old one ends with its last
//! session.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid};
use rustix::fs::{Mode, OFlags};
use zeroize::Zeroizing;

use super::channel::{Channel, pair};
use super::confinement::{Confinement, finish};
use super::gate::Doors;
use super::keeper::{self, Secrets};
use super::tables::Tables;
use super::zygote::{self, Order, Zygote};
use crate::config::{Config, Mode as Users, read_key};
use crate::sys::process::fork;
use crate::tf::doors::Closed;
use crate::users::{Identity, Names};

/// The most keepers; more than this many RSA operations at once help nobody.
const MAX_KEEPERS: usize = 8;

/// What a keeper says when it is ready; anything else is why it is not.
const READY: &[u8] = b"ready";

/// A helper process and the channel to it.
#[derive(Debug)]
pub struct Helper {
    /// Its process.
    pub pid: Pid,
    /// The channel to it.
    pub channel: Channel,
}

/// The processes that serve one configuration.
#[derive(Debug)]
pub struct Generation {
    /// Forks the gates.
    pub zygote: Helper,
    /// Hold the key, asked in turn.
    pub keepers: Vec<Helper>,
    /// The slots of the connections it serves.
    pub slots: HashSet<u32>,
    turn: usize,
}

impl Generation {
    /// Starts the processes for a configuration. `identity` is taken by all
    /// of them; `None` when this process may not take another. Sessions read
    /// the `tables`, if there are any.
    ///
    /// # Errors
    /// One line that says what could not be started and why; what had been
    /// started is ended.
    pub fn start(
        config: &Config,
        identity: Option<&Identity>,
        tables: Option<&Tables>,
    ) -> Result<Generation, String> {
        let confinement = Confinement::new(identity)?;
        let zygote = start_zygote(config, &confinement, tables)?;
        let mut generation =
            Generation { zygote, keepers: Vec::new(), slots: HashSet::new(), turn: 0 };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..cores.min(MAX_KEEPERS) {
            match start_keeper(config, &confinement) {
                Ok(keeper) => generation.keepers.push(keeper),
                Err(e) => {
                    generation.end();
                    return Err(e);
                }
            }
        }
        Ok(generation)
    }

    /// Passes a connection on to the zygote, with a channel to a keeper.
    ///
    /// # Errors
    /// The system's, when a process is gone.
    pub fn pass_on(&mut self, slot: u32, peer: SocketAddr, socket: &OwnedFd) -> io::Result<()> {
        let (ours, theirs) = pair()?;
        self.turn = self.turn.wrapping_add(1);
        let keeper = self.keepers.get(self.turn % self.keepers.len().max(1));
        let keeper = keeper.ok_or(io::ErrorKind::NotConnected)?;
        keeper.channel.send(&[0], &[theirs.as_fd()])?;
        let mut key = [0; 16];
        getrandom::fill(&mut key).map_err(io::Error::other)?;
        let order = Order::Connection { slot, peer, key };
        self.zygote.channel.send(&order.to_bytes(), &[socket.as_fd(), ours.as_fd()])?;
        self.slots.insert(slot);
        Ok(())
    }

    /// Gives the zygote an order. A zygote that is gone needs none.
    pub fn order(&self, order: Order) {
        if let Err(e) = self.zygote.channel.send(&order.to_bytes(), &[]) {
            log::debug!("zygote out of reach pid={} error=\"{e}\"", self.zygote.pid);
        }
    }

    /// Takes no more connections; the processes end with the last session.
    pub fn retire(&mut self) {
        self.order(Order::Retire);
        self.keepers.clear();
    }

    /// Ends its processes at once.
    pub fn end(&self) {
        self.order(Order::Kill);
        for helper in self.keepers.iter().chain([&self.zygote]) {
            let _ = kill(helper.pid, Signal::SIGKILL);
        }
    }
}

fn start_zygote(
    config: &Config,
    confinement: &Confinement<'_>,
    tables: Option<&Tables>,
) -> Result<Helper, String> {
    let (ours, theirs) = pair().map_err(|e| format!("zygote: {e}"))?;
    let parent = getpid();
    let closed = match config.tf.mode {
        Users::MultiUser => Closed::Login,
        Users::SingleUser => Closed::Jail,
    };
    let doors = Doors {
        version: config.tf.version.clone().into_bytes(),
        limit: config.tf.handshake_limit,
        closed,
    };
    let settings = config.tf.session.clone();
    let child = || {
        let run = || {
            let names = Rc::new(Names::read()?);
            let mut handles = vec![theirs.as_fd()];
            handles.extend(tables.into_iter().flat_map(Tables::handles));
            confinement.enter(parent, &handles)?;
            tables.map_or(Ok(()), Tables::read)?;
            let _ = nix::sys::prctl::set_name(c"tfd-zygote");
            zygote::run(&Zygote { doors, settings, names }, &theirs)
        };
        finish("zygote", run())
    };
    let pid = fork(child).map_err(|e| format!("zygote: {e}"))?;
    Ok(Helper { pid, channel: ours })
}

/// Starts a keeper and waits until it has read the key. The key never is in
/// the daemon's memory.
fn start_keeper(config: &Config, confinement: &Confinement<'_>) -> Result<Helper, String> {
    let (ours, theirs) = pair().map_err(|e| format!("keeper: {e}"))?;
    let parent = getpid();
    let child = || {
        let secrets = match read_secrets(config) {
            Ok(secrets) => secrets,
            Err(e) => {
                let _ = theirs.send(e.as_bytes(), &[]);
                return 1;
            }
        };
        let run = || {
            let mut handles = vec![theirs.as_fd()];
            handles.extend(secrets.root.as_ref().map(AsFd::as_fd));
            confinement.enter(parent, &handles)?;
            let _ = nix::sys::prctl::set_name(c"tfd-keeper");
            secrets.warm();
            theirs.send(READY, &[])?;
            keeper::run(&secrets, &theirs)
        };
        finish("keeper", run())
    };
    let pid = fork(child).map_err(|e| format!("keeper: {e}"))?;
    let mut buffer = [0; 1024];
    match ours.receive(&mut buffer) {
        Ok((len, _)) if &buffer[..len] == READY => Ok(Helper { pid, channel: ours }),
        Ok((len, _)) if len > 0 => Err(String::from_utf8_lossy(&buffer[..len]).into_owned()),
        _ => Err("keeper ended before it was ready".to_owned()),
    }
}

fn read_secrets(config: &Config) -> Result<Secrets, String> {
    let key = read_key(&config.tf.private_key).map_err(|e| format!("tf.private_key: {e}"))?;
    let open_door = config.tf.mode == Users::SingleUser && !config.tf.jail;
    let root = if open_door {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(&config.tf.root, flags, Mode::empty())
            .map_err(|e| format!("root {}: {e}", config.tf.root.display()))?;
        Some(root)
    } else {
        None
    };
    Ok(Secrets { key, hash: Zeroizing::new(config.tf.hash.clone().into_bytes()), root })
}
