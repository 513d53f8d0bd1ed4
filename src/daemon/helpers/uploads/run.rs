//! A run of the program for one job: a process of its own in a clean environment,
//! whose output goes to the log, and which ends in time.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid, setpgid};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{PidfdFlags, pidfd_open};
use sha2::{Digest, Sha256};

use super::queue::{Job, Waiting};
use crate::config::OnUpload;
use crate::store::part::is_file;
use crate::sys::process::{follow, fork};
use crate::text::{hex, shown};

/// What a run may log: so many lines, of so many bytes.
const MAX_LINES: usize = 200;
const MAX_LINE: usize = 2000;

/// How many pieces of output are read before something else has its turn.
const AT_ONCE: usize = 16;

/// The exit status of a run that did not come to its program.
const NOT_RUN: i32 = 125;

/// A run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) waiting: Waiting,
    pub(super) job: Job,
    pid: Pid,
    /// Readable when the process has ended.
    process: OwnedFd,
    /// Until all is read.
    output: Option<OwnedFd>,
    begun: Instant,
    until: Instant,
    is_late: bool,
    /// The beginning of a line, how many were logged, and the bytes left out.
    line: Vec<u8>,
    lines: usize,
    left_out: usize,
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    Done,
    /// The file was moved, removed, or is not the one it was.
    Gone,
    Failed(String),
}

impl Run {
    /// Begins a run on a file beneath `root`.
    pub(super) fn begin(
        waiting: Waiting,
        job: Job,
        root: BorrowedFd<'_>,
        settings: &OnUpload,
    ) -> io::Result<Run> {
        let (output, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&output, true)?;
        let parent = getpid();
        let child = || {
            let e = become_program(&job, (root, parent), settings, theirs.as_fd());
            let _ = rustix::io::write(&theirs, format!("not run: {e}\n").as_bytes());
            NOT_RUN
        };
        let pid = fork(child)?;
        let raw = rustix::process::Pid::from_raw(pid.as_raw()).ok_or(io::ErrorKind::NotFound)?;
        let process = pidfd_open(raw, PidfdFlags::empty())?;
        let begun = Instant::now();
        Ok(Run {
            waiting,
            job,
            pid,
            process,
            output: Some(output),
            begun,
            until: begun + settings.timeout,
            is_late: false,
            line: Vec::new(),
            lines: 0,
            left_out: 0,
        })
    }

    /// What is readable when it has ended, and when it has printed something.
    pub(super) fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [&self.process]
            .into_iter()
            .chain(&self.output)
            .map(AsFd::as_fd)
    }

    /// When it has had its time.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// How long it runs.
    pub(super) fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Ends it, with all that it has started.
    pub(super) fn kill(&mut self) {
        self.is_late = true;
        // A process that the kernel keeps is killed again.
        self.until = Instant::now() + Duration::from_secs(1);
        let _ = killpg(self.pid, Signal::SIGKILL);
    }

    /// Logs what it has printed: a little at a time, others wait.
    pub(super) fn hear(&mut self) {
        let mut part = [0; 4096];
        for _ in 0..AT_ONCE {
            let Some(output) = &self.output else { return };
            match rustix::io::read(output, &mut part) {
                Ok(len @ 1..) => self.take(&part[..len]),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                _ => self.output = None,
            }
        }
    }

    fn take(&mut self, mut text: &[u8]) {
        while let Some(end) = text.iter().position(|c| *c == b'\n') {
            self.add(&text[..end]);
            self.log_line();
            text = &text[end + 1..];
        }
        self.add(text);
    }

    fn add(&mut self, text: &[u8]) {
        let room = MAX_LINE - self.line.len();
        self.line.extend_from_slice(&text[..text.len().min(room)]);
        self.left_out += text.len().saturating_sub(room);
    }

    fn log_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if self.lines >= MAX_LINES {
            self.left_out += line.len();
            return;
        }
        self.lines += 1;
        let path = shown(&self.job.path);
        log::info!(path, output = shown(&line); "on_upload");
    }

    /// How it ended, if it has. What it has left running ends, too.
    pub(super) fn ended(&mut self, root: BorrowedFd<'_>) -> Option<End> {
        let status = waitpid(self.pid, Some(WaitPidFlag::WNOHANG));
        let end = match status {
            Ok(WaitStatus::StillAlive) => return None,
            Ok(WaitStatus::Exited(_, 0)) => End::Done,
            Ok(WaitStatus::Exited(_, NOT_RUN)) if is_gone(root, &self.job.path) => End::Gone,
            Ok(WaitStatus::Exited(_, code)) => End::Failed(format!("exit status {code}")),
            Ok(WaitStatus::Signaled(..)) if self.is_late => End::Failed("time is up".to_owned()),
            Ok(WaitStatus::Signaled(_, signal, _)) => End::Failed(format!("killed by {signal}")),
            other => End::Failed(format!("{other:?}")),
        };
        let _ = killpg(self.pid, Signal::SIGKILL);
        self.hear();
        if !self.line.is_empty() {
            self.log_line();
        }
        if self.left_out > 0 {
            let path = shown(&self.job.path);
            log::warn!(path, bytes = self.left_out; "on_upload: output left out");
        }
        Some(end)
    }
}

/// In the process of a run: replaces it by the program. Returns why not.
fn become_program(
    job: &Job,
    (root, parent): (BorrowedFd<'_>, Pid),
    settings: &OnUpload,
    output: BorrowedFd<'_>,
) -> io::Error {
    match program(job, (root, parent), settings, output) {
        Ok(mut command) => command.exec(),
        Err(e) => e,
    }
}

fn program(
    job: &Job,
    (root, parent): (BorrowedFd<'_>, Pid),
    settings: &OnUpload,
    output: BorrowedFd<'_>,
) -> io::Result<Command> {
    setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
    follow(parent)?;
    let file = open(root, &job.path)?;
    let stat = rustix::fs::fstat(&file)?;
    if !is_file(&stat) {
        return Err(io::ErrorKind::NotFound.into());
    }
    let path = path_of(file.as_fd())?;
    let digest = digest(file)?;
    let [program, arguments @ ..] = &settings.program[..] else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("TFD_PATH", path)
        .env("TFD_CLIENT_PATH", OsStr::from_bytes(&job.client_path))
        .env("TFD_ACCOUNT", &job.account)
        .env("TFD_PROTOCOL", &job.protocol)
        .env("TFD_PEER", &job.peer)
        .env("TFD_SIZE", stat.st_size.to_string())
        .env("TFD_SHA256", digest)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(output.try_clone_to_owned()?)
        .stderr(output.try_clone_to_owned()?);
    Ok(command)
}

/// Opens a file by a path that had no links in it when it arrived, and must have
/// none now: nobody may lead the program elsewhere by one.
fn open(root: BorrowedFd<'_>, path: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let path = OsStr::from_bytes(path);
    rustix::fs::openat2(root, path, flags, Mode::empty(), resolve).map_err(|e| match e {
        Errno::LOOP | Errno::XDEV | Errno::NOTDIR | Errno::NOENT => io::ErrorKind::NotFound.into(),
        e => e.into(),
    })
}

/// Whether such a file no longer exists.
fn is_gone(root: BorrowedFd<'_>, path: &[u8]) -> bool {
    open(root, path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
}

/// Where an open file is, by the kernel.
pub(super) fn path_of(file: BorrowedFd<'_>) -> io::Result<PathBuf> {
    use std::os::fd::AsRawFd;
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    let path = rustix::fs::readlink(link, Vec::new())?.into_bytes();
    if rustix::fs::fstat(file)?.st_nlink == 0 {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(PathBuf::from(OsString::from_vec(path)))
}

fn digest(file: OwnedFd) -> io::Result<String> {
    let mut file = File::from(file);
    let mut digest = Sha256::new();
    let mut part = vec![0; 256 * 1024];
    loop {
        match file.read(&mut part) {
            Ok(0) => return Ok(hex(&digest.finalize())),
            Ok(len) => digest.update(&part[..len]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}
