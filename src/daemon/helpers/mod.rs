//! Starting the helper processes of a generation: what each is given, and what
//! it gives up before it begins.

pub mod auditor;
pub mod authenticator;
pub mod control;
pub mod fork_server;
pub mod keeper;
pub mod launcher;
pub mod recount;
pub mod replay_guard;
pub mod spare_child;
pub mod sweeper;
pub mod zygote;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;

use nix::unistd::getpid;
use rustix::fs::{Mode, OFlags};
use zeroize::Zeroizing;

use crate::config::{Config, Mode as Users, Tls, read_key};
use crate::daemon::generation::Helper;
use crate::daemon::helpers::keeper::{Extras, Secrets};
use crate::daemon::helpers::launcher::Launcher;
use crate::daemon::helpers::zygote::Zygote;
use crate::daemon::memory::Shared;
use crate::ipc::channel::{Channel, pair};
use crate::net::tls::certificate;
use crate::net::tls::login::Authority;
use crate::net::tls::secrets::TlsSecrets;
use crate::net::tls::server::Door;
use crate::sandbox::confinement::{Confinement, finish};
use crate::sys::process::fork;
use crate::tf::cipher::tables::Tables;
use crate::tf::doors::Closed;
use crate::tf::gate::Doors;
use crate::trusted;
use crate::users::throttle::Throttle;
use crate::users::{self, Account, Identity, Login, Names, Rights};

/// What a keeper says when it is ready; anything else is why it is not.
const READY: &[u8] = b"ready";

/// What the authenticator's messages before that begin with: an account, or why it
/// is not ready.
const ACCOUNT: u8 = 1;
const NOT_READY: u8 = 2;

/// More bytes than an account's message has.
const MAX_LOGIN: usize = 512 * 1024;

pub(crate) fn start_zygote(
    config: &Config,
    confinement: &Confinement<'_>,
    memory: &Shared<'_>,
    user: &str,
) -> Result<Helper, String> {
    let (ours, theirs) = pair().map_err(|e| format!("zygote: {e}"))?;
    let parent = getpid();
    let shown = read_certificates(config)?;
    let doors = Doors {
        tls: None,
        version: config.tf.version.clone().into_bytes(),
        limit: config.tf.handshake_limit,
        accept_proxy_from: config.tf.accept_proxy_from.clone(),
        closed: config.tf.closed(),
    };
    let settings = config.tf.session.clone();
    let child = || {
        let run = || {
            let names = Rc::new(Names::read()?);
            let doors = Doors {
                tls: open_door(shown.as_ref())?,
                ..doors
            };
            let slots = memory.slots.as_fd();
            let mut handles = vec![theirs.as_fd(), slots];
            handles.extend(memory.tables.into_iter().flat_map(Tables::handles));
            confinement.enter(parent, &handles)?;
            doors.tls.as_ref().inspect(|door| door.warm());
            memory.tables.map_or(Ok(()), Tables::read)?;
            let _ = nix::sys::prctl::set_name(c"tfd-zygote");
            let sandbox = confinement.sandbox.clone();
            let user = user.to_owned();
            let limits = memory.limits;
            let zygote = Zygote {
                doors,
                settings,
                names,
                user,
                sandbox,
                limits,
                slots,
            };
            fork_server::run(&theirs, &zygote)
        };
        finish("zygote", run())
    };
    let pid = fork(child).map_err(|e| format!("zygote: {e}"))?;
    Ok(Helper { pid, channel: ours })
}

/// A server's certificate and those who vouch for clients, in PEM.
type Certificates = (Vec<u8>, Option<Vec<u8>>);

/// Reads them where TLS is spoken.
fn read_certificates(config: &Config) -> Result<Option<Certificates>, String> {
    let Some(tls) = &config.tf.tls else {
        return Ok(None);
    };
    let own = certificate::read_file(&tls.certificate);
    let own = own.map_err(|e| format!("tf.tls_certificate: {e}"))?;
    let clients = tls
        .client_ca
        .as_deref()
        .map(certificate::read_file)
        .transpose();
    Ok(Some((
        own,
        clients.map_err(|e| format!("tf.tls_client_ca: {e}"))?,
    )))
}

/// The door that gates show them at.
fn open_door(shown: Option<&Certificates>) -> io::Result<Option<Door>> {
    let Some((own, clients)) = shown else {
        return Ok(None);
    };
    if let Some(warning) = certificate::expiry_warning(own) {
        log::warn!("tls_certificate: {warning}");
    }
    Door::new(own, clients.as_deref())
        .map(Some)
        .map_err(io::Error::other)
}

pub(crate) fn start_launcher(
    config: &Config,
    confinement: &Confinement<'_>,
    memory: &Shared<'_>,
) -> Result<Helper, String> {
    let (ours, theirs) = pair().map_err(|e| format!("launcher: {e}"))?;
    let parent = getpid();
    let root = open_root(config)?;
    let child = || {
        let run = || {
            let launcher = Launcher {
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
            let mut handles = vec![
                theirs.as_fd(),
                launcher.root.as_fd(),
                launcher.slots,
                launcher.usage,
            ];
            handles.extend(launcher.records.into_iter().chain(launcher.pool));
            handles.extend(memory.tables.into_iter().flat_map(Tables::handles));
            confinement.enter_as_launcher(parent, &handles, launcher.root.as_fd())?;
            memory.tables.map_or(Ok(()), Tables::read)?;
            let _ = nix::sys::prctl::set_name(c"tfd-launcher");
            fork_server::run(&theirs, &launcher)
        };
        finish("launcher", run())
    };
    let pid = fork(child).map_err(|e| format!("launcher: {e}"))?;
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
pub(crate) fn start_keeper(
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

/// Starts the authenticator and waits until it has read the users file and looked
/// up their system users. The hashes never are in the daemon's memory.
pub(crate) fn start_authenticator(
    config: &Config,
    confinement: &Confinement<'_>,
) -> Result<(Helper, Vec<Login>), String> {
    let (ours, theirs) = pair().map_err(|e| format!("authenticator: {e}"))?;
    let parent = getpid();
    let child = || {
        let run = || {
            let opened = read_accounts(config)
                .and_then(|accounts| open_blocked(config).map(|blocked| (accounts, blocked)));
            let opened = opened.and_then(|opened| Ok((opened, read_authority(config)?)));
            let ((accounts, blocked), authority) = match opened {
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
            let _ = nix::sys::prctl::set_name(c"tfd-auth");
            theirs.send(READY, &[])?;
            let accounts = accounts.into_iter().map(|(account, _)| account).collect();
            let throttle = Throttle::new(config.tf.login_limits, Some(blocked));
            let daemon = Channel::from_handle(theirs.as_fd().try_clone_to_owned()?);
            authenticator::run(accounts, throttle, authority, daemon)
        };
        finish("authenticator", run())
    };
    let pid = fork(child).map_err(|e| format!("authenticator: {e}"))?;
    drop(theirs);
    let mut logins = Vec::new();
    let mut buffer = vec![0; MAX_LOGIN];
    loop {
        match ours.receive(&mut buffer).map(|(len, _)| &buffer[..len]) {
            Ok(READY) => return Ok((Helper { pid, channel: ours }, logins)),
            Ok([ACCOUNT, login @ ..]) => logins.extend(Login::from_bytes(login)),
            Ok([NOT_READY, why @ ..]) => return Err(String::from_utf8_lossy(why).into_owned()),
            _ => return Err("authenticator ended before it was ready".to_owned()),
        }
    }
}

/// Who vouches for clients' certificates, where they log in by those.
fn read_authority(config: &Config) -> Result<Option<Authority>, String> {
    let path = config
        .tf
        .tls
        .as_ref()
        .and_then(|tls| tls.client_ca.as_deref());
    let Some(path) = path else { return Ok(None) };
    let authority = certificate::read_file(path).and_then(|pem| Authority::from_pem(&pem));
    authority
        .map(Some)
        .map_err(|e| format!("tf.tls_client_ca: {e}"))
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
    fine.then_some(file)
        .ok_or_else(|| format!("{shown}: not a file of root: remove it"))
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

fn read_tls_secrets(tls: &Tls) -> Result<TlsSecrets, String> {
    let key = certificate::read_key_file(&tls.key).map_err(|e| format!("tf.tls_key: {e}"))?;
    let own = certificate::read_file(&tls.certificate);
    let own = own.map_err(|e| format!("tf.tls_certificate: {e}"))?;
    certificate::check_pair(&own, &key)
        .and_then(|()| TlsSecrets::new(&key, &own))
        .map_err(|e| format!("tf.tls_key: {e}"))
}

fn read_secrets(config: &Config, memory: &Shared<'_>) -> Result<Secrets, String> {
    let key = read_key(&config.tf.private_key).map_err(|e| format!("tf.private_key: {e}"))?;
    let tls = config.tf.tls.as_ref().map(read_tls_secrets).transpose()?;
    let mut granted = Vec::new();
    if config.tf.closed() == Closed::NONE {
        granted.push(open_root(config)?);
        for handle in [Some(memory.usage), memory.records, memory.pool]
            .into_iter()
            .flatten()
        {
            granted.push(handle.try_clone_to_owned().map_err(|e| e.to_string())?);
        }
    }
    let extras = Extras {
        records: memory.records.is_some(),
        pool: memory.pool.is_some(),
    };
    let hash = Zeroizing::new(config.tf.hash.clone().into_bytes());
    Ok(Secrets {
        key,
        tls,
        hash,
        granted,
        extras,
    })
}
