//! When the sweeper works: after a session was killed, which may have left parts,
//! from time to time for parts of uploads that nobody resumes, and to repeat the
//! count of what is stored, since others than sessions may change files, too. A count during which sessions changed something is dropped.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::daemon::helpers::sweeper::{Report, Sweep};
use crate::ipc::Pipe;
use crate::sandbox::Sandbox;
use crate::store::usage::{Counter, Counts, Usage};
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
    /// Whether the other servers were asked whether to count now.
    has_asked: bool,
    /// A count that they have, and that holds once they agree.
    result: Option<HashMap<u32, u64>>,
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
        self.next
            .filter(|_| self.sweep.is_none() && !self.has_asked)
    }

    /// Whether sweeps count.
    pub fn counts(&self) -> bool {
        self.counts
    }

    /// Whether it is time to ask the other servers whether to count now.
    pub fn asks_if_due(&mut self) -> bool {
        let is_due = self.due().is_some_and(|due| Instant::now() >= due);
        self.has_asked |= is_due;
        is_due
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
        if self.due().is_some_and(|due| Instant::now() >= due) {
            self.begin(self.counts, config, identities, sandbox, usage);
        }
    }

    /// Begins a sweep now, and whether it counts.
    pub fn begin(
        &mut self,
        counts: bool,
        config: &Config,
        identities: Option<&Identities>,
        sandbox: &Sandbox,
        usage: &Usage,
    ) {
        self.has_asked = false;
        if self.sweep.is_some() {
            return;
        }
        self.changes = usage.changes();
        match Sweep::start(config, identities, sandbox, counts) {
            Ok(sweep) => self.sweep = Some(sweep),
            Err(e) => {
                log::error!(error:% = e; "can't sweep and count what is stored");
                self.next = Some(Instant::now() + AGAIN);
            }
        }
    }

    /// Reads reports of the sweep in progress.
    pub fn hear(&mut self, config: &Config, usage: &mut Usage) {
        let Some(counted) = self.result(config, usage) else {
            return;
        };
        if take_over(usage, counted).is_err() {
            self.next = Some(Instant::now() + AGAIN);
        }
    }

    /// The same where it holds only once all servers have it: the count for them.
    pub fn hear_for_all(&mut self, config: &Config, usage: &Usage) -> Option<Counts> {
        let counted = self.result(config, usage)?;
        let all = (Counter::All, counted.values().sum());
        let each = counted
            .iter()
            .map(|(uid, bytes)| (Counter::User(*uid), *bytes));
        let for_all = std::iter::once(all).chain(each).collect();
        self.result = Some(counted);
        Some(for_all)
    }

    /// The other servers have taken a count, or something has changed meanwhile.
    pub fn is_shared(&mut self, is_taken: bool) {
        match self.result.take() {
            Some(counted) if is_taken => {
                let bytes: u64 = counted.values().sum();
                log::info!(bytes; "counted what is stored");
            }
            _ => self.next = Some(Instant::now() + AGAIN),
        }
    }

    /// Nobody else can be asked: a count holds here.
    pub fn is_alone(&mut self, usage: &mut Usage) {
        let counted = self.result.take();
        if counted.is_some_and(|counted| take_over(usage, counted).is_err()) {
            self.next = Some(Instant::now() + AGAIN);
        }
    }

    /// The count of a sweep that has ended, if nothing has changed meanwhile; when the
    /// next one begins is settled then.
    fn result(&mut self, config: &Config, usage: &Usage) -> Option<HashMap<u32, u64>> {
        let again = period(config, self.counts);
        let unchanged = usage.changes() == self.changes;
        let (wait, counted) = match self.sweep.as_mut()?.hear() {
            Ok(None) => return None,
            Ok(Some(counted)) if counted.is_empty() && !self.counts => (again, None),
            Ok(Some(counted)) if unchanged => (again, Some(counted)),
            Ok(Some(_)) => (Some(AGAIN), None),
            Err(e) => {
                log::error!(error:% = e; "the root was not swept and counted");
                (Some(AGAIN), None)
            }
        };
        self.sweep = None;
        self.next = wait.map(|wait| Instant::now() + wait);
        counted
    }
}

/// How long after a sweep the next one begins, if one does.
fn period(config: &Config, counts: bool) -> Option<Duration> {
    let parts = config.server.keep_parts;
    let parts = parts.map(|kept| (kept / 4).clamp(Duration::from_secs(1), SWEEP_EVERY));
    let count = counts.then_some(GOOD_FOR);
    parts.into_iter().chain(count).min()
}

fn take_over(usage: &mut Usage, counted: HashMap<u32, u64>) -> io::Result<()> {
    let bytes: u64 = counted.values().sum();
    usage.take_over(counted)?;
    log::info!(bytes; "counted what is stored");
    Ok(())
}
