//! The helper processes of the vault, in the daemon: the one that keeps the accounts,
//! and the one that sends mails.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::mem::ManuallyDrop;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use nix::unistd::Pid;

use super::accounts::process::{self, Rules};
use super::accounts::{Admitted, Ask, Asking, NewCaller, Outcome};
use super::mail;
use super::place::{Place, home_of, system_home_of};
use crate::config::{Config, Mail, Mode, Protocol, Vault};
use crate::ipc::{Helper, Service};
use crate::sandbox::confinement::{Confinement, Duty};
use crate::sandbox::place;
use crate::session::failure::Failure;
use crate::session::login::AskingGate;
use crate::session::protocol::{HelperContext, Helpers, OwnLogin};
use crate::users::{self, Account, Identity, Login, Rights, throttle};
use zeroize::Zeroizing;

/// The processes, kept over a reload that does not concern them.
#[derive(Debug)]
pub struct VaultHelpers {
    running: Rc<Running>,
    /// The channel on which it says who is let in, while it runs.
    channel: Option<OwnedFd>,
}

/// The processes, and whom sessions are served as.
#[derive(Debug)]
struct Running {
    service: RefCell<Service<Option<NewCaller>, Outcome>>,
    mailer: RefCell<Option<Service<()>>>,
    identity: Identity,
    /// The accounts of the users file that may have one here.
    users_file: Vec<Login>,
    /// The numbers of accounts, by the roots of their sessions.
    numbers: RefCell<HashMap<String, u64>>,
    /// What it was started with.
    settings: String,
}

impl VaultHelpers {
    /// Starts it for a configuration, unless the one that runs is right for it.
    ///
    /// # Errors
    /// One line that says what could not be started.
    pub fn start(
        context: &HelperContext<'_>,
        vault: &Vault,
        before: Option<&VaultHelpers>,
    ) -> Result<VaultHelpers, String> {
        let settings = format!(
            "{vault:?} {:?} {} {:?}",
            rules(context.config, vault, Vec::new()),
            has_existing_clients(context.config),
            users_file(context.config).and_then(|path| version(&path)),
        );
        let fits = |before: &&VaultHelpers| before.running.settings == settings;
        if let Some(before) = before.filter(fits) {
            return Ok(VaultHelpers::of(Rc::clone(&before.running)));
        }
        let (helper, (identity, users_file)) = spawn(context, vault)?;
        let service = Service::new(helper);
        let mailer = match &vault.mail {
            Some(mail) => Some(Service::new(spawn_mailer(context, mail, &service)?)),
            None => None,
        };
        Ok(VaultHelpers::of(Rc::new(Running {
            service: RefCell::new(service),
            mailer: RefCell::new(mailer),
            identity,
            users_file,
            numbers: RefCell::default(),
            settings,
        })))
    }

    fn of(running: Rc<Running>) -> VaultHelpers {
        let channel = running.service.borrow().cloned_channel();
        VaultHelpers { running, channel }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It serves those it has, and ends with the last; their codes are mailed by the
        // mailer of its successor. Clients of the own dialect come again, to the process
        // that knows the others.
        let service = self.service.get_mut();
        let own: io::Result<Asking> = service.open(|channel| Some(NewCaller::Daemon { channel }));
        if let Ok(own) = own {
            let _ = own.try_send(&Ask::Retire);
        }
        let _ = service.send(&None);
        self.mailer.get_mut().iter().for_each(Service::kill);
    }
}

/// The process in the daemon.
type Accounts = Helper<Option<NewCaller>, Outcome>;

fn spawn_mailer(
    context: &HelperContext<'_>,
    settings: &Mail,
    accounts: &Service<Option<NewCaller>, Outcome>,
) -> Result<Helper, String> {
    let to_accounts = accounts.open(|channel| Some(NewCaller::Mailer(channel)));
    let to_accounts = to_accounts.map_err(|e| format!("mailer: {e}"))?;
    mail::spawn(context, settings, &to_accounts)
}

/// Whom sessions are served as: the system user, and accounts of the users file.
type Found = (Identity, Vec<Login>);

fn spawn(context: &HelperContext<'_>, vault: &Vault) -> Result<(Accounts, Found), String> {
    let mut found = None;
    let hear = |all: Found| found = Some(all);
    let helper = Helper::spawn_reporting("vault accounts", hear, |child| {
        let identity = identity(context, vault).map_err(io::Error::other)?;
        let place = Place::at(&vault.data);
        let has_key = has_existing_clients(context.config);
        place.make(&identity, has_key).map_err(io::Error::other)?;
        let store = place.open_store().map_err(io::Error::other)?;
        let beside = context.config.blocked_beside();
        let blocked = throttle::open_beside(&beside.unwrap_or_default(), true)?;
        let (accounts, logins) = of_users_file(context, &place).map_err(io::Error::other)?;
        let rules = rules(context.config, vault, accounts);
        child.report((identity.clone(), logins))?;
        let takes = context.identity.map(|_| &identity);
        // Entering it closes its own descriptor.
        let confinement = Confinement::new(takes, context.sandbox);
        let confinement = ManuallyDrop::new(confinement.map_err(io::Error::other)?);
        let duty = Duty::Keeping(store.as_fd());
        child.enter(
            c"tfd-vault",
            &confinement.with(duty),
            &[store.as_fd(), blocked.as_fd()],
        )?;
        place::reached(
            place::Place::Helper("accounts"),
            place::NOBODY,
            Some(store.as_fd()),
        );
        child.ready()?;
        process::run(Path::new("/"), rules, blocked, child.channel.try_clone()?)
    })?;
    let found = found.ok_or("vault accounts: no identity")?;
    Ok((helper, found))
}

/// The users file, where there are accounts.
fn users_file(config: &Config) -> Option<PathBuf> {
    let users = config.server.users.clone();
    users.filter(|_| config.server.mode == Mode::MultiUser)
}

/// What changes when somebody changes a file.
fn version(path: &Path) -> Option<(u64, i64, i64)> {
    let metadata = path.metadata().ok()?;
    Some((metadata.ino(), metadata.mtime(), metadata.mtime_nsec()))
}

/// The accounts of the users file that may have one here, without their hashes, and
/// what their sessions are started with. Makes their directories.
fn of_users_file(
    context: &HelperContext<'_>,
    place: &Place,
) -> Result<(Vec<Account>, Vec<Login>), String> {
    let Some(path) = users_file(context.config) else {
        return Ok((Vec::new(), Vec::new()));
    };
    let accounts = users::file::read(&path).map_err(|problems| problems.join("; "))?;
    let (mut known, mut logins) = (Vec::new(), Vec::new());
    for account in accounts.into_iter().filter(|account| account.options.vault) {
        let name = &account.system_user;
        let identity = Identity::of(name).map_err(|e| format!("\"{name}\": {e}"))?;
        if identity.uid.is_root() {
            let text = "an account of root has none in the vault: remove its option vault";
            return Err(format!("server.users: {}: {text}", account.name));
        }
        if context.identity.is_some() {
            place.make_system(&identity, &account.name)?;
        }
        let home = system_home_of(identity.uid.as_raw(), &account.name);
        logins.push(Login {
            home,
            rights: Rights::Full,
            ..Login::new(&account, identity)
        });
        known.push(Account {
            hash: Zeroizing::default(),
            totp: None,
            next_totp: None,
            ..account
        });
    }
    Ok((known, logins))
}

/// Whether clients of existing dialects are listened for.
fn has_existing_clients(config: &Config) -> bool {
    let listeners = config.listeners();
    let mut of_vault = listeners.iter().filter(|it| it.protocol == Protocol::Vault);
    of_vault.any(|listener| !listener.tls)
}

fn identity(context: &HelperContext<'_>, vault: &Vault) -> Result<Identity, String> {
    let name = &vault.user;
    let identity = Identity::of(name)
        .map_err(|e| format!("vault.user: \"{name}\": {e}: make it (useradd --system {name})"))?;
    let is_taken = context.identity.is_some_and(|of| of.uid == identity.uid);
    let is_clients = context.config.server.user.as_ref() == Some(name);
    if identity.uid.is_root() || is_taken || is_clients {
        let text = "name a system user of its own, not root nor one of [server]";
        return Err(format!("vault.user: \"{name}\": {text}"));
    }
    Ok(identity)
}

fn rules(config: &Config, vault: &Vault, users_file: Vec<Account>) -> Rules {
    Rules {
        is_open: vault.is_open,
        confirms_devices: vault.confirms_devices,
        mails_devices: vault.mails_devices,
        most_cookies: vault.cookies_per_address,
        limits: config.server.login_limits,
        users_file,
    }
}

impl Helpers for VaultHelpers {
    fn open(&self, login: &Login, peer: IpAddr) -> io::Result<Option<OwnedFd>> {
        let account = self.running.numbers.borrow().get(&login.home).copied();
        let account = account.ok_or(io::ErrorKind::InvalidInput)?;
        let asking: Asking = self.running.service.borrow().open(|channel| {
            Some(NewCaller::Session {
                account,
                peer,
                channel,
            })
        })?;
        Ok(Some(asking.into_channel().into_handle()))
    }

    fn admit(&self, gate: AskingGate) -> io::Result<()> {
        self.running
            .service
            .borrow()
            .send(&Some(NewCaller::Gate(gate)))
    }

    fn admitted(&mut self) -> Option<Result<OwnLogin, Failure>> {
        let Admitted {
            tag,
            account,
            name,
            of_users_file,
            gate,
        } = match self.running.service.borrow().news()? {
            Ok(admitted) => admitted,
            Err(failure) => return Some(Err(failure)),
        };
        let login = match of_users_file {
            true => {
                let mut known = self.running.users_file.iter();
                known.find(|login| login.name == name)?.clone()
            }
            false => Login::unlimited(name, self.running.identity.clone(), home_of(account)),
        };
        let mut numbers = self.running.numbers.borrow_mut();
        numbers.insert(login.home.clone(), account);
        Some(Ok(OwnLogin { tag, login, gate }))
    }

    fn channel(&self) -> Option<BorrowedFd<'_>> {
        self.channel.as_ref().map(AsFd::as_fd)
    }

    fn reaped(&mut self, pid: Pid) -> bool {
        let is_ours = self.running.service.borrow_mut().reaped(pid);
        if is_ours {
            self.channel = None;
        }
        let mut mailer = self.running.mailer.borrow_mut();
        is_ours || mailer.as_mut().is_some_and(|mailer| mailer.reaped(pid))
    }

    fn due(&self) -> Option<Instant> {
        let mailer = self.running.mailer.borrow();
        let mailer = mailer.as_ref().and_then(Service::due);
        let due = self.running.service.borrow().due();
        due.into_iter().chain(mailer).min()
    }

    fn restart_if_due(&mut self, context: &HelperContext<'_>) {
        if let Some(vault) = &context.config.vault {
            let start = || spawn(context, vault).map(|(helper, _)| helper);
            self.running.service.borrow_mut().restart_if_due(start);
            self.channel = self.running.service.borrow().cloned_channel();
            let service = self.running.service.borrow();
            let mut mailer = self.running.mailer.borrow_mut();
            if let (Some(mailer), Some(mail)) = (&mut *mailer, &vault.mail) {
                mailer.restart_if_due(|| spawn_mailer(context, mail, &service));
            }
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
