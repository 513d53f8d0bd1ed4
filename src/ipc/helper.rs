//! Helper processes: each is forked, gives up what it does not need, and has
//! one channel to the daemon. What it may keep is the sandbox's to say.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, getpid};

use super::channel::{Channel, pair};
use crate::sys::process::fork;

/// The longest message of a helper that is not ready yet, and the longest
/// reason why it will not be, in bytes.
const MAX_REPORT: usize = 512 * 1024;
const MAX_REASON: usize = 64 * 1024;

/// The first byte of such a message.
const PART: u8 = 0;
const READY: u8 = 1;
const FAILED: u8 = 2;

/// A helper process and the channel to it.
#[derive(Debug)]
pub struct Helper {
    /// Its process.
    pub pid: Pid,
    /// The channel to it.
    pub channel: Channel,
}

/// What a helper process gives up before it begins.
pub trait Confine {
    /// In a process just forked: keeps no descriptor but these, ends with the
    /// parent, and gives up the rest for good.
    ///
    /// # Errors
    /// The system's. The process must end then.
    fn enter(&self, parent: Pid, handles: &[BorrowedFd<'_>]) -> io::Result<()>;
}

/// The helper's own view, in its process.
pub struct Child {
    /// The channel to the daemon.
    pub channel: Channel,
    parent: Pid,
    /// Whether the daemon waits for [`Child::ready`].
    awaited: bool,
}

impl Helper {
    /// Forks a helper that lives in `body`; `what` names it in errors and in
    /// the log.
    pub fn spawn(
        what: &str,
        body: impl FnOnce(&mut Child) -> io::Result<()>,
    ) -> Result<Helper, String> {
        Helper::start(what, false, body)
    }

    /// The same, and waits until it is ready. An error of `body` before that is
    /// returned here.
    pub fn spawn_ready(
        what: &str,
        body: impl FnOnce(&mut Child) -> io::Result<()>,
    ) -> Result<Helper, String> {
        Helper::spawn_reporting(what, |_| {}, body)
    }

    /// The same; `hear` is given each [`Child::report`] before it is ready.
    pub fn spawn_reporting(
        what: &str,
        mut hear: impl FnMut(&[u8]),
        body: impl FnOnce(&mut Child) -> io::Result<()>,
    ) -> Result<Helper, String> {
        let helper = Helper::start(what, true, body)?;
        loop {
            let message = helper.channel.receive_whole(MAX_REPORT);
            let why = match message.as_ref().map(|(bytes, _)| bytes.as_slice()) {
                Ok([READY]) => return Ok(helper),
                Ok([PART, report @ ..]) => {
                    hear(report);
                    continue;
                }
                Ok([FAILED, why @ ..]) => String::from_utf8_lossy(why).into_owned(),
                _ => format!("{what} ended before it was ready"),
            };
            helper.kill();
            let _ = waitpid(helper.pid, None);
            return Err(why);
        }
    }

    fn start(
        what: &str,
        awaited: bool,
        body: impl FnOnce(&mut Child) -> io::Result<()>,
    ) -> Result<Helper, String> {
        let parent = getpid();
        let forked = pair().and_then(|(channel, theirs)| {
            let mut child = Child {
                channel: theirs,
                parent,
                awaited,
            };
            let pid = fork(move || {
                let result = body(&mut child);
                child.finish(what, result)
            })?;
            Ok(Helper { pid, channel })
        });
        forked.map_err(|e| format!("{what}: {e}"))
    }

    /// Ends it at once.
    pub fn kill(&self) {
        let _ = kill(self.pid, Signal::SIGKILL);
    }
}

impl Child {
    /// Gives up everything but these descriptors and what `confinement`
    /// leaves, and takes its name.
    pub fn enter(
        &mut self,
        name: &CStr,
        confinement: &impl Confine,
        handles: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let handles = [handles, &[self.channel.as_fd()]].concat();
        confinement.enter(self.parent, &handles)?;
        Ok(nix::sys::prctl::set_name(name)?)
    }

    /// Reports something to the daemon that waits.
    pub fn report(&self, report: &[u8]) -> io::Result<()> {
        self.channel.send(&[&[PART], report].concat(), &[])
    }

    /// Ends the daemon's wait.
    pub fn ready(&mut self) -> io::Result<()> {
        self.awaited = false;
        self.channel.send(&[READY], &[])
    }

    /// The exit status. Who waits learns what failed; else the log does.
    fn finish(self, what: &str, result: io::Result<()>) -> i32 {
        let Err(e) = result else { return 0 };
        if self.awaited {
            let why = match e.raw_os_error() {
                Some(_) => format!("{what}: {e}"),
                None => e.to_string(),
            };
            let why = &why.as_bytes()[..why.len().min(MAX_REASON)];
            let _ = self.channel.send(&[&[FAILED], why].concat(), &[]);
        } else {
            log::error!("{what} failed error=\"{e}\"");
        }
        1
    }
}
