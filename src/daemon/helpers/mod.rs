//! Starting the helper processes of a generation: what each is given, and what
//! it gives up before it begins.

pub mod auditor;
pub mod authenticator;
pub mod control;
pub mod dialer;
pub mod keeper;
pub mod launcher;
mod line_file;
pub mod logger;
pub mod pam;
pub mod recount;
pub mod replay_guard;
pub mod sweeper;
pub mod uploads;
pub mod zygote;

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use crate::config::{Config, Tls};
use crate::daemon::helpers::authenticator::{Checks, SharedLogins};
use crate::daemon::helpers::keeper::{LoginKeys, Secrets};
use crate::daemon::helpers::launcher::Launcher;
use crate::daemon::helpers::pam::Pam;
use crate::daemon::helpers::zygote::Zygote;
use crate::daemon::memory::Shared;
use crate::daemon::protocols::Protocols;
use crate::fleet::asker::ToStore;
use crate::ipc::fork_server::{self, Parent};
use crate::ipc::orders::{News, Order};
use crate::ipc::{Helper, log_channel};
use crate::net::tls::certificate;
use crate::net::tls::login::Authority;
use crate::net::tls::secrets::TlsSecrets;
use crate::net::tls::server::Door;
use crate::sandbox::confinement::{Confinement, Duty, reopen_root};
use crate::session::login::Steps;
use crate::session::protocol::Protocol;
use crate::users::throttle::{self, Throttle};
use crate::users::{self, Account, Identity, Login, Names, Rights};
use rustix::fs::{Mode, OFlags};

pub(crate) fn start_zygote(
    config: &Config,
    confinement: &Confinement<'_>,
    memory: &Shared<'_>,
) -> Result<Helper<Order, News>, String> {
    let shown = read_certificates(config)?;
    let protocols = Protocols::of(config);
    Helper::spawn_ready("zygote", |child| {
        let tls = open_door(shown.as_ref())?;
        let mut handles: Vec<_> = memory.helpers.handles().collect();
        handles.extend(log_channel::sender(Zygote::CHILD));
        let confined = confinement.with(Duty::Forking);
        child.enter(c"tfd-zygote", &confined, &handles)?;
        tls.as_ref().inspect(|door| door.warm());
        memory.helpers.adopt()?;
        let zygote = Zygote {
            protocols,
            login_timeout: config.server.handshake_limit,
            accept_proxy_from: config.server.accept_proxy_from.clone(),
            steps: Steps::of(config),
            tls,
            sandbox: confinement.sandbox.clone(),
        };
        child.ready()?;
        fork_server::run(&child.channel, &zygote)
    })
}

/// A server's certificate and those who vouch for clients, in PEM.
type Certificates = (Vec<u8>, Option<Vec<u8>>);

/// Reads them where TLS is spoken.
fn read_certificates(config: &Config) -> Result<Option<Certificates>, String> {
    let Some(tls) = &config.server.tls else {
        return Ok(None);
    };
    let own = certificate::read_file(&tls.certificate);
    let own = own.map_err(|e| format!("server.tls_certificate: {e}"))?;
    let clients = tls
        .client_ca
        .as_deref()
        .map(certificate::read_file)
        .transpose();
    Ok(Some((
        own,
        clients.map_err(|e| format!("server.tls_client_ca: {e}"))?,
    )))
}

/// The door that gates show them at.
fn open_door(shown: Option<&Certificates>) -> io::Result<Option<Door>> {
    let Some((own, clients)) = shown else {
        return Ok(None);
    };
    if let Some(warning) = certificate::expiry_warning(own) {
        log::warn!(reason:% = warning; "tls_certificate");
    }
    Door::new(own, clients.as_deref())
        .map(Some)
        .map_err(io::Error::other)
}

pub(crate) fn start_launcher(
    config: &Config,
    confinement: &Confinement<'_>,
    memory: &Shared<'_>,
) -> Result<Helper<Order, News>, String> {
    let protocols = Protocols::of(config);
    // A protocol with a root of its own may be alone.
    let root = match config.server.root.as_os_str().is_empty() {
        true => protocols.roots().next().map(|(_, path)| path),
        false => Some(config.server.root.as_path()),
    };
    let root = open_root(root.unwrap_or(&config.server.root))?;
    let own_roots = protocols.roots();
    let own_roots = own_roots.map(|(number, path)| Ok((number, open_root(path)?)));
    let own_roots = own_roots.collect::<Result<Vec<_>, String>>()?;
    let steps = Steps::of(config);
    // Without root nobody changes his identity.
    let is_shared = steps == Steps::NONE || !confinement.changes_root();
    Helper::spawn_ready("launcher", |child| {
        let mut launcher = Launcher {
            root,
            own_roots,
            steps,
            is_shared,
            sandbox: &confinement.sandbox,
            protocols,
            names: Rc::new(Names::read()?),
            usage: match config.server.quota {
                Some(_) => Some(memory.usage.map_to_read()?),
                None => None,
            },
            records: memory.records,
        };
        let root = launcher.root.as_fd();
        let mut roots = vec![root];
        roots.extend(launcher.own_roots.iter().map(|(_, root)| root.as_fd()));
        let mut handles = roots.clone();
        handles.extend(launcher.records);
        handles.extend(memory.helpers.handles());
        handles.extend(log_channel::sender(Launcher::CHILD));
        let duty = if is_shared {
            Duty::Sharing(root)
        } else {
            Duty::Launching(&roots)
        };
        child.enter(c"tfd-launcher", &confinement.with(duty), &handles)?;
        if is_shared && confinement.changes_root() {
            launcher.root = reopen_root()?;
        }
        memory.helpers.adopt()?;
        child.ready()?;
        fork_server::run(&child.channel, &launcher)
    })
}

/// The handle of a root.
fn open_root(path: &Path) -> Result<OwnedFd, String> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(|e| format!("root {}: {e}", path.display()))
}

/// A keeper, in the daemon.
pub(crate) type Keeper = Helper<Option<keeper::NewGate>, keeper::Outcome>;

/// Starts a keeper and waits until it has read the key. The key never is in
/// the daemon's memory.
pub(crate) fn start_keeper(
    config: &Config,
    confinement: &Confinement<'_>,
) -> Result<Keeper, String> {
    Helper::spawn_ready("keeper", |child| {
        let secrets = read_secrets(config).map_err(io::Error::other)?;
        let confined = confinement.with(Duty::Alone(None));
        child.enter(c"tfd-keeper", &confined, &[])?;
        secrets.warm();
        let login_keys = secrets.has_login_keys.then(LoginKeys::start).transpose()?;
        child.ready()?;
        keeper::run(secrets, login_keys, child.channel.try_clone()?)
    })
}

/// The login of all clients where there are no accounts.
pub(crate) fn shared_login(config: &Config, identity: Option<&Identity>) -> Login {
    let identity = identity.cloned().unwrap_or_else(Identity::own);
    let name = identity.name.clone();
    let max_sessions = Some(config.server.max_sessions);
    let (home, rights) = (String::new(), Rights::Full);
    Login {
        name,
        identity,
        home,
        rights,
        max_sessions,
        rate: None,
        quota: None,
    }
}

/// The authenticator, in the daemon.
pub(crate) type Authenticator = Helper<Option<authenticator::Gate>, authenticator::Outcome>;

/// Starts the authenticator and waits until it has read the users file and looked
/// up their system users. The hashes never are in the daemon's memory.
///
/// PAM checks the passwords if it is there, and the shared state is asked, too.
pub(crate) fn start_authenticator(
    config: &Config,
    confinement: &Confinement<'_>,
    pam: Option<Pam>,
    shared: Option<ToStore>,
) -> Result<(Authenticator, Vec<Login>), String> {
    let mut logins = Vec::new();
    let hear = |login: Login| logins.push(login);
    let helper = Helper::spawn_reporting("authenticator", hear, |child| {
        let accounts = read_accounts(config).map_err(io::Error::other)?;
        let users = config.server.users.clone().unwrap_or_default();
        let blocked = throttle::open_beside(&users, true)?;
        let authority = read_authority(config).map_err(io::Error::other)?;
        for (account, identity) in &accounts {
            child.report(Login::new(account, identity.clone()))?;
        }
        let confined = confinement.with(Duty::Alone(None));
        let mut handles = vec![blocked.as_fd()];
        handles.extend(pam.as_ref().map(AsFd::as_fd));
        handles.extend(shared.as_ref().map(AsFd::as_fd));
        child.enter(c"tfd-auth", &confined, &handles)?;
        child.ready()?;
        let accounts = accounts.into_iter().map(|(account, _)| account).collect();
        let mut throttle = Throttle::new(config.server.login_limits, Some(blocked));
        if let Err(e) = throttle.forget_bars_for_good() {
            log::error!(error:% = e; "bars of accounts not forgotten");
        }
        let daemon = child.channel.try_clone()?;
        let blocks = config.server.login_limits.failures > 0;
        let checks = Checks {
            authority,
            pam,
            shared: shared.map(|channel| SharedLogins::new(channel, blocks)),
        };
        authenticator::run(accounts, throttle, checks, daemon)
    })?;
    Ok((helper, logins))
}

/// Who vouches for clients' certificates, where they log in by those.
fn read_authority(config: &Config) -> Result<Option<Authority>, String> {
    let path = config
        .server
        .tls
        .as_ref()
        .and_then(|tls| tls.client_ca.as_deref());
    let Some(path) = path else { return Ok(None) };
    let authority = certificate::read_file(path).and_then(|pem| Authority::from_pem(&pem));
    authority
        .map(Some)
        .map_err(|e| format!("server.tls_client_ca: {e}"))
}

/// The accounts of the users file and the identities they lead to.
fn read_accounts(config: &Config) -> Result<Vec<(Account, Identity)>, String> {
    let path = config
        .server
        .users
        .as_deref()
        .ok_or("server.users is missing")?;
    let accounts = users::file::read(path).map_err(|problems| problems.join("; "))?;
    // Each system user is looked up once, however many accounts it has.
    let mut identities: HashMap<String, Identity> = HashMap::new();
    let with_identity = |account: Account| {
        let user = account.system_user.as_str();
        let identity = match identities.get(user) {
            Some(identity) => identity.clone(),
            None => {
                let identity =
                    Identity::of(user).map_err(|e| format!("{}: {user}: {e}", account.name))?;
                identities.insert(user.to_owned(), identity.clone());
                identity
            }
        };
        if identity.uid.is_root() && !config.server.allow_root_user {
            return Err(format!("{}: {user} is root", account.name));
        }
        Ok((account, identity))
    };
    accounts.into_iter().map(with_identity).collect()
}

fn read_tls_secrets(tls: &Tls) -> Result<TlsSecrets, String> {
    let key = certificate::read_key_file(&tls.key).map_err(|e| format!("server.tls_key: {e}"))?;
    let own = certificate::read_file(&tls.certificate);
    let own = own.map_err(|e| format!("server.tls_certificate: {e}"))?;
    certificate::check_pair(&own, &key)
        .and_then(|()| TlsSecrets::new(&key, &own))
        .map_err(|e| format!("server.tls_key: {e}"))
}

fn read_secrets(config: &Config) -> Result<Secrets, String> {
    let config = &config.with_secrets()?;
    let protocols = Protocols::of(config);
    let of_protocols = protocols.secrets(config)?;
    let has_login_keys = protocols.iter().any(Protocol::has_login_keys);
    let tls = config
        .server
        .tls
        .as_ref()
        .map(read_tls_secrets)
        .transpose()?;
    Ok(Secrets {
        of_protocols,
        tls,
        has_steps: Steps::of(config) != Steps::NONE,
        has_login_keys,
    })
}
