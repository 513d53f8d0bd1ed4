//! A generation: the helper processes of one reading of the configuration,
//! and what they tell the daemon. A reload starts a new one; the old one ends
//! with its last gate.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid};
use rustix::fs::{Mode, OFlags};
use zeroize::Zeroizing;

use super::brood::{Order, Start};
use super::channel::{Channel, pair};
use super::confinement::{Confinement, finish};
use super::gate::Doors;
use super::keeper::{self, Extras, Secrets};
use super::memory::Shared;
use super::sandbox::Sandbox;
use super::tables::Tables;
use super::usher::{self, Usher};
use super::zygote::{self, Zygote};
use super::{porter, proxy};
use crate::config::{Config, Mode as Users, read_key};
use crate::sys::process::fork;
use crate::tf::doors::Closed;
use crate::trusted;
use crate::users::throttle::Throttle;
use crate::users::{self, Account, Identity, Login, Names, Rights};

/// The most keepers; more than this many RSA operations at once help nobody.
const MAX_KEEPERS: usize = 8;

/// What a keeper says when it is ready; anything else is why it is not.
const READY: &[u8] = b"ready";

/// What the porter's messages before that begin with: an account, or why it
/// is not ready.
const ACCOUNT: u8 = 1;
const NOT_READY: u8 = 2;

/// More bytes than an account's message has.
const MAX_LOGIN: usize = 512 * 1024;

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
    /// Checks passwords, in multi-user mode.
    pub porter: Option<Helper>,
    /// The slots of the gates it serves.
    pub slots: HashSet<u32>,
    /// Those of them whose client has shown the hash.
    admitted: HashSet<u32>,
    /// Whether clients log in.
    pub multi_user: bool,
    /// The accounts, in the order of the users file; where nobody logs in, the
    /// one that all clients share.
    logins: Vec<Login>,
    /// Forks the sessions behind LOGIN or INJAIL, until the daemon takes it on.
    pub usher: Option<Helper>,
    /// The process of that.
    pub usher_pid: Option<Pid>,
    /// The most bytes beneath the root.
    pub quota: Option<u64>,
    /// Those beside the zygote, as long as they have not ended: the keepers and
    /// the porter, or a proxy's.
    pub helpers: Vec<Pid>,
    /// The processes of a proxy, which has relays in place of gates.
    proxy: Option<proxy::Helpers>,
    turn: usize,
}

/// A channel to a gate whose client is to have a session.
pub struct Admission {
    /// The gate's slot.
    pub slot: u32,
    /// Whom the session is for.
    pub login: Login,
    /// The channel.
    pub gate: Channel,
}

impl Generation {
    /// Starts the processes for a configuration. `identity` is taken by all
    /// of them; `None` when this process may not take another. A proxy relays
    /// what comes to the sockets `udp`, too.
    ///
    /// # Errors
    /// One line that says what could not be started and why; what had been
    /// started is ended.
    pub fn start(
        config: &Config,
        identity: Option<&Identity>,
        memory: &Shared<'_>,
        sandbox: &Sandbox,
        udp: &[BorrowedFd<'_>],
    ) -> Result<Generation, String> {
        let shared = shared_login(config, identity);
        if let Some(proxy) = &config.tf.proxy {
            let (zygote, helpers) = proxy::start(config, proxy, identity, memory, sandbox, udp)?;
            let mut generation = Generation::of(config, zygote, shared);
            generation.helpers.clone_from(&helpers.pids);
            generation.proxy = Some(helpers);
            return Ok(generation);
        }
        let confinement = Confinement::new(identity, sandbox)?;
        let zygote = start_zygote(config, &confinement, memory, &shared.name)?;
        let mut generation = Generation::of(config, zygote, shared);
        if generation.multi_user {
            match start_porter(config, &confinement) {
                Ok((porter, logins)) => {
                    generation.porter = Some(porter);
                    generation.logins = logins;
                }
                Err(e) => {
                    generation.end();
                    return Err(e);
                }
            }
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..cores.min(MAX_KEEPERS) {
            match start_keeper(config, &confinement, memory) {
                Ok(keeper) => generation.keepers.push(keeper),
                Err(e) => {
                    generation.end();
                    return Err(e);
                }
            }
        }
        generation.helpers =
            generation.keepers.iter().chain(&generation.porter).map(|helper| helper.pid).collect();
        if config.tf.closed() != Closed::NONE {
            match start_usher(config, &confinement, memory) {
                Ok(usher) => {
                    generation.usher_pid = Some(usher.pid);
                    generation.usher = Some(usher);
                }
                Err(e) => {
                    generation.end();
                    return Err(e);
                }
            }
        }
        Ok(generation)
    }

    /// The user of all clients, where nobody logs in.
    #[must_use]
    pub fn shared_user(&self) -> &str {
        if self.multi_user { "" } else { &self.logins[0].name }
    }

    /// With a zygote and nothing else yet.
    fn of(config: &Config, zygote: Helper, shared: Login) -> Generation {
        Generation {
            zygote,
            keepers: Vec::new(),
            porter: None,
            slots: HashSet::new(),
            admitted: HashSet::new(),
            multi_user: config.tf.mode == Users::MultiUser,
            logins: vec![shared],
            usher: None,
            usher_pid: None,
            quota: config.tf.quota,
            helpers: Vec::new(),
            proxy: None,
            turn: 0,
        }
    }

    /// Whether anybody has a quota.
    #[must_use]
    pub fn has_quotas(&self) -> bool {
        self.quota.is_some() || self.logins.iter().any(|login| login.quota.is_some())
    }

    /// Passes a connection on to the zygote, with a channel to a keeper where
    /// a gate is to be forked.
    ///
    /// # Errors
    /// The system's, when a process is gone.
    pub fn pass_on(
        &mut self,
        slot: u32,
        peer: SocketAddr,
        key: [u8; 16],
        socket: &OwnedFd,
    ) -> io::Result<()> {
        let order = Order::Start(Start { slot, peer, key, rest: &[] });
        if self.proxy.is_some() {
            self.zygote.channel.send(&order.to_bytes(), &[socket.as_fd()])?;
            self.slots.insert(slot);
            return Ok(());
        }
        let (ours, theirs) = pair()?;
        self.turn = self.turn.wrapping_add(1);
        let keeper = self.keepers.get(self.turn % self.keepers.len().max(1));
        let keeper = keeper.ok_or(io::ErrorKind::NotConnected)?;
        keeper.channel.send(&keeper::gate_message(slot), &[theirs.as_fd()])?;
        self.zygote.channel.send(&order.to_bytes(), &[socket.as_fd(), ours.as_fd()])?;
        self.slots.insert(slot);
        Ok(())
    }

    /// Gives the zygote an order. A zygote that is gone needs none.
    pub fn order(&self, order: Order<'_>) {
        if let Err(e) = self.zygote.channel.send(&order.to_bytes(), &[]) {
            log::debug!("zygote out of reach pid={} error=\"{e}\"", self.zygote.pid);
        }
    }

    /// Hears from a keeper that the client of a gate has shown the hash. In
    /// multi-user mode the porter comes next, else a session.
    ///
    /// # Errors
    /// When the keeper is gone.
    pub fn hear_keeper(
        &mut self,
        index: usize,
        mut address_of: impl FnMut(u32) -> Option<IpAddr>,
    ) -> io::Result<Option<Admission>> {
        let mut buffer = [0; 4];
        let keeper = self.keepers.get(index).ok_or(io::ErrorKind::WouldBlock)?;
        let (len, handles) = keeper.channel.try_receive(&mut buffer)?;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let slot = keeper::read_admission(&buffer[..len]).filter(|slot| self.slots.contains(slot));
        let (Some(slot), Some(handle)) = (slot, handles.into_iter().next()) else {
            return Ok(None);
        };
        if !self.admitted.insert(slot) {
            return Ok(None);
        }
        if !self.multi_user {
            let (login, gate) = (self.logins[0].clone(), Channel::from_handle(handle));
            return Ok(Some(Admission { slot, login, gate }));
        }
        if let (Some(porter), Some(peer)) = (&self.porter, address_of(slot)) {
            let message = porter::gate_message(slot, peer);
            if let Err(e) = porter.channel.send(&message, &[handle.as_fd()]) {
                log::debug!("porter out of reach pid={} error=\"{e}\"", porter.pid);
            }
        }
        Ok(None)
    }

    /// Hears from the porter that a password has fitted.
    ///
    /// # Errors
    /// When the porter is gone.
    pub fn hear_porter(&self) -> io::Result<Option<Admission>> {
        let porter = self.porter.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let mut buffer = [0; porter::ADMIT_LEN];
        let (len, handles) = porter.channel.try_receive(&mut buffer)?;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let admission = || {
            let (slot, account) = porter::read_admission(&buffer[..len])?;
            let login = self.logins.get(account).filter(|_| self.admitted.contains(&slot))?.clone();
            let gate = Channel::from_handle(handles.into_iter().next()?);
            Some(Admission { slot, login, gate })
        };
        Ok(admission())
    }

    /// Forgets a gate that has ended; whether there was one.
    pub fn forget(&mut self, slot: u32) -> bool {
        self.admitted.remove(&slot);
        self.slots.remove(&slot)
    }

    /// Takes no more connections; the processes end with the last gate.
    pub fn retire(&mut self) {
        self.order(Order::Retire);
        if let Some(helpers) = &mut self.proxy {
            helpers.retire();
        }
        for keeper in &self.keepers {
            let _ = keeper.channel.send(keeper::RETIRE, &[]);
        }
    }

    /// Ends its processes at once.
    pub fn end(&self) {
        self.order(Order::Kill);
        for helper in
            self.keepers.iter().chain(&self.porter).chain(&self.usher).chain([&self.zygote])
        {
            let _ = kill(helper.pid, Signal::SIGKILL);
        }
        if let Some(helpers) = &self.proxy {
            helpers.end();
        }
    }
}

fn start_zygote(
    config: &Config,
    confinement: &Confinement<'_>,
    memory: &Shared<'_>,
    user: &str,
) -> Result<Helper, String> {
    let (ours, theirs) = pair().map_err(|e| format!("zygote: {e}"))?;
    let parent = getpid();
    let doors = Doors {
        version: config.tf.version.clone().into_bytes(),
        limit: config.tf.handshake_limit,
        accept_proxy_from: config.tf.accept_proxy_from.clone(),
        closed: config.tf.closed(),
    };
    let settings = config.tf.session.clone();
    let child = || {
        let run = || {
            let names = Rc::new(Names::read()?);
            let slots = memory.slots.as_fd();
            let mut handles = vec![theirs.as_fd(), slots];
            handles.extend(memory.tables.into_iter().flat_map(Tables::handles));
            confinement.enter(parent, &handles)?;
            memory.tables.map_or(Ok(()), Tables::read)?;
            let _ = nix::sys::prctl::set_name(c"tfd-zygote");
            let sandbox = confinement.sandbox.clone();
            let user = user.to_owned();
            let limits = memory.limits;
            let zygote = Zygote { doors, settings, names, user, sandbox, limits, slots };
            zygote::run(&theirs, |connection| zygote::serve(&zygote, connection))
        };
        finish("zygote", run())
    };
    let pid = fork(child).map_err(|e| format!("zygote: {e}"))?;
    Ok(Helper { pid, channel: ours })
}

fn start_usher(
    config: &Config,
    confinement: &Confinement<'_>,
    memory: &Shared<'_>,
) -> Result<Helper, String> {
    let (ours, theirs) = pair().map_err(|e| format!("usher: {e}"))?;
    let parent = getpid();
    let root = open_root(config)?;
    let child = || {
        let run = || {
            let usher = Usher {
                root: root.try_clone()?,
                after_login: config.tf.mode == Users::MultiUser,
                jail: config.tf.jail,
                sandbox: &confinement.sandbox,
                settings: config.tf.session.clone(),
                names: Rc::new(Names::read()?),
                slots: memory.slots.as_fd(),
                usage: memory.usage,
                records: memory.records,
                pool: memory.pool,
            };
            let mut handles = vec![theirs.as_fd(), usher.root.as_fd(), usher.slots, usher.usage];
            handles.extend(usher.records.into_iter().chain(usher.pool));
            handles.extend(memory.tables.into_iter().flat_map(Tables::handles));
            confinement.enter_as_usher(parent, &handles, usher.root.as_fd())?;
            memory.tables.map_or(Ok(()), Tables::read)?;
            let _ = nix::sys::prctl::set_name(c"tfd-usher");
            usher::run(&usher, &theirs)
        };
        finish("usher", run())
    };
    let pid = fork(child).map_err(|e| format!("usher: {e}"))?;
    Ok(Helper { pid, channel: ours })
}

/// The handle of the configuration's root.
fn open_root(config: &Config) -> Result<OwnedFd, String> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(&config.tf.root, flags, Mode::empty())
        .map_err(|e| format!("root {}: {e}", config.tf.root.display()))
}

/// Starts a keeper and waits until it has read the key. The key never is in
/// the daemon's memory.
fn start_keeper(
    config: &Config,
    confinement: &Confinement<'_>,
    memory: &Shared<'_>,
) -> Result<Helper, String> {
    let (ours, theirs) = pair().map_err(|e| format!("keeper: {e}"))?;
    let parent = getpid();
    let child = || {
        let secrets = match read_secrets(config, memory) {
            Ok(secrets) => secrets,
            Err(e) => {
                let _ = theirs.send(e.as_bytes(), &[]);
                return 1;
            }
        };
        let run = || {
            let mut handles = vec![theirs.as_fd()];
            handles.extend(secrets.granted.iter().map(AsFd::as_fd));
            confinement.enter_as_leaf(parent, &handles, None)?;
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

/// The login of all clients where there are no accounts.
fn shared_login(config: &Config, identity: Option<&Identity>) -> Login {
    let identity = identity.cloned().unwrap_or_else(Identity::own);
    let name = identity.name.clone();
    let max_sessions = Some(config.server.max_sessions);
    let (home, rights) = (String::new(), Rights::Full);
    Login { name, identity, home, rights, max_sessions, rate: None, quota: None }
}

/// Starts the porter and waits until it has read the users file and looked
/// up their system users. The hashes never are in the daemon's memory.
fn start_porter(
    config: &Config,
    confinement: &Confinement<'_>,
) -> Result<(Helper, Vec<Login>), String> {
    let (ours, theirs) = pair().map_err(|e| format!("porter: {e}"))?;
    let parent = getpid();
    let child = || {
        let run = || {
            let opened = read_accounts(config)
                .and_then(|accounts| open_blocked(config).map(|blocked| (accounts, blocked)));
            let (accounts, blocked) = match opened {
                Ok(opened) => opened,
                Err(e) => {
                    theirs.send(&[&[NOT_READY], e.as_bytes()].concat(), &[])?;
                    return Ok(());
                }
            };
            for (account, identity) in &accounts {
                let login = Login::new(account, identity.clone());
                theirs.send(&[&[ACCOUNT], &*login.to_bytes()].concat(), &[])?;
            }
            let handles = [theirs.as_fd(), blocked.as_fd()];
            confinement.enter_as_leaf(parent, &handles, None)?;
            let _ = nix::sys::prctl::set_name(c"tfd-porter");
            theirs.send(READY, &[])?;
            let accounts = accounts.into_iter().map(|(account, _)| account).collect();
            let throttle = Throttle::new(config.tf.login_limits, Some(blocked));
            let daemon = Channel::from_handle(theirs.as_fd().try_clone_to_owned()?);
            porter::run(accounts, throttle, daemon)
        };
        finish("porter", run())
    };
    let pid = fork(child).map_err(|e| format!("porter: {e}"))?;
    drop(theirs);
    let mut logins = Vec::new();
    let mut buffer = vec![0; MAX_LOGIN];
    loop {
        match ours.receive(&mut buffer).map(|(len, _)| &buffer[..len]) {
            Ok(READY) => return Ok((Helper { pid, channel: ours }, logins)),
            Ok([ACCOUNT, login @ ..]) => logins.extend(Login::from_bytes(login)),
            Ok([NOT_READY, why @ ..]) => return Err(String::from_utf8_lossy(why).into_owned()),
            _ => return Err("porter ended before it was ready".to_owned()),
        }
    }
}

/// The file beside the users file that keeps who is blocked.
fn open_blocked(config: &Config) -> Result<File, String> {
    let mut path = config.tf.users.clone().unwrap_or_default().into_os_string();
    path.push(".blocked");
    let path = PathBuf::from(path);
    let told = |e: io::Error| format!("{}: {e}", path.display());
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NONBLOCK;
    let file = trusted::open(&path, flags, Mode::RUSR | Mode::WUSR).map_err(told)?;
    let fine = trusted::is_ours(&file).map_err(told)? && file.metadata().map_err(told)?.is_file();
    let shown = path.display();
    fine.then_some(file).ok_or_else(|| format!("{shown}: not a file of root: remove it"))
}

/// The accounts of the users file and the identities they lead to.
fn read_accounts(config: &Config) -> Result<Vec<(Account, Identity)>, String> {
    let path = config.tf.users.as_deref().ok_or("tf.users is missing")?;
    let accounts = users::file::read(path).map_err(|problems| problems.join("; "))?;
    let with_identity = |account: Account| {
        let identity = Identity::of(&account.system_user)
            .map_err(|e| format!("{}: {}: {e}", account.name, account.system_user))?;
        if identity.uid.is_root() && !config.server.allow_root_user {
            return Err(format!("{}: {} is root", account.name, account.system_user));
        }
        Ok((account, identity))
    };
    accounts.into_iter().map(with_identity).collect()
}

fn read_secrets(config: &Config, memory: &Shared<'_>) -> Result<Secrets, String> {
    let key = read_key(&config.tf.private_key).map_err(|e| format!("tf.private_key: {e}"))?;
    let mut granted = Vec::new();
    if config.tf.closed() == Closed::NONE {
        granted.push(open_root(config)?);
        for handle in [Some(memory.usage), memory.records, memory.pool].into_iter().flatten() {
            granted.push(handle.try_clone_to_owned().map_err(|e| e.to_string())?);
        }
    }
    let extras = Extras { records: memory.records.is_some(), pool: memory.pool.is_some() };
    let hash = Zeroizing::new(config.tf.hash.clone().into_bytes());
    Ok(Secrets { key, hash, granted, extras })
}
