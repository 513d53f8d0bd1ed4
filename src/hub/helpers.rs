//! The helper processes of the hub, in the daemon: the broker and the prober.

use std::any::Any;
use std::cell::RefCell;
use std::io;
use std::mem::ManuallyDrop;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use super::book::Rules;
use super::broker::Terms;
use super::broker::figures::FIGURES;
use super::broker::message::{Card, FromRelay, FromSession, NewCaller, ToRelay, ToSession};
use super::broker::process::{self, Channels, Outcome, Settings};
use super::place::Place;
use super::wire::{Label, Role, User, Value};
use super::{prober, relay};
use crate::config::{self, Config, Hub};
use crate::ipc::channel::Channel;
use crate::ipc::figures::Figures;
use crate::ipc::{Helper, Pipe, Service};
use crate::sandbox::confinement::{Confinement, Duty};
use crate::sandbox::place;
use crate::session::failure::Failure;
use crate::session::login::AskingGate;
use crate::session::protocol::{HelperContext, Helpers, OwnLogin};
use crate::users::{Identity, Login, throttle};

/// The processes, kept over a reload that does not concern them.
#[derive(Debug)]
pub struct HubHelpers {
    running: Rc<Running>,
    /// The channel on which the broker says who is let in, while it runs.
    channel: Option<OwnedFd>,
}

/// The processes, and whom sessions are served as.
#[derive(Debug)]
struct Running {
    service: RefCell<Service<Option<NewCaller>, Outcome>>,
    /// Where it is looked whether holders are reached.
    prober: Option<RefCell<Service<()>>>,
    figures: Rc<Figures>,
    sessions: Identity,
    /// How many bytes a second a user may send and get by the relay.
    relay_rate: u64,
    /// What they were started with.
    settings: String,
}

impl HubHelpers {
    /// Starts them for a configuration, unless those that run are right for it.
    ///
    /// # Errors
    /// One line that says what could not be started.
    pub fn start(
        context: &HelperContext<'_>,
        hub: &Hub,
        before: Option<&HubHelpers>,
    ) -> Result<HubHelpers, String> {
        let sessions = context.session_identity()?;
        let settings = format!(
            "{hub:?} {:?} {sessions:?} {}",
            settings(context, hub),
            context.records.is_some()
        );
        let fits = |before: &&HubHelpers| before.running.settings == settings;
        if let Some(before) = before.filter(fits) {
            return Ok(HubHelpers::of(Rc::clone(&before.running)));
        }
        let figures = match before {
            Some(before) => Rc::clone(&before.running.figures),
            None => Rc::new(Figures::new(&FIGURES)?),
        };
        let service = Service::new(spawn(context, hub, &figures)?);
        let prober = (!hub.probe_cycle.is_zero())
            .then(|| spawn_prober(context, &service).map(Service::new))
            .transpose()?;
        Ok(HubHelpers::of(Rc::new(Running {
            service: RefCell::new(service),
            prober: prober.map(RefCell::new),
            figures,
            sessions,
            relay_rate: hub.relay_rate,
            settings,
        })))
    }

    fn of(running: Rc<Running>) -> HubHelpers {
        let channel = running.service.borrow().cloned_channel();
        HubHelpers { running, channel }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It sends its peers away; they come again, to its successor. The prober ends with
        // it.
        let _ = self.service.get_mut().send(&None);
    }
}

/// The process in the daemon.
type Broker = Helper<Option<NewCaller>, Outcome>;

fn spawn(context: &HelperContext<'_>, hub: &Hub, figures: &Figures) -> Result<Broker, String> {
    if context.config.server.audit.is_some() && context.records.is_none() {
        return Err("hub broker: there is no auditor".to_owned());
    }
    Helper::spawn_ready("hub broker", |child| {
        let identity = identity(context.config, hub).map_err(io::Error::other)?;
        let settings = settings(context, hub).map_err(io::Error::other)?;
        let place = Place::at(&hub.data);
        place.make(&identity).map_err(io::Error::other)?;
        let store = place.open_store().map_err(io::Error::other)?;
        let beside = context.config.blocked_beside();
        let blocked = throttle::open_beside(&beside.unwrap_or_default(), true)?;
        let takes = context.identity.map(|_| &identity);
        // Entering it closes its own descriptor.
        let confinement = Confinement::new(takes, context.sandbox);
        let confinement = ManuallyDrop::new(confinement.map_err(io::Error::other)?);
        let duty = Duty::Keeping(store.as_fd());
        let auditor = context.records.map(|it| it.try_clone_to_owned());
        let auditor = auditor.transpose()?;
        let mut handles = vec![store.as_fd(), blocked.as_fd()];
        handles.extend(auditor.as_ref().map(AsFd::as_fd));
        let board = figures.board()?;
        child.enter(c"tfd-hub", &confinement.with(duty), &handles)?;
        let place = place::Place::Helper("broker");
        place::reached(place, place::NOBODY, Some(store.as_fd()));
        child.ready()?;
        let channels = Channels {
            daemon: child.channel.try_clone()?,
            board,
            auditor: auditor.map(|handle| Channel::from_handle(handle).into()),
        };
        process::run(Path::new("/"), settings, blocked, channels)
    })
}

fn spawn_prober(
    context: &HelperContext<'_>,
    broker: &Service<Option<NewCaller>, Outcome>,
) -> Result<Helper, String> {
    let to_broker = broker.open(|channel| Some(NewCaller::Prober(channel)));
    prober::spawn(context, to_broker.map_err(|e| format!("hub prober: {e}"))?)
}

fn settings(context: &HelperContext<'_>, hub: &Hub) -> Result<Settings, String> {
    Ok(Settings {
        rules: rules(hub)?,
        window: hub.window,
        patience: hub.patience,
        is_rebuilt: hub.is_rebuilt,
        terms: Terms {
            warn_after: seconds(hub.warn_after),
            gone_after: seconds(hub.gone_after),
            heal_rate: hub.heal_rate.max(1),
            audit_cycle: seconds(hub.audit_cycle),
        },
        probe_cycle: hub.probe_cycle,
        relay_port: context.port(config::Protocol::Hub, config::RELAY_KEY),
        relay_lines: hub.relay_lines,
        limits: context.config.server.login_limits,
    })
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// What holds for all users of a hub.
///
/// # Errors
/// One line.
pub fn rules(hub: &Hub) -> Result<Rules, String> {
    Ok(Rules {
        hub: Label::read(&hub.name).ok_or("hub.name: not a name")?,
        free: hub.free,
        ratio: hub.ratio,
    })
}

/// Who keeps the database.
///
/// # Errors
/// One line.
pub fn identity(config: &Config, hub: &Hub) -> Result<Identity, String> {
    let name = &hub.user;
    let identity = Identity::of(name)
        .map_err(|e| format!("hub.user: \"{name}\": {e}: make it (useradd --system {name})"))?;
    let others = [&config.server.user, &config.server.helper_user];
    let is_taken = others.contains(&&Some(name.clone()));
    if identity.uid.is_root() || is_taken {
        let text = "name a system user of its own, not root nor one of [server]";
        return Err(format!("hub.user: \"{name}\": {text}"));
    }
    Ok(identity)
}

impl Helpers for HubHelpers {
    fn open(&self, login: &Login, peer: IpAddr) -> io::Result<Option<OwnedFd>> {
        let user = User::read(&login.name).ok_or(io::ErrorKind::InvalidInput)?;
        let service = self.running.service.borrow();
        if login.home == relay::HOME {
            let pipe: Pipe<FromRelay, ToRelay> =
                service.open(|channel| Some(NewCaller::Relay { user, channel }))?;
            return Ok(Some(pipe.into_channel().into_handle()));
        }
        let role = Role::read(&login.home).ok_or(io::ErrorKind::InvalidInput)?;
        let card = Card { user, role, peer };
        let pipe: Pipe<FromSession, ToSession> =
            service.open(|channel| Some(NewCaller::Session { card, channel }))?;
        Ok(Some(pipe.into_channel().into_handle()))
    }

    fn admit(&self, gate: AskingGate) -> io::Result<()> {
        let service = self.running.service.borrow();
        service.send(&Some(NewCaller::Gate(gate)))
    }

    fn admitted(&mut self) -> Option<Result<OwnLogin, Failure>> {
        let admitted = match self.running.service.borrow().news()? {
            Ok(admitted) => admitted,
            Err(failure) => return Some(Err(failure)),
        };
        let name = admitted.user.as_str().to_owned();
        let sessions = self.running.sessions.clone();
        let home = admitted.role.map_or(relay::HOME, Role::word);
        let mut login = Login::unlimited(name, sessions, home.to_owned());
        if admitted.role.is_none() {
            login.rate = Some(self.running.relay_rate);
        }
        Some(Ok(OwnLogin {
            tag: admitted.tag,
            login,
            gate: admitted.gate,
        }))
    }

    fn channel(&self) -> Option<BorrowedFd<'_>> {
        self.channel.as_ref().map(AsFd::as_fd)
    }

    fn figures(&self) -> Option<&Figures> {
        Some(&self.running.figures)
    }

    fn reaped(&mut self, pid: Pid) -> bool {
        let is_ours = self.running.service.borrow_mut().reaped(pid);
        if is_ours {
            self.channel = None;
        }
        let prober = self.running.prober.as_ref();
        is_ours || prober.is_some_and(|prober| prober.borrow_mut().reaped(pid))
    }

    fn due(&self) -> Option<Instant> {
        let prober = self.running.prober.as_ref();
        let prober = prober.and_then(|prober| prober.borrow().due());
        let broker = self.running.service.borrow().due();
        broker.into_iter().chain(prober).min()
    }

    fn restart_if_due(&mut self, context: &HelperContext<'_>) {
        if let Some(hub) = &context.config.hub {
            let start = || spawn(context, hub, &self.running.figures);
            self.running.service.borrow_mut().restart_if_due(start);
            self.channel = self.running.service.borrow().cloned_channel();
        }
        if let Some(prober) = &self.running.prober {
            let broker = self.running.service.borrow();
            let start = || spawn_prober(context, &broker);
            prober.borrow_mut().restart_if_due(start);
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
