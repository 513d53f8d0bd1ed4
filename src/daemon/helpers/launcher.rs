//! The launcher: forks the session of each client. It is in the sandbox from its
//! start, reaches no file but those beneath the root, and parses nothing but the
//! daemon's orders. Without login steps it has given up everything before it
//! forks the first. Behind LOGIN or INJAIL it is root: its child opens the
//! client's directory, changes its root to it, gives up everything else, takes
//! the client's identity for good, and then becomes the session. If INJAIL is left
//! it keeps the right to change its root, and parses nothing, until a process of
//! its own, which has the right to read token files, has found the directory.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use nix::sys::prctl::set_name;
use nix::sys::signal::SigSet;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use crate::daemon::protocols::Protocols;
use crate::ipc::Pipe;
use crate::ipc::channel::Channel;
use crate::ipc::codec::{Decode, codec};
use crate::ipc::fork_server::{Connection, Parent};
use crate::ipc::orders::Start;
use crate::ipc::pipe::pair;
use crate::net::link::Pace;
use crate::sandbox::Sandbox;
use crate::sandbox::confinement::{change_root, reopen_root};
use crate::sandbox::place;
use crate::sandbox::place::Place;
use crate::session::context::{Context, SessionChannels, SessionInfo};
use crate::session::jail;
use crate::session::keys::key_text;
use crate::session::login::{Ask, GatePipe, Steps, Why};
use crate::session::protocol::Serve;
use crate::session::slots::Slot;
use crate::session::uploads::Uploads;
use crate::store::quota::Limits;
use crate::store::{Policy, Quota, Root, RootPath};
use crate::sys::memory::{ReadWords, map_page};
use crate::sys::process::{follow, fork, keep_only};
use crate::users::{Login, Names};

/// The most tokens a client may try.
const MAX_TRIES: usize = 10;

/// What a session keeps until it is in its jail.
const TO_READ_TOKENS: CapabilitySet = CapabilitySet::DAC_READ_SEARCH;
const TO_CHANGE_ROOT: CapabilitySet = CapabilitySet::SYS_CHROOT;

/// What a launcher works with.
pub struct Launcher<'a> {
    /// The root of the configuration.
    pub root: OwnedFd,
    /// The roots of protocols that have one of their own, by their numbers.
    pub own_roots: Vec<(u8, OwnedFd)>,
    /// The login steps of clients. Behind LOGIN a gate waits for the answer;
    /// INJAIL is left when a session begins.
    pub steps: Steps,
    /// Whether all sessions have its own identity and root.
    pub is_shared: bool,
    /// What it and its children are in.
    pub sandbox: &'a Sandbox,
    /// What clients speak.
    pub protocols: Protocols,
    /// The names of users and groups.
    pub names: Rc<Names>,
    /// What everybody has stored, where all have a quota together.
    pub usage: Option<ReadWords>,
    /// The socket on which sessions report to the auditor.
    pub records: Option<BorrowedFd<'a>>,
}

/// Whom a session is for, and its own descriptors: what follows its [`Start`].
pub struct SessionOrder {
    /// The channel to its gate. [`Launcher::refuse`] takes the first descriptor for
    /// this.
    pub gate: GatePipe,
    /// The account.
    pub login: Login,
    /// What its quota is held to, and the counter for that.
    pub quota: Option<(Limits, OwnedFd)>,
    /// The clock that the sessions of its account with a rate share.
    pub clock: Option<OwnedFd>,
    /// Whether a certificate has logged it in.
    pub certificate: bool,
    /// The number of its protocol.
    pub protocol: u8,
    /// Its channel to the service of that, if there is one.
    pub service: Option<OwnedFd>,
    /// Its channel to the dialer, if its protocol has data connections.
    pub dialer: Option<OwnedFd>,
    /// Its channel to the process that keeps jobs for uploads, if there is one.
    pub uploads: Option<OwnedFd>,
}

codec!(struct SessionOrder { gate, login, quota, clock, certificate, protocol, service, dialer, uploads });
codec!(struct Limits { uid, own, all });

/// A session about to begin.
struct Seat<'a> {
    launcher: &'a Launcher<'a>,
    order: SessionOrder,
    info: SessionInfo,
}

impl Parent for Launcher<'_> {
    const CHILD: &'static str = "session";

    fn handles(&self) -> Vec<BorrowedFd<'_>> {
        let root = [self.root.as_fd()];
        let own_roots = self.own_roots.iter().map(|(_, root)| root.as_fd());
        root.into_iter()
            .chain(own_roots)
            .chain(self.records)
            .chain(self.protocols.handles())
            .collect()
    }

    fn settle(&self) -> io::Result<()> {
        SigSet::all().thread_unblock()?;
        if self.is_shared {
            // It has the identity and the root of its client already.
            self.sandbox.deny_fork_and_identity()?;
        }
        Ok(())
    }

    fn serve(&self, connection: Connection) -> io::Result<()> {
        let Connection {
            mut start, parent, ..
        } = connection;
        let handles = std::mem::take(&mut start.handles);
        let order = SessionOrder::from_message(&start.rest, handles);
        let mut order = order.ok_or(io::ErrorKind::InvalidData)?;
        let quota = match order.quota.take() {
            Some((limits, page)) => Quota::map(page, limits, self.usage)?,
            None => Quota::none(),
        };
        seat(self, start, order, quota, parent)
    }

    fn refuse(&self, handles: Vec<OwnedFd>) {
        // The gate comes first; behind it others may follow.
        if let Some(gate) = handles.into_iter().next() {
            let gate = GatePipe::from(Channel::from_handle(gate));
            let _ = gate.try_send(&Err(Why::Internal));
        }
    }
}

/// From root to the end of the session. A gate that waits for the answer to
/// LOGIN gets a refusal if there is none.
fn seat(
    launcher: &Launcher<'_>,
    start: Start,
    mut order: SessionOrder,
    quota: Quota,
    parent: Pid,
) -> io::Result<()> {
    let Start {
        slot,
        peer,
        key,
        page,
        ..
    } = start;
    let pace = pace(&mut order)?;
    let login = &order.login;
    let info = SessionInfo {
        peer,
        slot,
        page: Slot::map(page)?,
        process_key: key_text(slot, key),
        user: login.name.clone(),
        certificate: order.certificate,
        rights: login.rights,
        pace,
        quota,
    };
    let seat = Seat {
        launcher,
        order,
        info,
    };
    let begun = begin(&seat, parent);
    if launcher.steps.account {
        let verdict = begun.as_ref().map(drop).map_err(|_| Why::Internal);
        seat.order.gate.try_send(&verdict)?;
    }
    let Some(home) = enter_jail(&seat, begun?)? else {
        return Ok(());
    };
    let uploads = seat.order.uploads.as_ref();
    let uploads = uploads.map(OwnedFd::try_clone).transpose()?;
    let uploads = Uploads::begin(uploads, &home)?;
    let Some(serve) = take_over(&seat)? else {
        return Ok(());
    };
    let SessionOrder {
        gate,
        service,
        dialer,
        ..
    } = seat.order;
    drop(gate);
    let channels = SessionChannels {
        records: launcher
            .records
            .map(|handle| handle.try_clone_to_owned())
            .transpose()?,
        service,
        dialer,
        uploads,
    };
    Context::new(seat.info, home, channels, Rc::clone(&launcher.names)).run(serve);
    Ok(())
}

/// The rate of an account, which all its sessions share.
fn pace(order: &mut SessionOrder) -> io::Result<Option<Pace>> {
    let clock = order.clock.take();
    let clock = clock.map(|clock| map_page(clock.as_fd())).transpose()?;
    let shared = order.login.rate.zip(clock.and_then(<[_]>::first));
    Ok(shared.map(|(rate, clock)| Pace::shared(rate, clock)))
}

/// Opens the client's root and takes its identity.
fn begin(seat: &Seat<'_>, parent: Pid) -> io::Result<OwnedFd> {
    let Seat {
        launcher, order, ..
    } = seat;
    let login = &order.login;
    let shared = launcher.is_shared;
    let home = if shared {
        launcher.root.try_clone()?
    } else {
        let own = launcher
            .own_roots
            .iter()
            .find(|(of, _)| *of == order.protocol);
        let root = own.map_or(&launcher.root, |(_, root)| root);
        enter_home(root, &login.home)
            .map_err(|e| io::Error::other(format!("home \"{}\": {e}", login.home)))?
    };
    let own = order.service.iter().chain(&order.dialer);
    let own = own.chain(&order.uploads);
    let own = own.map(AsFd::as_fd);
    let channels: Vec<BorrowedFd<'_>> = launcher.records.into_iter().chain(own).collect();
    let mut handles = vec![order.gate.as_fd(), home.as_fd()];
    handles.extend(&channels);
    handles.extend(launcher.protocols.handles());
    keep_only(&handles)?;
    let kept = if launcher.steps.jail {
        TO_READ_TOKENS | TO_CHANGE_ROOT
    } else {
        CapabilitySet::empty()
    };
    if !shared {
        login.identity.take_keeping(kept)?;
    }
    // A change of identity clears this, so it comes again.
    follow(parent)?;
    let _ = set_name(c"tfd-session");
    // The launcher's own limit is the configuration's root.
    if !login.home.is_empty() {
        launcher.sandbox.limit_files(Some(home.as_fd()))?;
    }
    if !shared && !launcher.steps.jail {
        launcher.sandbox.deny_fork_and_identity()?;
    }
    Ok(home)
}

/// Where INJAIL is left, waits until a token has matched, changes the root to its
/// directory, and gives up the right to that; `None` when the client has left. Tokens
/// and paths are read by another process: from one that may change its root `..` would
/// lead out of it.
fn enter_jail(seat: &Seat<'_>, home: OwnedFd) -> io::Result<Option<OwnedFd>> {
    if !seat.launcher.steps.jail {
        return Ok(Some(home));
    }
    let (ours, theirs) = pair()?;
    let own = getpid();
    let reader = fork(move || i32::from(read_tokens(seat, &home, &theirs, own).is_err()))?;
    let found: io::Result<Option<Option<OwnedFd>>> = ours.receive();
    if let Ok(WaitStatus::Signaled(pid, signal, _)) = waitpid(reader, None) {
        log::error!(pid:%, signal:%; "reader of tokens killed");
    }
    let Some(directory) = found?.flatten() else {
        return Ok(None);
    };
    change_root(directory.as_fd())?;
    let jail = reopen_root()?;
    seat.order.login.identity.keep(CapabilitySet::empty())?;
    seat.launcher.sandbox.limit_files(Some(jail.as_fd()))?;
    seat.launcher.sandbox.deny_fork_and_identity()?;
    seat.order.gate.try_send(&Ok(()))?;
    Ok(Some(jail))
}

/// The process that reads tokens and paths: it may read each token file, and can
/// neither change its root nor fork. Sends the directory whose token has matched.
fn read_tokens(
    seat: &Seat<'_>,
    home: &OwnedFd,
    session: &Pipe<Option<OwnedFd>, ()>,
    parent: Pid,
) -> io::Result<()> {
    keep_only(&[seat.order.gate.as_fd(), home.as_fd(), session.as_fd()])?;
    follow(parent)?;
    let _ = set_name(c"tfd-token");
    seat.order.login.identity.keep(TO_READ_TOKENS)?;
    seat.launcher.sandbox.deny_fork_and_identity()?;
    let SessionInfo { peer, ref user, .. } = seat.info;
    place::reached(Place::BeforeJail, peer, Some(home.as_fd()));
    for _ in 0..MAX_TRIES {
        let Some(Ask::Jail { token, path }) = seat.order.gate.receive()? else {
            return Ok(());
        };
        match jail::open(home, &token, &path) {
            Ok(directory) => return session.send(&Some(directory)),
            Err(why) => {
                log::warn!(peer:%, user:%, reason:% = why; "injail refused");
                seat.order.gate.try_send(&Err(why))?;
            }
        }
    }
    Ok(())
}

/// Changes the root to the client's, so that no `..` leads out of it.
fn enter_home(root: &OwnedFd, home: &str) -> Result<OwnedFd, Errno> {
    let path = RootPath::parse(home.as_bytes(), &Policy::NONE).map_err(|_| Errno::INVAL)?;
    let root = Root::from_handle(rustix::io::fcntl_dupfd_cloexec(root, 0)?);
    let home = root.open_at(&path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
    change_root(home.as_fd())?;
    reopen_root()
}

/// What serves the session that the gate hands over; `None` when the client has left.
fn take_over<'p>(seat: &Seat<'p>) -> io::Result<Option<Serve<'p>>> {
    match seat.order.gate.receive()? {
        Some(Ask::State { state, socket }) => {
            let protocol = seat.launcher.protocols.get(seat.order.protocol)?;
            let (socket, meter) = (TcpStream::from(socket), seat.info.page.meter());
            protocol.resume(socket, &state, meter).map(Some)
        }
        Some(_) => Err(io::ErrorKind::InvalidData.into()),
        None => Ok(None),
    }
}
