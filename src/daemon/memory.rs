//! What tfd's processes share: keystream tables, the table of slots, the
//! counters of what is stored, and the way to the auditor. The daemon makes all
//! of it.

use std::os::fd::{AsFd, BorrowedFd};

use crate::daemon::helpers::auditor::Auditor;
use crate::session::slots::Slots;
use crate::store::quota::Limits;
use crate::store::usage::Usage;
use crate::tf::cipher::tables::Tables;
use crate::tf::probes::Udp;

/// All of it, in the daemon.
#[derive(Debug)]
pub struct Memory {
    /// What sessions read their keystream from, unless that is switched off.
    pub tables: Option<Tables>,
    /// The table of slots.
    pub slots: Slots,
    /// The counters that quotas are held to.
    pub usage: Usage,
    /// The process that keeps the audit log, if there is one.
    pub auditor: Option<Auditor>,
    /// The UDP process.
    pub udp: Option<Udp>,
}

impl Memory {
    /// What a process forked now is given of it. `limits` are those of the
    /// process's one identity, if it has one.
    #[must_use]
    pub fn share(&self, limits: Option<Limits>) -> Shared<'_> {
        Shared {
            tables: self.tables.as_ref(),
            slots: &self.slots,
            usage: self.usage.as_fd(),
            limits,
            records: self.auditor.as_ref().map(AsFd::as_fd),
            pool: self.udp.as_ref().and_then(Udp::questions),
        }
    }
}

/// What a process is given of it.
#[derive(Clone, Copy)]
pub struct Shared<'a> {
    /// What sessions read their keystream from, if there is any.
    pub tables: Option<&'a Tables>,
    /// The table of slots.
    pub slots: &'a Slots,
    /// The counters that quotas are held to.
    pub usage: BorrowedFd<'a>,
    /// Which of them, and up to where; `None` for no quota.
    pub limits: Option<Limits>,
    /// Where sessions tell the auditor what they did.
    pub records: Option<BorrowedFd<'a>>,
    /// Where sessions ask for a server of the pool.
    pub pool: Option<BorrowedFd<'a>>,
}
