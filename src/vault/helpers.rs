//! The helper processes of the vault, in the daemon: the one that keeps the accounts,
//! and the one that sends mails.

use std::any::Any;
use std::cell::RefCell;
use std::io;
use std::mem::ManuallyDrop;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use nix::unistd::Pid;

use super::accounts::process::{self, Rules};
use super::accounts::{Admitted, Asking, NewCaller};
use super::mail;
use super::place::Place;
use crate::config::{Config, Mail, Vault};
use crate::ipc::{Helper, Service};
use crate::sandbox::confinement::{Confinement, Duty};
use crate::session::login::AskingGate;
use crate::session::protocol::{HelperContext, Helpers, OwnLogin};
use crate::users::{Identity, Login, Rights, throttle};

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
    service: RefCell<Service<Option<NewCaller>, Admitted>>,
    mailer: RefCell<Option<Service<()>>>,
    identity: Identity,
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
        let settings = format!("{vault:?} {:?}", rules(context.config, vault));
        let fits = |before: &&VaultHelpers| before.running.settings == settings;
        if let Some(before) = before.filter(fits) {
            return Ok(VaultHelpers::of(Rc::clone(&before.running)));
        }
        let (helper, identity) = spawn(context, vault)?;
        let service = Service::new(helper);
        let mailer = match &vault.mail {
            Some(mail) => Some(Service::new(spawn_mailer(context, mail, &service)?)),
            None => None,
        };
        Ok(VaultHelpers::of(Rc::new(Running {
            service: RefCell::new(service),
            mailer: RefCell::new(mailer),
            identity,
            settings,
        })))
    }

    fn of(running: Rc<Running>) -> VaultHelpers {
        let channel = running.channel();
        VaultHelpers { running, channel }
    }
}

impl Running {
    /// The channel of the process once more.
    fn channel(&self) -> Option<OwnedFd> {
        let service = self.service.borrow();
        service.channel()?.try_clone_to_owned().ok()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It serves those it has, and ends with the last; their codes are mailed by the
        // mailer of its successor.
        let _ = self.service.get_mut().send(&None);
        self.mailer.get_mut().iter().for_each(Service::kill);
    }
}

/// The process in the daemon.
type Accounts = Helper<Option<NewCaller>, Admitted>;

fn spawn_mailer(
    context: &HelperContext<'_>,
    settings: &Mail,
    accounts: &Service<Option<NewCaller>, Admitted>,
) -> Result<Helper, String> {
    let to_accounts = accounts.open(|channel| Some(NewCaller::Mailer(channel)));
    let to_accounts = to_accounts.map_err(|e| format!("mailer: {e}"))?;
    mail::spawn(context, settings, &to_accounts)
}

fn spawn(context: &HelperContext<'_>, vault: &Vault) -> Result<(Accounts, Identity), String> {
    let mut found = None;
    let hear = |identity: Identity| found = Some(identity);
    let rules = rules(context.config, vault);
    let helper = Helper::spawn_reporting("vault accounts", hear, |child| {
        let identity = identity(context, vault).map_err(io::Error::other)?;
        let place = Place::at(&vault.data);
        place.make(&identity).map_err(io::Error::other)?;
        let store = place.open_store().map_err(io::Error::other)?;
        let beside = context.config.blocked_beside();
        let blocked = throttle::open_beside(&beside.unwrap_or_default(), true)?;
        child.report(identity.clone())?;
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
        child.ready()?;
        process::run(Path::new("/"), rules, blocked, child.channel.try_clone()?)
    })?;
    let identity = found.ok_or("vault accounts: no identity")?;
    Ok((helper, identity))
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

fn rules(config: &Config, vault: &Vault) -> Rules {
    Rules {
        is_open: vault.is_open,
        confirms_devices: vault.confirms_devices,
        mails_devices: vault.mails_devices,
        limits: config.server.login_limits,
    }
}

impl Helpers for VaultHelpers {
    fn open(&self, login: &Login, peer: IpAddr) -> io::Result<Option<OwnedFd>> {
        let account = login.home.parse();
        let account = account.map_err(|_| io::ErrorKind::InvalidInput)?;
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

    fn admitted(&mut self) -> Option<OwnLogin> {
        let Admitted {
            tag,
            account,
            name,
            gate,
        } = self.running.service.borrow().news()?;
        let login = Login {
            name,
            identity: self.running.identity.clone(),
            home: account.to_string(),
            rights: Rights::Full,
            max_sessions: None,
            rate: None,
            quota: None,
        };
        Some(OwnLogin { tag, login, gate })
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
            self.channel = self.running.channel();
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
