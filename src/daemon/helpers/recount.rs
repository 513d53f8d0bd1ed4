//! When the sweeper works: after a session was killed, which may have left parts,
//! from time to time for parts of uploads that nobody resumes, and to repeat the
//! count of what is stored, since others than sessions may change files, too. A count during which sessions changed something is dropped.

use std::io;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::daemon::helpers::sweeper::{Report, Sweep};
use crate::ipc::Pipe;
use crate::sandbox::Sandbox;
use crate::store::usage::Usage;
use crate::users::Identities;

/// How long a count is valid.
const GOOD_FOR: Duration = Duration::from_secs(3600);

/// How soon to repeat a dropped count.
const AGAIN: Duration = Duration::from_secs(60);

/// How soon after a sweep the next may begin: it reads the whole tree, and a session
/// could be killed as often as its client likes.
const SWEEP_AGAIN: Duration = Duration::from_secs(10);

/// How often to look for parts that nobody resumes where nothing is counted.
const SWEEP_EVERY: Duration = Duration::from_secs(6 * 3600);

/// When to sweep and count, and a sweep in progress.
#[derive(Debug, Default)]
pub struct Recount {
    /// Whether anybody has a quota, so that sweeps count.
    counts: bool,
    sweep: Option<Sweep>,
    changes: u64,
    next: Option<Instant>,
    /// How many processes of connections had been killed when it last swept for
    /// that, and when the next such sweep may begin.
    killed: u64,
    sweep_from: Option<Instant>,
    sweeping: Option<Sweep>,
}

impl Recount {
    /// Counts before the first client, if `wanted`; sweeps if there is a root.
    ///
    /// # Errors
    /// One line with the reason.
    pub fn start(
        config: &Config,
        identities: Option<&Identities>,
        sandbox: &Sandbox,
        usage: &mut Usage,
        wanted: bool,
    ) -> Result<Recount, String> {
        if !config.serves_files() {
            return Ok(Recount::default());
        }
        let sweep = Sweep::start(config, identities, sandbox, wanted)?;
        if !wanted {
            return Ok(Recount {
                next: period(config, false).map(|period| Instant::now() + period),
                ..Recount::default()
            });
        }
        let root = &*config.server.root.to_string_lossy();
        log::info!(root; "counting what is stored");
        let counted = sweep
            .wait()
            .map_err(|e| format!("counting {}: {e}", config.server.root.display()))?;
        take_over(usage, counted).map_err(|e| format!("quota: {e}"))?;
        Ok(Recount {
            counts: true,
            next: period(config, true).map(|period| Instant::now() + period),
            ..Recount::default()
        })
    }

    /// Follows another configuration: counts as soon as possible where `wanted`.
    pub fn reset(&mut self, config: &Config, wanted: bool) {
        self.sweep = None;
        let wanted = wanted && config.serves_files();
        let pause = if !config.serves_files() {
            None
        } else if wanted {
            Some(Duration::ZERO)
        } else {
            period(config, false)
        };
        self.counts = wanted;
        self.next = pause.map(|pause| Instant::now() + pause);
    }

    /// Sweeps if processes of connections were killed since it last did for that;
    /// `killed` counts them.
    pub fn sweep_if_due(
        &mut self,
        config: &Config,
        identities: Option<&Identities>,
        sandbox: &Sandbox,
        killed: u64,
    ) {
        if killed == self.killed || !config.serves_files() {
            return;
        }
        let now = Instant::now();
        let runs = |sweep: &Sweep| !sweep.channel.channel().is_over();
        if self.sweep_from.is_some_and(|from| now < from) {
            return;
        }
        self.sweep_from = Some(now + SWEEP_AGAIN);
        if self.sweeping.as_ref().is_some_and(runs) {
            return;
        }
        self.killed = killed;
        match Sweep::start(config, identities, sandbox, false) {
            Ok(sweep) => self.sweeping = Some(sweep),
            Err(e) => log::error!("can't sweep after a killed session error=\"{e}\""),
        }
    }

    /// When a sweep that is wanted may begin, with this many killed.
    pub fn sweep_due(&self, killed: u64) -> Option<Instant> {
        self.sweep_from.filter(|_| killed != self.killed)
    }

    /// When the next sweep is due, unless one is in progress.
    pub fn due(&self) -> Option<Instant> {
        self.next.filter(|_| self.sweep.is_none())
    }

    /// The source of reports.
    pub fn channel(&self) -> Option<&Pipe<(), Report>> {
        self.sweep.as_ref().map(|sweep| &sweep.channel)
    }

    /// Begins a sweep if one is due.
    pub fn begin_if_due(
        &mut self,
        config: &Config,
        identities: Option<&Identities>,
        sandbox: &Sandbox,
        usage: &Usage,
    ) {
        if self.due().is_none_or(|due| Instant::now() < due) {
            return;
        }
        self.changes = usage.changes();
        match Sweep::start(config, identities, sandbox, self.counts) {
            Ok(sweep) => self.sweep = Some(sweep),
            Err(e) => {
                log::error!(error:% = e; "can't sweep and count what is stored");
                self.next = Some(Instant::now() + AGAIN);
            }
        }
    }

    /// Reads reports of the sweep in progress.
    pub fn hear(&mut self, config: &Config, usage: &mut Usage) {
        let again = period(config, self.counts);
        let Some(sweep) = &mut self.sweep else { return };
        let unchanged = usage.changes() == self.changes;
        let wait = match sweep.hear() {
            Ok(None) => return,
            Ok(Some(_)) if !self.counts => again,
            Ok(Some(counted)) if unchanged => match take_over(usage, counted) {
                Ok(()) => again,
                Err(_) => Some(AGAIN),
            },
            Ok(Some(_)) => Some(AGAIN),
            Err(e) => {
                log::error!(error:% = e; "the root was not swept and counted");
                Some(AGAIN)
            }
        };
        self.sweep = None;
        self.next = wait.map(|wait| Instant::now() + wait);
    }
}

/// How long after a sweep the next one begins, if one does.
fn period(config: &Config, counts: bool) -> Option<Duration> {
    let parts = config.server.keep_parts;
    let parts = parts.map(|kept| (kept / 4).clamp(Duration::from_secs(1), SWEEP_EVERY));
    let count = counts.then_some(GOOD_FOR);
    parts.into_iter().chain(count).min()
}

fn take_over(usage: &mut Usage, counted: std::collections::HashMap<u32, u64>) -> io::Result<()> {
    let bytes: u64 = counted.values().sum();
    usage.take_over(counted)?;
    log::info!(bytes; "counted what is stored");
    Ok(())
}
