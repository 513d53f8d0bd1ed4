//! What tfd's processes share: the counters of what is stored, the channel to the
//! auditor and the helpers of protocols. The daemon makes all of it.

use std::os::fd::{AsFd, BorrowedFd};

use crate::daemon::helpers::auditor::Auditor;
use crate::daemon::helpers::control::view::Published;
use crate::daemon::helpers::dialer::Dialer;
use crate::daemon::helpers::uploads::Uploads;
use crate::daemon::protocols::ProtocolHelpers;
use crate::daemon::shared::SharedState;
use crate::ipc::figures::Figures;
use crate::store::usage::Usage;

/// All of it, in the daemon.
#[derive(Debug)]
pub struct Memory {
    /// The counters that quotas are held to.
    pub usage: Usage,
    /// The process that keeps the audit log, if there is one.
    pub auditor: Option<Auditor>,
    /// The helper processes of protocols.
    pub helpers: ProtocolHelpers,
    /// The dialer, once a protocol has data connections.
    pub dialer: Option<Dialer>,
    /// The process that runs a program for each upload, if there is one.
    pub uploads: Option<Uploads>,
    /// The process at the store that several servers share, if they do.
    pub shared: Option<SharedState>,
}

impl Memory {
    /// What its processes publish for metrics and status.
    pub fn published(&self) -> Vec<Published> {
        let uploads = self.uploads.iter();
        let uploads = uploads.map(|uploads| ("upload", &uploads.figures));
        let shared = self.shared.iter();
        let shared = shared.map(|shared| ("shared_state", &shared.figures));
        let all = self.helpers.figures().chain(uploads).chain(shared);
        let read = |(service, figures): (_, &Figures)| Published {
            service,
            figures: figures.read(),
        };
        all.map(read).collect()
    }

    /// What a process forked now is given of it.
    pub fn share(&self) -> Shared<'_> {
        Shared {
            usage: &self.usage,
            records: self.auditor.as_ref().map(AsFd::as_fd),
            helpers: &self.helpers,
        }
    }
}

/// What a process is given of it.
#[derive(Clone, Copy)]
pub struct Shared<'a> {
    /// The counters that quotas are held to.
    pub usage: &'a Usage,
    /// The channel from sessions to the auditor.
    pub records: Option<BorrowedFd<'a>>,
    /// The helper processes of protocols.
    pub helpers: &'a ProtocolHelpers,
}
