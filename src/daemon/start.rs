//! What the daemon makes of a configuration at its start and at a reload:
//! signals, listeners, limits, the sandbox, helper processes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::admission::Limits;
use super::generation::Generation;
use super::memory::Memory;
use crate::config::{self, Config};
use crate::daemon::helpers::auditor::Auditor;
use crate::daemon::helpers::dialer::{self, Dialer};
use crate::daemon::helpers::uploads::Uploads;
use crate::daemon::protocols::{ProtocolHelpers, Protocols};
use crate::daemon::shared::SharedState;
use crate::net::listen::{Listener, not_listening};
use crate::sandbox::{Sandbox, landlock_is_whole};
use crate::session::protocol::HelperContext;
use crate::store::usage::Usage;
use crate::users::{Identities, Identity};

/// Shows whether a file was replaced or changed: inode, size, time.
pub(super) type FileStamp = (u64, u64, i64, i64);

/// Descriptors of the daemon that are not of connections, at most: the pages of
/// quotas and its processes.
const OTHER_DESCRIPTORS: u64 = 18 * 1024;

/// The limits on connections.
pub(super) fn limits(config: &Config) -> Limits {
    Limits {
        per_address: config.server.max_sessions_per_address,
        unauthenticated: config.server.max_unauthenticated,
        unauthenticated_per_address: config.server.max_unauthenticated_per_address,
        unauthenticated_per_network: config.server.max_unauthenticated_per_network,
        proxies: config.server.accept_proxy_from.clone(),
    }
}

/// Starts the processes of a configuration.
pub(super) fn start_generation(
    config: &Config,
    identities: Option<&Identities>,
    memory: &mut Memory,
    sandbox: &Sandbox,
    listeners: &[&Listener],
) -> Result<Generation, String> {
    let udp = udp_sockets(listeners);
    for keys in &config.unused {
        log::warn!(keys:%; "keys without an address");
    }
    if config.server.tls.is_some() {
        // Asked by root, the kernel loads what sessions could not.
        let by_kernel = config.server.kernel_tls && crate::sys::tls::is_there();
        let by = if by_kernel { "kernel" } else { "tfd" };
        log::info!(by:%; "sending over TLS");
    }
    Generation::start(config, identities, memory, sandbox, &udp)
}

/// Makes what all generations share, and starts the processes behind it.
pub(super) fn start_memory(
    config: &Config,
    listeners: &[&Listener],
    keys: BorrowedFd<'_>,
    (identity, clients): (Option<&Identity>, Option<&Identity>),
    sandbox: &Sandbox,
) -> Result<Memory, String> {
    let auditor = config.server.audit.as_ref();
    let auditor = auditor.map(|path| Auditor::start(path, identity, sandbox));
    let none = ProtocolHelpers::default();
    let auditor = auditor.transpose()?;
    let records = auditor.as_ref().map(AsFd::as_fd);
    let helpers = start_helpers(config, listeners, keys, records, identity, sandbox, &none)?;
    Ok(Memory {
        usage: Usage::new().map_err(|e| format!("shared memory: {e}"))?,
        auditor,
        helpers,
        dialer: start_dialer(config, identity, sandbox, None)?,
        uploads: Uploads::start(config, clients)?,
        shared: SharedState::start(config, identity, sandbox)?,
    })
}

/// Starts the helper processes of protocols for these listeners, next to those
/// that run.
pub(super) fn start_helpers(
    config: &Config,
    listeners: &[&Listener],
    keys: BorrowedFd<'_>,
    records: Option<BorrowedFd<'_>>,
    identity: Option<&Identity>,
    sandbox: &Sandbox,
    before: &ProtocolHelpers,
) -> Result<ProtocolHelpers, String> {
    let context = HelperContext {
        config,
        listeners,
        udp: &udp_sockets(listeners),
        keys,
        identity,
        sandbox,
        records,
    };
    ProtocolHelpers::start(&context, before)
}

/// The UDP sockets next to listeners.
pub(super) fn udp_sockets<'a>(listeners: &[&'a Listener]) -> Vec<BorrowedFd<'a>> {
    listeners
        .iter()
        .filter_map(|listener| listener.udp())
        .collect()
}

/// The sandbox that the configuration asks for, as far as the kernel has it.
pub(super) fn sandbox_for(config: &Config) -> Result<Sandbox, String> {
    if !config.server.sandbox {
        log::warn!("the sandbox is switched off (server.sandbox)");
        return Ok(Sandbox::off());
    }
    if !landlock_is_whole() {
        log::warn!("this kernel's Landlock does not have all that the sandbox uses");
    }
    Sandbox::new().map_err(|e| format!("sandbox: {e}: set server.sandbox = false to do without"))
}

/// The users file as it is now; `None` where there is none.
pub(super) fn users_stamp(config: &Config) -> Option<FileStamp> {
    let metadata = std::fs::metadata(config.server.users.as_ref()?).ok()?;
    Some((
        metadata.ino(),
        metadata.size(),
        metadata.mtime(),
        metadata.mtime_nsec(),
    ))
}

/// Blocks the signals the daemon waits for and opens the descriptor on which
/// they arrive.
pub(super) fn take_signals() -> nix::Result<SignalFd> {
    let mut mask = SigSet::empty();
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGUSR1,
        Signal::SIGCHLD,
    ] {
        mask.add(signal);
    }
    mask.thread_block()?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}

/// Makes room for the page of each connection, twice where a responder reads it, and
/// a clock where it has a rate.
/// Without the right to that, as far as the system lets it.
pub(super) fn raise_descriptor_limit(config: &Config) {
    let wanted = 3 * u64::from(config.server.max_sessions) + OTHER_DESCRIPTORS;
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        let hard = hard.max(wanted);
        let raise = |hard| setrlimit(Resource::RLIMIT_NOFILE, soft.max(wanted).min(hard), hard);
        raise(hard).or_else(|_| raise(getrlimit(Resource::RLIMIT_NOFILE)?.1))
    });
    if let Err(e) = raised {
        log::warn!(error:% = e; "the limit of open files stays as it is");
    }
}

/// Logs that clients can connect.
pub(super) fn say_ready(config: &Config) {
    let pid = std::process::id();
    match config.proxy() {
        Some(proxy) => log::info!(proxy_to:% = proxy.backend, pid; "ready"),
        None => log::info!(root = &*config.server.root.to_string_lossy(), pid; "ready"),
    }
}

/// Listens on every address of the configuration but those already open.
pub(super) fn bind_all(
    config: &Config,
    open: &[std::net::SocketAddr],
) -> Result<Vec<Listener>, String> {
    let mut listeners = Vec::new();
    for wanted in config.listeners() {
        if open.contains(&wanted.address) {
            continue;
        }
        let mut listener =
            Listener::bind(wanted.address, wanted.protocol.uses_udp()).map_err(|e| {
                format!(
                    "{} {}: {}",
                    wanted.full_key(),
                    wanted.address,
                    not_listening(&e)
                )
            })?;
        set_purpose(&mut listener, &wanted);
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Listens on every address of the configuration, by these sockets where they
/// have it. Those that have none of them are closed.
pub(super) fn listen_on(config: &Config, passed: Vec<OwnedFd>) -> Result<Vec<Listener>, String> {
    let mut listeners: Vec<Listener> = Vec::new();
    for socket in passed {
        match Listener::inherit(socket) {
            Ok(listener) => listeners.extend(wanted_listener(config, listener, &listeners)),
            Err(e) => log::warn!(error:% = e; "a socket was passed on that is of no use"),
        }
    }
    let open: Vec<_> = listeners.iter().map(|listener| listener.address).collect();
    listeners.extend(bind_all(config, &open)?);
    Ok(listeners)
}

/// A socket that was passed on, if the configuration lists its address and no
/// other socket has it.
fn wanted_listener(
    config: &Config,
    mut listener: Listener,
    taken: &[Listener],
) -> Option<Listener> {
    let address = listener.address;
    let wanted = listed(config, &listener);
    let wanted = wanted.filter(|_| taken.iter().all(|other| other.address != address));
    let Some(wanted) = wanted else {
        log::warn!(address:%; "a socket was passed on that is not listed in the configuration");
        return None;
    };
    if let Err(e) = listener.bind_udp(wanted.protocol.uses_udp()) {
        log::warn!(error:% = e; "a socket was passed on that is of no use");
        return None;
    }
    set_purpose(&mut listener, &wanted);
    Some(listener)
}

/// The entry of the configuration for an open listener.
pub(super) fn listed(config: &Config, listener: &Listener) -> Option<config::Listener> {
    config.listener_at(listener.address, (listener.protocol, listener.key))
}

/// Marks an open listener as that entry of the configuration.
pub(super) fn set_purpose(listener: &mut Listener, wanted: &config::Listener) {
    listener.id = wanted.id;
    listener.protocol = wanted.protocol as u8;
    listener.tls = wanted.tls;
    listener.key = wanted.key;
}

/// Starts the dialer, for a configuration with a protocol that has data
/// connections, unless the one that runs is right for it: `None`, then.
pub(super) fn start_dialer(
    config: &Config,
    identity: Option<&Identity>,
    sandbox: &Sandbox,
    running: Option<&Dialer>,
) -> Result<Option<Dialer>, String> {
    let Some(settings) = dialer_settings(config) else {
        return Ok(None);
    };
    if running.is_some_and(|running| running.settings == settings) {
        return Ok(None);
    }
    Dialer::start(settings, identity, sandbox).map(Some)
}

/// What the dialer may do, if there is to be one.
pub(super) fn dialer_settings(config: &Config) -> Option<dialer::Settings> {
    let settings = || dialer::Settings {
        to: 1..=u16::MAX,
        timeout: config.server.data_timeout,
    };
    let is_needed = Protocols::of(config).have_data_connections();
    is_needed.then(settings)
}
