//! Helper processes: each is forked, gives up what it does not need, and has
//! one channel to the daemon. The sandbox decides what it may keep.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, getpid};

use super::codec::{Decode, Encode, codec};
use super::log_channel;
use super::pipe::{Pipe, pair};
use crate::sys::process::fork;

/// The longest message of a helper that is not ready yet, in bytes, and the
/// longest reason why it will not be, in characters.
const MAX_REPORT: usize = 512 * 1024;
const MAX_REASON: usize = 16 * 1024;

/// Such a message.
enum Report<T> {
    Part(T),
    Ready,
    Failed(String),
}

codec!(enum Report<T> { 1 => Part(part), 2 => Ready, 3 => Failed(why) });

/// A helper process and the channel to it, for what it is sent and what it
/// sends; `()` for nothing.
#[derive(Debug)]
pub struct Helper<S = (), R = ()> {
    /// Its process.
    pub pid: Pid,
    /// The channel to it.
    pub channel: Pipe<S, R>,
}

/// What a helper process gives up before it starts.
pub trait Confine {
    /// In a process just forked: closes all other descriptors, ends with the parent,
    /// and gives up the rest for good.
    ///
    /// # Errors
    /// The system's. The process must end then.
    fn enter(&self, parent: Pid, handles: &[BorrowedFd<'_>]) -> io::Result<()>;
}

/// The helper's own view, in its process.
pub struct Child<S = (), R = ()> {
    /// The channel to the daemon.
    pub channel: Pipe<R, S>,
    parent: Pid,
    /// Whether the daemon waits for [`Child::ready`].
    awaited: bool,
}

impl<S, R> Helper<S, R> {
    /// Forks a helper that lives in `body`; `what` names it in errors and in
    /// the log.
    pub fn spawn(
        what: &str,
        body: impl FnOnce(&mut Child<S, R>) -> io::Result<()>,
    ) -> Result<Helper<S, R>, String> {
        Helper::start(what, false, body)
    }

    /// The same, and waits until it is ready. An error of `body` before that is
    /// returned here.
    pub fn spawn_ready(
        what: &str,
        body: impl FnOnce(&mut Child<S, R>) -> io::Result<()>,
    ) -> Result<Helper<S, R>, String> {
        Helper::spawn_reporting(what, |_: u8| {}, body)
    }

    /// The same; `hear` is given each [`Child::report`] before it is ready.
    pub fn spawn_reporting<T: Decode>(
        what: &str,
        mut hear: impl FnMut(T),
        body: impl FnOnce(&mut Child<S, R>) -> io::Result<()>,
    ) -> Result<Helper<S, R>, String> {
        let helper = Helper::start(what, true, body)?;
        loop {
            let message = helper.channel.channel().receive_whole(MAX_REPORT);
            let report = message.ok();
            let report = report.and_then(|(bytes, _)| Report::from_bytes(&bytes));
            let why = match report {
                Some(Report::Ready) => return Ok(helper),
                Some(Report::Part(part)) => {
                    hear(part);
                    continue;
                }
                Some(Report::Failed(why)) => why,
                None => format!("{what} ended before it was ready"),
            };
            helper.kill();
            let _ = waitpid(helper.pid, None);
            return Err(why);
        }
    }

    fn start(
        what: &str,
        awaited: bool,
        body: impl FnOnce(&mut Child<S, R>) -> io::Result<()>,
    ) -> Result<Helper<S, R>, String> {
        let parent = getpid();
        let forked = pair().and_then(|(channel, theirs)| {
            let mut child = Child {
                channel: theirs,
                parent,
                awaited,
            };
            let pid = fork(move || {
                let result = log_channel::speak_as(what).and_then(|()| body(&mut child));
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

impl<S, R> Child<S, R> {
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
    pub fn report<T: Encode>(&self, part: T) -> io::Result<()> {
        self.send(&Report::Part(part))
    }

    /// Ends the daemon's wait.
    pub fn ready(&mut self) -> io::Result<()> {
        self.awaited = false;
        self.send(&Report::<u8>::Ready)
    }

    fn send<T: Encode>(&self, report: &Report<T>) -> io::Result<()> {
        self.channel.channel().send(&report.to_bytes(), &[])
    }

    /// The exit status. A failure goes to the daemon if it waits, else to the log.
    fn finish(self, what: &str, result: io::Result<()>) -> i32 {
        let Err(e) = result else { return 0 };
        if self.awaited {
            let why = match e.raw_os_error() {
                Some(_) => format!("{what}: {e}"),
                None => e.to_string(),
            };
            let why = why.chars().take(MAX_REASON).collect();
            let _ = self.send(&Report::<u8>::Failed(why));
        } else {
            log::error!(error:% = e; "{what} failed");
        }
        1
    }
}
