//! What every helper process gives up before it starts: it exchanges its root
//! directory for an empty one and root's identity for an ordinary user's, and
//! can gain no other privilege.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::Pid;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use crate::ipc::helper::Confine;
use crate::sandbox::Sandbox;
use crate::sys::process::{follow, keep_only};
use crate::users::Identity;
use crate::users::identity::{limit_root, limit_root_and_programs};

/// What the launcher keeps: to become any user, to open any client's directory and
/// token file, to change the root, to ask sessions to end.
const LAUNCHERS: CapabilitySet = CapabilitySet::SETUID
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL);

/// What the process that calls PAM keeps, as far as it has it: its modules read and
/// write files of root and of users, act as those, and log to the kernel.
const MODULES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::AUDIT_WRITE);

/// What a helper process gives up before it starts.
pub struct Confinement<'a> {
    identity: Option<&'a Identity>,
    /// An empty directory without a name, where this process may change root.
    pub empty_root: Option<OwnedFd>,
    /// Capabilities that stay.
    kept: CapabilitySet,
    /// The sandbox, which it enters last.
    pub sandbox: Sandbox,
}

impl<'a> Confinement<'a> {
    /// Prepares it. Without an `identity`, which this process may not change then,
    /// only the sandbox is possible.
    ///
    /// # Errors
    /// One line: what could not be prepared.
    pub fn new(
        identity: Option<&'a Identity>,
        sandbox: &Sandbox,
    ) -> Result<Confinement<'a>, String> {
        let empty_root = match identity {
            Some(_) => Some(empty_directory().map_err(|e| format!("no empty directory: {e}"))?),
            None => None,
        };
        let sandbox = sandbox.clone();
        Ok(Confinement {
            identity,
            empty_root,
            kept: CapabilitySet::empty(),
            sandbox,
        })
    }

    /// The same, but these capabilities stay.
    pub fn keeping(self, kept: CapabilitySet) -> Confinement<'a> {
        Confinement { kept, ..self }
    }

    /// Whether processes change their root, as those of root do.
    pub fn changes_root(&self) -> bool {
        self.empty_root.is_some()
    }

    /// What a helper process with this duty enters.
    pub fn with<'d>(&'d self, duty: Duty<'d>) -> Confined<'d> {
        Confined {
            confinement: self,
            duty,
        }
    }
}

/// What a helper process does once it has given up the rest.
#[derive(Clone, Copy, Debug)]
pub enum Duty<'a> {
    /// Forks others, and reaches no file, as they don't.
    Forking,
    /// Forks others, which connect to this TCP port; its sandbox is one of
    /// [`Reach::Tcp`](crate::sandbox::Reach::Tcp).
    Connecting(u16),
    /// Forks sessions: stays root, with what it needs to give each the identity
    /// of a client, and reaches only files beneath these roots.
    Launching(&'a [BorrowedFd<'a>]),
    /// Forks sessions that all have its own identity and this root, into which it
    /// changes its own.
    Sharing(BorrowedFd<'a>),
    /// Doesn't fork, and reaches only files beneath a directory.
    Alone(Option<BorrowedFd<'a>>),
    /// The same, and changes its root to that directory, to open files by paths.
    Keeping(BorrowedFd<'a>),
    /// As [`Duty::Alone`], reading only, and asks name servers; its sandbox is one of
    /// [`Reach::Names`](crate::sandbox::Reach::Names).
    Resolving(Option<BorrowedFd<'a>>),
    /// Doesn't fork, only reads files beneath a directory, asks name servers if
    /// its sandbox lets it, and connects by TCP.
    Knocking(Option<BorrowedFd<'a>>),
    /// Doesn't fork, only reads files beneath these directories, asks name servers if
    /// there are any, and connects to this TCP port; its sandbox is one of
    /// [`Reach::Names`](crate::sandbox::Reach::Names), or of
    /// [`Reach::Tcp`](crate::sandbox::Reach::Tcp) where no name is looked up.
    Mailing {
        /// The port.
        port: u16,
        /// The directories.
        files: &'a [BorrowedFd<'a>],
    },
    /// As [`Duty::Alone`] without a directory, but outlives the daemon, to write
    /// what processes have logged at the end.
    Logging,
    /// Forks no other, reaches no file, and uses sockets; its sandbox is one of
    /// [`Reach::Data`](crate::sandbox::Reach::Data).
    Dialing,
}

impl Duty<'_> {
    /// Whether it forks processes that face clients.
    fn forks(self) -> bool {
        matches!(
            self,
            Duty::Forking | Duty::Connecting(_) | Duty::Launching(_) | Duty::Sharing(_)
        )
    }
}

/// A confinement for one duty.
pub struct Confined<'a> {
    confinement: &'a Confinement<'a>,
    duty: Duty<'a>,
}

impl Confine for Confined<'_> {
    fn enter(&self, parent: Pid, handles: &[BorrowedFd<'_>]) -> io::Result<()> {
        let Confinement {
            identity,
            empty_root,
            kept,
            sandbox,
        } = self.confinement;
        prefer_to_kill();
        if let Some(empty_root) = empty_root {
            change_root(match self.duty {
                Duty::Sharing(root) | Duty::Keeping(root) => root,
                _ => empty_root.as_fd(),
            })?;
        }
        keep_only(handles)?;
        if self.duty.forks() {
            sandbox.limit_memory()?;
        }
        match (self.duty, identity) {
            (Duty::Launching(_), _) => limit_root(LAUNCHERS)?,
            (_, Some(identity)) => identity.take_keeping(*kept)?,
            (_, None) => {
                nix::sys::prctl::set_no_new_privs()?;
                nix::sys::prctl::set_dumpable(false)?;
            }
        }
        // A change of identity clears this setting, so it comes last.
        if !matches!(self.duty, Duty::Logging) {
            follow(parent)?;
        }
        if let Duty::Launching(roots) = self.duty {
            sandbox.enter_as_launcher()?;
            sandbox.share_sockets()?;
            return sandbox.limit_files_to(roots);
        }
        sandbox.enter()?;
        match self.duty {
            Duty::Launching(_) => return Ok(()),
            Duty::Forking => return sandbox.limit_files(None),
            Duty::Sharing(root) => {
                sandbox.share_sockets()?;
                return sandbox.limit_files(Some(root));
            }
            Duty::Connecting(port) => return sandbox.limit_to_port(port),
            Duty::Alone(root) => sandbox.limit_files(root)?,
            Duty::Keeping(root) => sandbox.limit_files(Some(root))?,
            Duty::Logging => sandbox.limit_files(None)?,
            Duty::Resolving(top) => sandbox.limit_to_names(top)?,
            Duty::Mailing { port, files } => sandbox.limit_to_server(port, files)?,
            Duty::Knocking(top) => sandbox.limit_to_sockets(top)?,
            Duty::Dialing => sandbox.limit_to_sockets(None)?,
        }
        sandbox.deny_fork_and_identity()
    }
}

/// What a process gives up whose code is the site's, such as modules of PAM: no list
/// of calls or files would fit it. It stays root with few capabilities, which programs
/// that it starts have at most, and is bounded in memory.
pub struct ForModules<'a> {
    /// Whether there are bounds at all.
    pub sandbox: &'a Sandbox,
}

impl Confine for ForModules<'_> {
    fn enter(&self, parent: Pid, handles: &[BorrowedFd<'_>]) -> io::Result<()> {
        prefer_to_kill();
        keep_only(handles)?;
        self.sandbox.limit_memory()?;
        setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
        let held = rustix::thread::capabilities(None)?.permitted;
        limit_root_and_programs(held.intersection(MODULES))?;
        follow(parent)
    }
}

/// Changes the root, and the working directory, to a directory.
///
/// # Errors
/// The system's.
pub fn change_root(directory: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::process::fchdir(directory)?;
    rustix::process::chroot(".")
}

/// A handle of the root that this process has changed to. One from before would
/// lead out by `..`.
///
/// # Errors
/// The system's.
pub fn reopen_root() -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open("/", flags, Mode::empty())
}

/// If memory runs out, the system ends this process and its children before the
/// daemon and before others. Without `/proc` it decides by size alone.
fn prefer_to_kill() {
    let _ = std::fs::write(OOM_SCORE, "500");
}

/// The daemon, which would take all others along, is ended last.
pub fn spare_daemon() {
    let score = std::fs::read_to_string(OOM_SCORE);
    if score.is_ok_and(|score| score.trim() == "0") {
        // Without CAP_SYS_RESOURCE the unit of systemd has to (OOMScoreAdjust).
        let _ = std::fs::write(OOM_SCORE, "-900");
    }
}

const OOM_SCORE: &str = "/proc/self/oom_score_adj";

/// A directory that has no entries and no name: made, opened, removed.
fn empty_directory() -> io::Result<OwnedFd> {
    let template = std::env::temp_dir().join("tfd-empty-XXXXXX");
    let path = nix::unistd::mkdtemp(&template)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::open(&path, flags, Mode::empty());
    rustix::fs::rmdir(&path)?;
    Ok(handle?)
}
