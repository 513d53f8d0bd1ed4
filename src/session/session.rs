//! A session in its process, whichever way it came there: what it works on,
//! who watches it, and its lines in the log.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use crate::sandbox::place;
use crate::sandbox::place::Place;
use crate::session::audit::{Audit, Observer, Operation, Subject};
use crate::session::slots::Slot;
use crate::store::{Lock, Quota, Root};
use crate::tf::env::{Env, Pool};
use crate::tf::probes::AskPool;
use crate::tf::session;
use crate::tf::settings::Settings;
use crate::tf::urgent::UrgentBytes;
use crate::tf::wire::{Wire, WireError};
use crate::users::{Names, Rights};

/// Who a session is.
#[derive(Clone, Debug)]
pub struct Card {
    /// The client's address.
    pub peer: SocketAddr,
    /// The connection's slot.
    pub slot: u32,
    /// The page of that.
    pub page: Slot,
    /// The unguessable key of PROCKEY, as text.
    pub process_key: String,
    /// The account or the system user it acts as.
    pub user: String,
    /// Whether a certificate has logged it in.
    pub certificate: bool,
    /// What it may do to files.
    pub rights: Rights,
    /// The most bytes a second it may move.
    pub rate: Option<u64>,
    /// What it may store.
    pub quota: Quota,
}

/// The ways from a session to other processes.
#[derive(Debug)]
pub struct Ways {
    /// To the auditor, if there is one.
    pub records: Option<OwnedFd>,
    /// To the pool, if there is one.
    pub pool: Option<OwnedFd>,
}

/// Serves a client whose doors are all open, beneath this root.
pub fn run(
    wire: &mut Wire,
    card: Card,
    root: OwnedFd,
    ways: Ways,
    settings: Settings,
    names: Rc<Names>,
) {
    let Card {
        peer,
        slot,
        page,
        process_key,
        user,
        certificate,
        rights,
        rate,
        quota,
    } = card;
    wire.limit_rate(rate);
    wire.expect_transfers();
    if settings.kernel_tls {
        wire.let_kernel_seal();
    }
    let by = if certificate { " by=certificate" } else { "" };
    log::info!("session start peer={peer} user={user} slot={slot}{by}");
    let urgent_bytes = UrgentBytes::new(move |count| page.tell_out_of_band(count));
    wire.expect_urgent_bytes(urgent_bytes);
    page.admit();
    place::reached(Place::Session, peer, Some(root.as_fd()));
    let mut watch = Watch {
        audit: Audit::new(ways.records, peer, &user),
        page,
    };
    let pool = ways
        .pool
        .map(|pool| Box::new(AskPool::new(pool)) as Box<dyn Pool>);
    let root = Root::from_handle(root);
    let lock = Lock::default();
    let watches = Vec::new();
    let mut env = Env {
        root,
        lock,
        process_key,
        names,
        settings,
        rights,
        quota,
        pool,
        watches,
    };
    let ended = match watch.audit.begin(certificate) {
        Ok(()) => session::serve(wire, &mut env, &mut watch),
        Err(e) => Err(e.into()),
    };
    wire.close();
    log_end(peer, &ended);
}

/// What a session does stands in its page, what it did goes to the auditor.
struct Watch {
    audit: Audit,
    page: Slot,
}

impl Observer for Watch {
    fn begins(&mut self, subject: &Subject) {
        self.page.begins(subject.command, &subject.path);
    }

    fn ended(&mut self, operation: Operation) -> io::Result<()> {
        self.page.ended();
        self.audit.record(operation)
    }
}

/// One log line on the end of a connection that was let in.
pub fn log_end(peer: SocketAddr, ended: &Result<(), WireError>) {
    match ended {
        Ok(()) => log::info!("session end peer={peer} reason=\"END\""),
        Err(e @ (WireError::Closed | WireError::Stopped)) => {
            log::info!("session end peer={peer} reason=\"{e}\"");
        }
        Err(e) => log::warn!("session end peer={peer} reason=\"{e}\""),
    }
}
