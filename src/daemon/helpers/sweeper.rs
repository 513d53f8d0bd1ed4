//! The sweeper: a process that removes the parts of uploads and copies whose
//! writers died, counts what is stored if there are quotas, then ends. In
//! multi-user mode it may ignore the modes of files, since it parses nothing
//! except names.

use std::collections::{HashMap, HashSet};
use std::io;

use rustix::fs::AtFlags;
use rustix::io::Errno;
use rustix::thread::CapabilitySet;
use std::os::fd::AsFd;

use crate::config::Config;
use crate::ipc::codec::codec;
use crate::ipc::{Helper, Pipe};
use crate::sandbox::Sandbox;
use crate::sandbox::confinement::{Confinement, Duty};
use crate::session::login::Steps;
use crate::store::part::is_file;
use crate::store::tree::{Step, walk};
use crate::store::{Root, RootPath, sweep};
use crate::sys::number::size;
use crate::users::Identities;

/// What a sweeper reports.
#[derive(Debug)]
pub enum Report {
    /// The bytes of an owner's files.
    Owner {
        /// The owner.
        uid: u32,
        /// The bytes.
        bytes: u64,
    },
    /// The end of the reports.
    Last,
}

codec!(enum Report { 1 => Owner { uid, bytes }, 2 => Last });

/// A sweep in progress, and its count so far.
#[derive(Debug)]
pub struct Sweep {
    /// The source of its reports.
    pub channel: Pipe<(), Report>,
    counted: HashMap<u32, u64>,
}

impl Sweep {
    /// Starts a sweep beneath the root of a configuration.
    ///
    /// # Errors
    /// One line that says what could not be started.
    pub fn start(
        config: &Config,
        identities: Option<&Identities>,
        sandbox: &Sandbox,
        count: bool,
    ) -> Result<Sweep, String> {
        let shared = Steps::of(config) == Steps::NONE;
        let everywhere = CapabilitySet::DAC_OVERRIDE | CapabilitySet::FOWNER;
        let kept = if shared {
            CapabilitySet::empty()
        } else {
            everywhere
        };
        // Where all clients are one user, the parts are that user's.
        let identity = identities.map(|who| if shared { &who.clients } else { &who.helpers });
        let confinement = Confinement::new(identity, sandbox)?.keeping(kept);
        let shown = config.server.root.display();
        let root =
            Root::open(&config.server.root).map_err(|e| format!("server.root {shown}: {e}"))?;
        let kept_parts = config.server.keep_parts;
        let helper = Helper::spawn("sweeper", |child| {
            let confined = confinement.with(Duty::Alone(Some(root.handle())));
            child.enter(c"tfd-sweeper", &confined, &[root.handle()])?;
            let removed = sweep::sweep(&root, kept_parts)?;
            match removed.abandoned {
                0 => log::debug!("swept root, nothing left behind"),
                count => log::warn!(count; "swept root, removed abandoned parts"),
            }
            if removed.broken_off > 0 {
                let count = removed.broken_off;
                log::info!(count; "swept root, removed parts of broken-off uploads");
            }
            if count {
                return report(&child.channel, count_bytes(&root)?);
            }
            // Nobody may be waiting for this.
            let _ = child.channel.send(&Report::Last);
            Ok(())
        })?;
        Ok(Sweep {
            channel: helper.channel,
            counted: HashMap::new(),
        })
    }

    /// Waits for the count.
    ///
    /// # Errors
    /// When the sweeper ended without one.
    pub fn wait(mut self) -> io::Result<HashMap<u32, u64>> {
        loop {
            let report = self.channel.receive()?;
            if self.take(report)? {
                return Ok(self.counted);
            }
        }
    }

    /// Reads its reports; the count once it is complete.
    ///
    /// # Errors
    /// When the sweeper ended without one.
    pub fn hear(&mut self) -> io::Result<Option<HashMap<u32, u64>>> {
        loop {
            match self.channel.try_receive() {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(e) => return Err(e),
                Ok(report) => {
                    if self.take(report)? {
                        return Ok(Some(std::mem::take(&mut self.counted)));
                    }
                }
            }
        }
    }

    /// Takes one report; whether it was the last.
    fn take(&mut self, report: Option<Report>) -> io::Result<bool> {
        match report.ok_or(io::ErrorKind::UnexpectedEof)? {
            Report::Last => return Ok(true),
            Report::Owner { uid, bytes } => self.counted.insert(uid, bytes),
        };
        Ok(false)
    }
}

fn report(daemon: &Pipe<Report, ()>, counted: HashMap<u32, u64>) -> io::Result<()> {
    for (uid, bytes) in counted {
        daemon.send(&Report::Owner { uid, bytes })?;
    }
    daemon.send(&Report::Last)
}

/// The bytes of all files beneath the root, by owner; a file with several names
/// counts once.
fn count_bytes(root: &Root) -> Result<HashMap<u32, u64>, Errno> {
    let start = root.open_dir(&RootPath::root())?;
    let mut counted: HashMap<u32, u64> = HashMap::new();
    let mut seen = HashSet::new();
    walk(start.as_fd(), |visit| {
        if visit.kind.is_file()
            && let Ok(stat) =
                rustix::fs::statat(visit.directory, visit.name(), AtFlags::SYMLINK_NOFOLLOW)
            && is_file(&stat)
            && (stat.st_nlink <= 1 || seen.insert((stat.st_dev, stat.st_ino)))
        {
            *counted.entry(stat.st_uid).or_default() += size(stat.st_size);
        }
        Ok::<Step, Errno>(Step::Enter)
    })?;
    Ok(counted)
}
