//! The sweeper: a process that removes what uploads and copies have left behind
//! whose writers died, counts what is stored where there are quotas, then
//! ends. Where clients have identities of their own it may go past the modes
//! of files, for it parses nothing but names.

use std::collections::{HashMap, HashSet};
use std::io;

use rustix::fs::AtFlags;
use rustix::io::Errno;
use rustix::thread::CapabilitySet;
use std::os::fd::AsFd;

use crate::config::Config;
use crate::ipc::Helper;
use crate::ipc::channel::Channel;
use crate::sandbox::Sandbox;
use crate::sandbox::confinement::{Confinement, Duty};
use crate::session::login::Steps;
use crate::store::part::is_file;
use crate::store::tree::{Step, walk};
use crate::store::{Root, RootPath, sweep};
use crate::users::Identity;

/// Bytes of a message: an owner and how many bytes its files have. An empty
/// owner's message comes last.
const COUNT_LEN: usize = 4 + 8;
const LAST: &[u8] = b"!";

/// A sweep under way, and what it has counted so far.
#[derive(Debug)]
pub struct Sweep {
    /// Where its news come from.
    pub channel: Channel,
    counted: HashMap<u32, u64>,
}

impl Sweep {
    /// Starts a sweep beneath the root of a configuration.
    ///
    /// # Errors
    /// One line that says what could not be started.
    pub fn start(
        config: &Config,
        identity: Option<&Identity>,
        sandbox: &Sandbox,
        count: bool,
    ) -> Result<Sweep, String> {
        let shared = config.server.login_steps() == Steps::NONE;
        let everywhere = CapabilitySet::DAC_OVERRIDE | CapabilitySet::FOWNER;
        let kept = if shared {
            CapabilitySet::empty()
        } else {
            everywhere
        };
        let confinement = Confinement::new(identity, sandbox)?.keeping(kept);
        let shown = config.server.root.display();
        let root =
            Root::open(&config.server.root).map_err(|e| format!("server.root {shown}: {e}"))?;
        let helper = Helper::spawn("sweeper", |child| {
            let confined = confinement.with(Duty::Alone(Some(root.handle())));
            child.enter(c"tfd-sweeper", &confined, &[root.handle()])?;
            match sweep::sweep(&root)? {
                0 => log::debug!("swept root, nothing left behind"),
                removed => log::warn!("swept root, removed abandoned parts count={removed}"),
            }
            if count {
                tell(&child.channel, &count_bytes(&root)?)?;
            }
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
        let mut buffer = [0; COUNT_LEN];
        loop {
            let (len, _) = self.channel.receive(&mut buffer)?;
            if self.take(&buffer[..len])? {
                return Ok(self.counted);
            }
        }
    }

    /// Takes what there is; the count once it is whole.
    ///
    /// # Errors
    /// When the sweeper ended without one.
    pub fn hear(&mut self) -> io::Result<Option<HashMap<u32, u64>>> {
        let mut buffer = [0; COUNT_LEN];
        loop {
            match self.channel.try_receive(&mut buffer) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(e) => return Err(e),
                Ok((len, _)) if self.take(&buffer[..len])? => {
                    return Ok(Some(std::mem::take(&mut self.counted)));
                }
                Ok(_) => {}
            }
        }
    }

    /// Takes one message; whether it was the last.
    fn take(&mut self, message: &[u8]) -> io::Result<bool> {
        if message == LAST {
            return Ok(true);
        }
        let (uid, bytes) = message
            .split_first_chunk()
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        let bytes = bytes.try_into().map_err(|_| io::ErrorKind::InvalidData)?;
        self.counted
            .insert(u32::from_be_bytes(*uid), u64::from_be_bytes(bytes));
        Ok(false)
    }
}

fn tell(daemon: &Channel, counted: &HashMap<u32, u64>) -> io::Result<()> {
    for (uid, bytes) in counted {
        daemon.send(
            &[&uid.to_be_bytes()[..], &bytes.to_be_bytes()].concat(),
            &[],
        )?;
    }
    daemon.send(LAST, &[])
}

/// The bytes of all files beneath the root, by owner; a file with several
/// names once.
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
            *counted.entry(stat.st_uid).or_default() += stat.st_size as u64;
        }
        Ok::<Step, Errno>(Step::Enter)
    })?;
    Ok(counted)
}
