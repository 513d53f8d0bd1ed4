//! The helper processes of the holder, in the daemon: the stock, the line to the hub,
//! carriers, one for each other holder that the stock has dialled, and callers, one for
//! each peer that waits elsewhere.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashSet;
use std::io;
use std::mem::ManuallyDrop;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::caller;
use super::carrier;
use super::line;
use super::place::{HOME, Place};
use super::stock;
use super::stock::figures::FIGURES;
use super::stock::message::{
    Admitted, Call, Dial, FromCarrier, FromLine, FromSession, NewCaller, ToCarrier, ToDaemon,
    ToLine, ToSession,
};
use super::stock::process::{self, Shown};
use crate::config::{self, Config, Holder};
use crate::hub::peer::holder_key::HolderKey;
use crate::hub::wire::{Label, User, Value};
use crate::ipc::figures::Figures;
use crate::ipc::{Helper, Pipe, Service};
use crate::net::tls::certificate::of_ed25519;
use crate::net::tls::secrets::TlsSecrets;
use crate::sandbox::confinement::{Confinement, Duty};
use crate::sandbox::place;
use crate::session::failure::Failure;
use crate::session::login::AskingGate;
use crate::session::protocol::{Called, HelperContext, Helpers, OwnLogin};
use crate::users::{Identity, Login};

/// The most carriers at once; the stock wants fewer.
const MOST_CARRIERS: usize = 8;

/// The most callers at once.
const MOST_CALLERS: usize = 32;

/// Seconds of a day.
const DAY: i64 = 24 * 3600;

/// The processes, kept over a reload that does not concern them.
#[derive(Debug)]
pub struct HolderHelpers {
    running: Rc<Running>,
    /// The channel on which the stock says who is let in, while it runs.
    channel: Option<OwnedFd>,
    callers: Vec<Caller>,
}

/// A process that has gone to a peer.
#[derive(Debug)]
struct Caller {
    call: Call,
    helper: Helper<(), Called>,
}

/// The processes, and whom sessions are served as.
#[derive(Debug)]
struct Running {
    stock: RefCell<Service<Option<NewCaller>, ToDaemon>>,
    line: RefCell<Service<()>>,
    /// Carriers that the stock wants, and those that run.
    dials: RefCell<Vec<Dial>>,
    /// Callers that it wants.
    calls: RefCell<Vec<Call>>,
    carriers: RefCell<HashSet<Pid>>,
    figures: Rc<Figures>,
    hub: line::Hub,
    sessions: Identity,
    /// What they were started with.
    settings: String,
}

impl HolderHelpers {
    /// Starts them for a configuration, unless those that run are right for it.
    ///
    /// # Errors
    /// One line that says what could not be started.
    pub fn start(
        context: &HelperContext<'_>,
        holder: &Holder,
        before: Option<&HolderHelpers>,
    ) -> Result<HolderHelpers, String> {
        let sessions = context.session_identity()?;
        let (key, port) = (version(&holder.key), port(context, holder)?);
        let settings = format!("{holder:?} {key:?} {port} {sessions:?}");
        let fits = |before: &&HolderHelpers| before.running.settings == settings;
        if let Some(before) = before.filter(fits) {
            return Ok(HolderHelpers::of(Rc::clone(&before.running)));
        }
        let figures = match before {
            Some(before) => Rc::clone(&before.running.figures),
            None => Rc::new(Figures::new(&FIGURES)?),
        };
        let (helper, hub) = spawn(context, holder, &figures)?;
        let stock = Service::new(helper);
        let line = match to_stock(&stock) {
            Ok(to_stock) => Service::new(line::spawn(context, &hub, to_stock)?),
            // It has ended at once, as without its disk; both are started again.
            Err(_) => Service::later(),
        };
        Ok(HolderHelpers::of(Rc::new(Running {
            stock: RefCell::new(stock),
            line: RefCell::new(line),
            dials: RefCell::default(),
            calls: RefCell::default(),
            carriers: RefCell::default(),
            figures,
            hub,
            sessions,
            settings,
        })))
    }

    fn of(running: Rc<Running>) -> HolderHelpers {
        let channel = running.stock.borrow().cloned_channel();
        HolderHelpers {
            running,
            channel,
            callers: Vec::new(),
        }
    }
}

impl Running {
    /// Starts a carrier. One that can't be is given up by the stock, after some time or
    /// as its channel ends.
    fn start_carrier(&self, context: &HelperContext<'_>, dial: &Dial) -> Result<(), String> {
        let mut carriers = self.carriers.borrow_mut();
        if carriers.len() >= MOST_CARRIERS {
            return Err("carrier: there are too many".to_owned());
        }
        let number = dial.number;
        let stock = self.stock.borrow();
        let to_stock: io::Result<Pipe<FromCarrier, ToCarrier>> =
            stock.open(|channel| Some(NewCaller::Carrier { number, channel }));
        let to_stock = to_stock.map_err(|e| format!("carrier: {e}"))?;
        let carrier = carrier::spawn(context, dial, to_stock)?;
        carriers.insert(carrier.pid);
        Ok(())
    }

    /// A session of a peer that is in.
    fn login(&self, admitted: Admitted) -> OwnLogin {
        let name = admitted.user.as_str().to_owned();
        let login = Login::unlimited(name, self.sessions.clone(), HOME.to_owned());
        OwnLogin {
            tag: admitted.tag,
            login,
            gate: admitted.gate,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // What is on its way comes again, to its successor, which goes on with its part.
        let _ = self.stock.get_mut().send(&None);
        self.line.get_mut().kill();
    }
}

/// The stock in the daemon.
type Stock = Helper<Option<NewCaller>, ToDaemon>;

/// Starts the stock; what the line has to know of the key file.
fn spawn(
    context: &HelperContext<'_>,
    holder: &Holder,
    figures: &Figures,
) -> Result<(Stock, line::Hub), String> {
    let port = port(context, holder)?;
    let mut found = None;
    let hear = |hub: line::Hub| found = Some(hub);
    let helper = Helper::spawn_reporting("holder stock", hear, |child| {
        let identity = identity(context.config, holder).map_err(io::Error::other)?;
        let key = load(holder).map_err(io::Error::other)?;
        let place = Place::at(&holder.store);
        place.make(&identity).map_err(io::Error::other)?;
        let store = place.open_store().map_err(io::Error::other)?;
        let (certificate, private) = of_ed25519(key.user.as_str(), &key.key.0)?;
        let secrets = TlsSecrets::new(&private, &certificate).map_err(io::Error::other)?;
        let keys = key.keys()?;
        child.report(line::Hub {
            address: holder.hub.clone().unwrap_or_else(|| key.address.clone()),
            name: key.hub.clone(),
            pin: key.pin.clone(),
            user: key.user.clone(),
            key: keys.key.public()?,
            proof: key.proof,
            share: holder.share,
            port,
            site: holder.site.as_deref().and_then(Label::read),
        })?;
        let settings = stock::Settings {
            hub: key.hub.clone(),
            user: key.user.clone(),
            share: holder.share,
            spare: holder.spare,
            trash: holder.trash_days * DAY,
        };
        drop(key);
        let takes = context.identity.map(|_| &identity);
        // Entering it closes its own descriptor.
        let confinement = Confinement::new(takes, context.sandbox);
        let confinement = ManuallyDrop::new(confinement.map_err(io::Error::other)?);
        let base = match confinement.changes_root() {
            true => PathBuf::from("/"),
            false => place.store(),
        };
        let duty = Duty::Keeping(store.as_fd());
        let board = figures.board()?;
        child.enter(c"tfd-stock", &confinement.with(duty), &[store.as_fd()])?;
        let here = place::Place::Helper("stock");
        place::reached(here, place::NOBODY, Some(store.as_fd()));
        child.ready()?;
        let shown = Shown {
            certificate,
            secrets,
        };
        let daemon = child.channel.try_clone()?;
        process::run(&base, settings, keys, shown, daemon, board)
    })?;
    let hub = found.ok_or("holder stock: no key")?;
    Ok((helper, hub))
}

/// A channel to the stock for the line to the hub.
fn to_stock(stock: &Service<Option<NewCaller>, ToDaemon>) -> io::Result<Pipe<FromLine, ToLine>> {
    stock.open(|channel| Some(NewCaller::Line(channel)))
}

fn spawn_line(
    context: &HelperContext<'_>,
    hub: &line::Hub,
    stock: &Service<Option<NewCaller>, ToDaemon>,
) -> Result<Helper, String> {
    let to_stock = to_stock(stock).map_err(|e| format!("line to the hub: {e}"))?;
    line::spawn(context, hub, to_stock)
}

/// The port that the hub names to peers: the one that is set, or the first that is
/// listened at.
fn port(context: &HelperContext<'_>, holder: &Holder) -> Result<u16, String> {
    let port = holder
        .port
        .or_else(|| context.port(config::Protocol::Holder, config::LISTEN_KEY));
    port.ok_or_else(|| "holder.listen: no address is listened on".to_owned())
}

/// What changes when somebody changes a file.
fn version(path: &Path) -> Option<(u64, i64, i64)> {
    let metadata = path.metadata().ok()?;
    Some((metadata.ino(), metadata.mtime(), metadata.mtime_nsec()))
}

fn load(holder: &Holder) -> Result<HolderKey, String> {
    HolderKey::load(&holder.key).map_err(|e| format!("holder.key: {e}"))
}

/// Whether what is needed at the start is there.
///
/// # Errors
/// One line that says what is not.
pub fn check(config: &Config, holder: &Holder) -> Result<(), String> {
    identity(config, holder)?;
    load(holder)?;
    let above = holder.store.parent().filter(|above| !above.is_dir());
    match above {
        Some(above) => {
            let (store, above) = (holder.store.display(), above.display());
            Err(format!(
                "holder.store: {store}: {above} is missing: make it"
            ))
        }
        None => Ok(()),
    }
}

/// Who keeps the store: the system user, or without root who starts tfd.
///
/// # Errors
/// One line.
pub fn identity(config: &Config, holder: &Holder) -> Result<Identity, String> {
    let Some(name) = holder.user.as_ref().filter(|_| is_root()) else {
        return Ok(Identity::own());
    };
    let identity = Identity::of(name)
        .map_err(|e| format!("holder.user: \"{name}\": {e}: make it (useradd --system {name})"))?;
    let hub = config.hub.as_ref().map(|hub| &hub.user);
    let others = [&config.server.user, &config.server.helper_user];
    let is_taken = others.contains(&&Some(name.clone())) || hub == Some(name);
    if identity.uid.is_root() || is_taken {
        let text = "name a system user of its own, not root nor one of [server] or [hub]";
        return Err(format!("holder.user: \"{name}\": {text}"));
    }
    Ok(identity)
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

impl Helpers for HolderHelpers {
    fn open(&self, login: &Login, _: IpAddr) -> io::Result<Option<OwnedFd>> {
        let user = User::read(&login.name).ok_or(io::ErrorKind::InvalidInput)?;
        let stock = self.running.stock.borrow();
        let pipe: Pipe<FromSession, ToSession> =
            stock.open(|channel| Some(NewCaller::Session { user, channel }))?;
        Ok(Some(pipe.into_channel().into_handle()))
    }

    fn admit(&self, gate: AskingGate) -> io::Result<()> {
        let stock = self.running.stock.borrow();
        stock.send(&Some(NewCaller::Gate(gate)))
    }

    fn admitted(&mut self) -> Option<Result<OwnLogin, Failure>> {
        loop {
            let news = self.running.stock.borrow().news()?;
            match news {
                ToDaemon::Admitted(admitted) => return Some(Ok(self.running.login(admitted))),
                // There it has what starts processes.
                ToDaemon::Dial(dial) => self.running.dials.borrow_mut().push(dial),
                ToDaemon::Call(call) => self.running.calls.borrow_mut().push(call),
            }
        }
    }

    fn channel(&self) -> Option<BorrowedFd<'_>> {
        self.channel.as_ref().map(AsFd::as_fd)
    }

    fn call(&mut self, address: SocketAddr) {
        let call = Call {
            address,
            token: None,
        };
        // One waits for this peer already.
        if !self.callers.iter().any(|it| it.call == call) {
            self.running.calls.borrow_mut().push(call);
        }
    }

    fn calls(&self) -> Vec<BorrowedFd<'_>> {
        let callers = self.callers.iter();
        callers.map(|it| it.helper.channel.as_fd()).collect()
    }

    fn called(&mut self) -> Option<Called> {
        let mut called = None;
        // One that has said something has nothing to do any more.
        self.callers.retain(|caller| {
            if called.is_some() {
                return true;
            }
            match caller.helper.channel.try_receive() {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => true,
                heard => {
                    called = heard.ok().flatten();
                    false
                }
            }
        });
        called
    }

    fn figures(&self) -> Option<&Figures> {
        Some(&self.running.figures)
    }

    fn reaped(&mut self, pid: Pid) -> bool {
        let is_stock = self.running.stock.borrow_mut().reaped(pid);
        // A carrier that has ended is not started again.
        let mut carriers = self.running.carriers.borrow_mut();
        carriers.remove(&pid);
        if is_stock {
            self.channel = None;
            for carrier in carriers.iter() {
                // Nobody hears any more what becomes of its file.
                let _ = kill(*carrier, Signal::SIGKILL);
            }
        }
        is_stock || self.running.line.borrow_mut().reaped(pid)
    }

    fn due(&self) -> Option<Instant> {
        let stock = self.running.stock.borrow().due();
        let line = self.running.line.borrow().due();
        let has_dials = !self.running.dials.borrow().is_empty();
        let has_calls = !self.running.calls.borrow().is_empty();
        let dials = (has_dials || has_calls).then(Instant::now);
        stock.into_iter().chain(line).chain(dials).min()
    }

    fn restart_if_due(&mut self, context: &HelperContext<'_>) {
        let Some(holder) = &context.config.holder else {
            return;
        };
        let start = || spawn(context, holder, &self.running.figures).map(|(helper, _)| helper);
        self.running.stock.borrow_mut().restart_if_due(start);
        self.channel = self.running.stock.borrow().cloned_channel();
        let stock = self.running.stock.borrow();
        let start = || spawn_line(context, &self.running.hub, &stock);
        self.running.line.borrow_mut().restart_if_due(start);
        for dial in self.running.dials.take() {
            if let Err(e) = self.running.start_carrier(context, &dial) {
                log::error!(peer:% = dial.address, error:% = e; "no line to a keeper");
            }
        }
        for call in self.running.calls.take() {
            if self.callers.len() >= MOST_CALLERS {
                log::warn!(address:% = call.address; "too many peers wait elsewhere");
                continue;
            }
            match caller::spawn(context, &call) {
                Ok(helper) => self.callers.push(Caller { call, helper }),
                Err(e) => log::error!(address:% = call.address, error:% = e; "nobody goes there"),
            }
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
