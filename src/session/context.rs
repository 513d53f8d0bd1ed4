//! What a session gets to work with, whatever its protocol, and its life in its
//! process: lines in the log, page, audit log.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use log::kv::Value;

use crate::ipc::channel::Channel;
use crate::net::link::Pace;
use crate::sandbox::place;
use crate::sandbox::place::Place;
use crate::session::audit::{Audit, Observer, Outcome, Subject};
use crate::session::dialer::Dialer;
use crate::session::protocol::Serve;
use crate::session::shortage::Shortage;
use crate::session::slots::Slot;
use crate::session::uploads::Uploads;
use crate::store::{Quota, Root};
use crate::text::lossy;
use crate::users::{Names, Rights};

/// Whom a session is for.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    /// The client's address.
    pub peer: SocketAddr,
    /// The connection's slot.
    pub slot: u32,
    /// The page of the slot.
    pub page: Slot,
    /// The connection's unguessable key, as text.
    pub process_key: String,
    /// The account or the system user it acts as.
    pub user: String,
    /// Whether a certificate has logged it in.
    pub certificate: bool,
    /// What it may do to files.
    pub rights: Rights,
    /// The most bytes a second that it may move, with all of its account.
    pub pace: Option<Pace>,
    /// What it may store.
    pub quota: Quota,
}

/// The channels from a session to other processes.
#[derive(Debug)]
pub struct SessionChannels {
    /// To the auditor, if there is one.
    pub records: Option<OwnedFd>,
    /// To the service of its protocol, if there is one.
    pub service: Option<OwnedFd>,
    /// To the dialer, if its protocol has data connections.
    pub dialer: Option<OwnedFd>,
    /// To the process that keeps jobs for uploads, if there is one.
    pub uploads: Uploads,
}

/// What a session works with.
#[derive(Debug)]
pub struct Context {
    /// Whom it is for.
    pub info: SessionInfo,
    /// All that it reaches of the file system.
    pub root: Root,
    /// The names of users and groups.
    pub names: Rc<Names>,
    /// To the service of its protocol, if there is one.
    pub service: Option<OwnedFd>,
    /// Makes its data connections, if its protocol has them.
    pub dialer: Option<Dialer>,
    /// Has to know of each file that is whole, before the client does.
    pub uploads: Uploads,
    /// Has to see each of its requests.
    pub observer: SessionObserver,
}

impl Context {
    /// The surroundings of a session beneath this root.
    pub fn new(
        info: SessionInfo,
        root: OwnedFd,
        channels: SessionChannels,
        names: Rc<Names>,
    ) -> Context {
        let audit = Audit::new(channels.records, info.peer, &info.user);
        let page = info.page;
        Context {
            info,
            root: Root::from_handle(root),
            names,
            service: channels.service,
            dialer: channels
                .dialer
                .map(|dialer| Dialer::new(Channel::from_handle(dialer).into())),
            uploads: channels.uploads,
            observer: SessionObserver {
                audit,
                page,
                warned: None,
            },
        }
    }

    /// Serves a client that may begin, to the end of its session.
    pub fn run(mut self, serve: Serve<'_>) {
        let SessionInfo {
            peer,
            slot,
            ref user,
            certificate,
            ..
        } = self.info;
        let by = certificate.then_some(&"certificate");
        let by = by.map_or(Value::null(), Value::from_display);
        log::info!(peer:%, user:%, slot, by; "session start");
        place::reached(Place::Session, peer, Some(self.root.directory()));
        let end = match self.observer.audit.begin(certificate) {
            Ok(()) => serve(self),
            Err(e) => End::Failed(e.to_string()),
        };
        end.log(peer);
    }
}

/// Shows a session's requests in its page and records them in the audit log.
#[derive(Debug)]
pub struct SessionObserver {
    audit: Audit,
    page: Slot,
    /// When the log last got a line about a lack of room.
    warned: Option<Instant>,
}

/// How long a session keeps silent about a lack of room after that.
const SILENCE: Duration = Duration::from_secs(60);

impl SessionObserver {
    /// Logs that a request has failed for lack of room, once in a while.
    fn warn(&mut self, subject: &Subject, reason: Shortage) {
        if self.warned.is_some_and(|last| last.elapsed() < SILENCE) {
            return;
        }
        self.warned = Some(Instant::now());
        let (peer, user) = self.audit.client();
        let (command, path) = (subject.command, lossy(&subject.path));
        log::warn!(peer:%, user:%, command, path:%, reason:%; "not stored");
    }
}

impl Observer for SessionObserver {
    fn begins(&mut self, subject: &Subject) {
        self.page.begins(subject.command, &subject.path);
    }

    fn ended(&mut self, subject: &Subject, outcome: Outcome, bytes: u64) -> io::Result<()> {
        self.page.ended(subject.effect, outcome, bytes);
        if let Outcome::NoRoom { shortage, .. } = outcome {
            self.warn(subject, shortage);
        }
        self.audit.record(subject, outcome, bytes)
    }
}

/// How a connection that was let in ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// As client or server wanted, with the reason for the log.
    Orderly(String),
    /// By a failure.
    Failed(String),
}

impl End {
    /// Its line in the log.
    pub fn log(&self, peer: SocketAddr) {
        match self {
            End::Orderly(reason) => log::info!(peer:%, reason:%; "session end"),
            End::Failed(reason) => log::warn!(peer:%, reason:%; "session end"),
        }
    }
}
