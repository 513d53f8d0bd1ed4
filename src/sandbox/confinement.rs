//! What every helper process gives up before it begins: its root directory for
//! an empty one, root's identity for an ordinary user's, and its way to any
//! other privilege.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::unistd::Pid;
use rustix::fs::{Mode, OFlags};
use rustix::thread::CapabilitySet;

use crate::sandbox::Sandbox;
use crate::sys::process::{follow, keep_only};
use crate::users::Identity;
use crate::users::identity::limit_root;

/// What an launcher keeps: to become any user, to open any client's directory and
/// token file, to change the root, to ask sessions to end.
const LAUNCHERS: CapabilitySet = CapabilitySet::SETUID
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL);

/// What a helper process gives up before it begins.
pub struct Confinement<'a> {
    identity: Option<&'a Identity>,
    /// An empty directory without a name, where this process may change root.
    pub empty_root: Option<OwnedFd>,
    /// Capabilities that stay.
    kept: CapabilitySet,
    /// What it enters last.
    pub sandbox: Sandbox,
}

impl<'a> Confinement<'a> {
    /// Prepares it; `identity` is `None` when this process may not take another
    /// one, and then nothing of it can be had.
    ///
    /// # Errors
    /// One line that says what could not be prepared.
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

    /// The same, but these capabilities stay with the other identity.
    #[must_use]
    pub fn keeping(self, kept: CapabilitySet) -> Confinement<'a> {
        Confinement { kept, ..self }
    }

    /// In a process just forked: keeps no descriptor but these, follows the
    /// parent into its end, and takes identity and directory for good.
    ///
    /// # Errors
    /// The system's. The process must end then.
    pub fn enter(&self, parent: Pid, handles: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.give_up(parent, handles)?;
        self.sandbox.enter()
    }

    fn give_up(&self, parent: Pid, handles: &[BorrowedFd<'_>]) -> io::Result<()> {
        if let Some(empty_root) = &self.empty_root {
            rustix::process::fchdir(empty_root)?;
            rustix::process::chroot(".")?;
        }
        keep_only(handles)?;
        match self.identity {
            Some(identity) => identity.take_keeping(self.kept)?,
            None => {
                nix::sys::prctl::set_no_new_privs()?;
                nix::sys::prctl::set_dumpable(false)?;
            }
        }
        // A change of identity clears this setting, so it comes last.
        follow(parent)
    }

    /// For the launcher: stays root, with what it needs to give each child the
    /// identity of a client, and reaches no file but those beneath `root`.
    ///
    /// # Errors
    /// As [`Confinement::enter`].
    pub fn enter_as_launcher(
        &self,
        parent: Pid,
        handles: &[BorrowedFd<'_>],
        root: BorrowedFd<'_>,
    ) -> io::Result<()> {
        if let Some(empty_root) = &self.empty_root {
            rustix::process::fchdir(empty_root)?;
            rustix::process::chroot(".")?;
        }
        keep_only(handles)?;
        limit_root(LAUNCHERS)?;
        follow(parent)?;
        self.sandbox.enter_as_launcher()?;
        self.sandbox.limit_files(Some(root))
    }

    /// As [`Confinement::enter_as_leaf`], for one that asks name servers and
    /// reads files beneath `top`. Its sandbox is one of [`crate::sandbox::Reach::Names`].
    ///
    /// # Errors
    /// As [`Confinement::enter`].
    pub fn enter_as_resolver(
        &self,
        parent: Pid,
        handles: &[BorrowedFd<'_>],
        top: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        self.enter(parent, handles)?;
        self.sandbox.limit_to_names(top)?;
        self.sandbox.deny_fork_and_identity()
    }

    /// As [`Confinement::enter`], for a process that forks no other and needs
    /// no file but those beneath `root`.
    ///
    /// # Errors
    /// As [`Confinement::enter`].
    pub fn enter_as_leaf(
        &self,
        parent: Pid,
        handles: &[BorrowedFd<'_>],
        root: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        self.enter(parent, handles)?;
        self.sandbox.limit_files(root)?;
        self.sandbox.deny_fork_and_identity()
    }
}

/// A directory that has no entries and no name: made, opened, removed.
fn empty_directory() -> io::Result<OwnedFd> {
    let template = std::env::temp_dir().join("tfd-empty-XXXXXX");
    let path = nix::unistd::mkdtemp(&template)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::open(&path, flags, Mode::empty());
    rustix::fs::rmdir(&path)?;
    Ok(handle?)
}

/// Turns the end of a helper process into its exit status, with a log line
/// when it failed.
pub fn finish(what: &str, result: io::Result<()>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(e) => {
            log::error!("{what} failed error=\"{e}\"");
            1
        }
    }
}
