//! The process behind `on_upload`, `tfd-uploads`: it takes sessions' reports of
//! files that are whole, keeps a job for each on disk, and runs the program. It has
//! `server.user`'s identity and the right to look at every file, which its children
//! lose with the program, and no sandbox, for they are the site's own. It reads no
//! byte of a client; of a session it reads paths, which count from that session's
//! root alone, as the kernel resolves them.
//!
//! It outlives the daemon until it has taken all reports: what a client has been
//! told is whole has its job.

mod queue;
mod run;

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::unistd::chown;
use rustix::event::PollFlags;
use rustix::fs::{Mode, OFlags};
use rustix::thread::CapabilitySet;

use crate::config::{Config, Durability, OnUpload};
use crate::daemon::helpers::uploads::queue::{Job, Queue, TRIES};
use crate::daemon::helpers::uploads::run::{End, Run, path_of};
use crate::ipc::codec::codec;
use crate::ipc::figures::{Board, Figure, Figures};
use crate::ipc::poll::{Poll, left};
use crate::ipc::service::Service;
use crate::ipc::{Helper, Pipe};
use crate::session::uploads::Report;
use crate::store::part::is_file;
use crate::store::root::open_beneath;
use crate::store::{Policy, RootPath};
use crate::sys::process::keep_only;
use crate::text::shown;
use crate::users::Identity;

/// The most jobs that wait; sessions wait behind them.
const MAX_JOBS: usize = 1_000_000;

/// Reports taken from one session before others have their turn.
const AT_ONCE: usize = 64;

/// How long programs go on when tfd ends.
const GRACE: Duration = Duration::from_secs(3);

/// What the process publishes.
static FIGURES: [Figure; 5] = [
    Figure::gauge("jobs_queued", "Jobs of on_upload that wait."),
    Figure::gauge("jobs_running", "Those at work."),
    Figure::counter("jobs_done", "Those that were done."),
    Figure::counter("runs_failed", "Runs that failed."),
    Figure::counter("jobs_given_up", "Jobs that were given up."),
];
const QUEUED: usize = 0;
const RUNNING: usize = 1;
const DONE: usize = 2;
const RUNS_FAILED: usize = 3;
const GIVEN_UP: usize = 4;

/// A session whose reports count: the daemon's word.
#[derive(Debug)]
pub struct NewSession {
    /// Whom it is for.
    pub account: String,
    /// What it speaks.
    pub protocol: String,
    /// The client's address.
    pub peer: String,
    channel: Pipe<(), Report>,
}

codec!(struct NewSession { account, protocol, peer, channel });

/// The process, in the daemon.
#[derive(Debug)]
pub struct Uploads {
    /// The process.
    pub service: Service<NewSession>,
    /// What it goes by.
    pub settings: OnUpload,
    /// What it publishes.
    pub figures: Figures,
    directory: PathBuf,
}

impl Uploads {
    /// Starts it where there is a program.
    ///
    /// # Errors
    /// One line: what could not be made or started.
    pub fn start(config: &Config, identity: Option<&Identity>) -> Result<Option<Uploads>, String> {
        let settings = config.server.on_upload.clone();
        let Some(settings) = settings.filter(|_| config.proxy().is_none()) else {
            return Ok(None);
        };
        let figures = Figures::new(&FIGURES)?;
        let helper = start(config, &settings, identity, &figures)?;
        Ok(Some(Uploads {
            service: Service::new(helper),
            settings,
            figures,
            directory: config.server.on_upload_queue.clone(),
        }))
    }

    /// Whether it goes by this configuration.
    pub fn fits(&self, config: &Config) -> bool {
        config.server.on_upload.as_ref() == Some(&self.settings)
            && config.server.on_upload_queue == self.directory
    }

    /// A channel for a session's reports.
    pub fn open(&self, account: &str, protocol: &str, peer: String) -> io::Result<OwnedFd> {
        let introduce = |channel| NewSession {
            account: account.to_owned(),
            protocol: protocol.to_owned(),
            peer,
            channel,
        };
        let channel: Pipe<Report, ()> = self.service.open(introduce)?;
        Ok(channel.into_channel().into_handle())
    }

    /// Starts it again once that is due.
    pub fn restart_if_due(&mut self, config: &Config, identity: Option<&Identity>) {
        let (settings, figures) = (&self.settings, &self.figures);
        self.service
            .restart_if_due(|| start(config, settings, identity, figures));
    }
}

fn start(
    config: &Config,
    settings: &OnUpload,
    identity: Option<&Identity>,
    figures: &Figures,
) -> Result<Helper<NewSession, ()>, String> {
    let path = &config.server.on_upload_queue;
    let directory = open_queue(path, identity)
        .map_err(|e| format!("server.on_upload_queue: {}: {e}", path.display()))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = &config.server.root;
    let root = rustix::fs::open(root, flags, Mode::empty())
        .map_err(|e| format!("server.root: {}: {e}", root.display()))?;
    let sync = config.server.durability == Durability::File;
    Helper::spawn("uploads", |child| {
        let board = figures.board()?;
        keep_only(&[directory.as_fd(), root.as_fd(), child.channel.as_fd()])?;
        if let Some(identity) = identity {
            identity.take_keeping(CapabilitySet::DAC_READ_SEARCH)?;
        }
        nix::sys::prctl::set_name(c"tfd-uploads")?;
        let mut worker = Worker {
            top: path_of(root.as_fd())?,
            root,
            queue: Queue::open(directory, sync)?,
            settings: settings.clone(),
            board,
            sessions: Vec::new(),
            runs: Vec::new(),
            over: None,
        };
        worker.serve(&child.channel)
    })
}

/// Opens the directory with the jobs, which is made where it is missing, and which
/// the process owns.
fn open_queue(path: &Path, identity: Option<&Identity>) -> io::Result<OwnedFd> {
    use std::os::unix::fs::DirBuilderExt;
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let made = fs::DirBuilder::new().mode(0o700).create(path);
    match made {
        Ok(()) => {
            let owner = identity.map(|who| (who.uid, who.gid));
            chown(path, owner.map(|of| of.0), owner.map(|of| of.1))?;
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(e),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&directory)?;
    let own = identity.map_or_else(nix::unistd::geteuid, |who| who.uid);
    if stat.st_uid != own.as_raw() || stat.st_mode & 0o077 != 0 {
        let text = "others than the user of on_upload have it: remove it, or chown and chmod 700";
        return Err(io::Error::other(text));
    }
    Ok(directory)
}

/// The process.
struct Worker {
    /// The root of the configuration, and its path.
    root: OwnedFd,
    top: PathBuf,
    queue: Queue,
    settings: OnUpload,
    board: Board,
    sessions: Vec<Session>,
    runs: Vec<Run>,
    /// When programs that run are ended, once tfd has.
    over: Option<Instant>,
}

/// A session that may report.
struct Session {
    new: NewSession,
    root: Option<OwnedFd>,
    is_open: bool,
}

/// What it waits for.
#[derive(Clone, Copy)]
enum Source {
    Daemon,
    Session(usize),
    Run(usize),
}

impl Worker {
    /// Serves until the daemon and all sessions have ended, and programs with them.
    fn serve(&mut self, daemon: &Pipe<(), NewSession>) -> io::Result<()> {
        let mut daemon = Some(daemon);
        loop {
            self.sessions.retain(|session| session.is_open);
            if daemon.is_none() && self.sessions.is_empty() {
                let over = *self.over.get_or_insert_with(|| Instant::now() + GRACE);
                if self.runs.is_empty() {
                    return Ok(());
                }
                if over <= Instant::now() {
                    self.runs.iter_mut().for_each(Run::kill);
                    self.over = Some(Instant::now() + GRACE);
                }
            } else {
                self.begin_runs();
            }
            self.publish();
            if !self.wait_and_act(daemon)? {
                daemon = None;
            }
            self.end_runs();
        }
    }

    /// One wait and its events; whether the daemon may still send sessions.
    fn wait_and_act(&mut self, daemon: Option<&Pipe<(), NewSession>>) -> io::Result<bool> {
        let mut poll = Poll::default();
        if let Some(daemon) = daemon {
            poll.read(Source::Daemon, daemon);
        }
        if self.queue.len() < MAX_JOBS {
            for (index, session) in self.sessions.iter().enumerate() {
                poll.read(Source::Session(index), &session.new.channel);
            }
        }
        for (index, run) in self.runs.iter().enumerate() {
            for handle in run.sources() {
                poll.add(Source::Run(index), handle, PollFlags::IN);
            }
        }
        let ready = poll.wait(self.due().map(left))?;
        for (source, _) in ready {
            match source {
                Source::Session(index) => self.hear(index),
                Source::Run(index) => self.runs[index].hear(),
                Source::Daemon => match daemon.map(Pipe::receive) {
                    Some(Ok(Some(new))) => self.sessions.push(Session {
                        new,
                        root: None,
                        is_open: true,
                    }),
                    Some(Err(e)) if e.kind() == io::ErrorKind::InvalidData => {}
                    _ => return Ok(false),
                },
            }
        }
        Ok(daemon.is_some())
    }

    fn due(&self) -> Option<Instant> {
        let runs = self.runs.iter().map(Run::until);
        let job = self.queue.due().filter(|_| self.has_room());
        runs.chain(job).chain(self.over).min()
    }

    fn has_room(&self) -> bool {
        self.over.is_none() && self.runs.len() < self.settings.parallel
    }

    fn publish(&self) {
        self.board.set(QUEUED, self.queue.len() as u64);
        self.board.set(RUNNING, self.runs.len() as u64);
    }

    /// Takes reports of a session.
    fn hear(&mut self, index: usize) {
        for _ in 0..AT_ONCE {
            let session = &mut self.sessions[index];
            match session.new.channel.try_receive() {
                Ok(Some(Report::Root(root))) if session.root.is_none() => {
                    session.root = Some(root);
                }
                Ok(Some(Report::Arrived(path))) => self.arrived(index, &path),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                // Its end, or nonsense.
                _ => return session.is_open = false,
            }
        }
    }

    /// Makes a job of a report, if there is such a file beneath the session's root.
    fn arrived(&mut self, index: usize, path: &[u8]) {
        let Session { new, root, .. } = &self.sessions[index];
        let found = root
            .as_ref()
            .ok_or(io::ErrorKind::InvalidInput.into())
            .and_then(|root| self.locate(root.as_fd(), path));
        let added = found.and_then(|real| {
            self.queue.add(&Job {
                path: real,
                client_path: path.to_vec(),
                account: new.account.clone(),
                protocol: new.protocol.clone(),
                peer: new.peer.clone(),
            })
        });
        match added {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                log::debug!(path = shown(path); "no job for an upload, it is gone");
            }
            Err(e) => log::error!(path = shown(path), error:% = e; "no job for an upload"),
        }
    }

    /// Where a session's path leads, from the root of the configuration.
    fn locate(&self, root: BorrowedFd<'_>, path: &[u8]) -> io::Result<Vec<u8>> {
        let path = RootPath::parse(path, &Policy::NONE).map_err(io::Error::other)?;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let file = open_beneath(root, path.as_os_str(), flags, Mode::empty())?;
        if !is_file(&rustix::fs::fstat(&file)?) {
            return Err(io::Error::other("not a regular file"));
        }
        let real = path_of(file.as_fd())?;
        let beneath = real.strip_prefix(&self.top).map_err(io::Error::other)?;
        Ok(beneath.as_os_str().as_bytes().to_vec())
    }

    /// Begins runs of the jobs that are due.
    fn begin_runs(&mut self) {
        while self.has_room()
            && let Some(waiting) = self.queue.take()
        {
            let name = waiting.name.clone();
            let job = match self.queue.read(&name) {
                Ok(Some(job)) => job,
                Ok(None) => {
                    log::error!(job = name; "not a job of on_upload, put aside");
                    self.board.count(GIVEN_UP);
                    let _ = self.queue.give_up(&name);
                    continue;
                }
                Err(e) => {
                    log::error!(job = name, error:% = e; "a job of on_upload can't be read");
                    continue;
                }
            };
            let begun = Run::begin(waiting.clone(), job, self.root.as_fd(), &self.settings);
            match begun {
                Ok(run) => self.runs.push(run),
                Err(e) => {
                    log::error!(error:% = e; "on_upload can't be run");
                    let _ = self.queue.again(waiting);
                }
            }
        }
    }

    /// Takes leave of runs that have ended, and ends those that are late.
    fn end_runs(&mut self) {
        let mut index = 0;
        while index < self.runs.len() {
            if self.runs[index].until() <= Instant::now() {
                self.runs[index].kill();
            }
            match self.runs[index].ended(self.root.as_fd()) {
                Some(end) => {
                    let run = self.runs.swap_remove(index);
                    if let Err(e) = self.settle(run, end) {
                        log::error!(error:% = e; "the queue of on_upload");
                    }
                }
                None => index += 1,
            }
        }
    }

    fn settle(&mut self, run: Run, end: End) -> io::Result<()> {
        let path = shown(&run.job.path);
        let seconds = run.age().as_secs_f64();
        match end {
            End::Done => {
                log::info!(path, seconds; "on_upload done");
                self.board.count(DONE);
                self.queue.remove(&run.waiting.name)
            }
            End::Gone => {
                log::info!(path; "on_upload not run, the file is gone");
                self.board.count(DONE);
                self.queue.remove(&run.waiting.name)
            }
            // The job is still there at the next start.
            End::Failed(_) if self.over.is_some() => Ok(()),
            End::Failed(why) => {
                self.board.count(RUNS_FAILED);
                let tried = run.waiting.tried + 1;
                match self.queue.again(run.waiting)? {
                    Some(pause) => {
                        let again = pause.as_secs();
                        log::warn!(path, why, tried, again_in_seconds = again; "on_upload failed");
                    }
                    None => {
                        self.board.count(GIVEN_UP);
                        log::error!(path, why, tried = TRIES; "on_upload failed, given up");
                    }
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A process for a root with two homes, and a session of the first that has
    /// sent these reports.
    fn jobs(dir: &Path, reports: &[Report]) -> Vec<Vec<u8>> {
        let handle = |path: &Path| OwnedFd::from(fs::File::open(path).expect("directory"));
        let figures = Figures::new(&FIGURES).expect("memory");
        let queue = dir.join("queue");
        fs::create_dir(&queue).expect("queue");
        let (channel, session) = crate::ipc::pipe::pair().expect("pair");
        let peer = "127.0.0.1:7".to_owned();
        let new = NewSession {
            account: "ann".to_owned(),
            protocol: "tf".to_owned(),
            peer,
            channel,
        };
        let root = handle(&dir.join("root"));
        let mut worker = Worker {
            top: path_of(root.as_fd()).expect("path"),
            root,
            queue: Queue::open(handle(&queue), false).expect("queue"),
            settings: OnUpload {
                program: Vec::new(),
                parallel: 1,
                timeout: GRACE,
            },
            board: figures.board().expect("page"),
            sessions: vec![Session {
                new,
                root: None,
                is_open: true,
            }],
            runs: Vec::new(),
            over: None,
        };
        for report in reports {
            session.send(report).expect("send");
        }
        worker.hear(0);
        let mut paths = Vec::new();
        while let Some(waiting) = worker.queue.take() {
            let job = worker.queue.read(&waiting.name).expect("read");
            paths.push(job.expect("a job").path);
        }
        fs::remove_dir_all(queue).expect("remove");
        paths
    }

    #[test]
    fn a_session_that_lies_makes_jobs_for_files_of_its_own_root_alone() {
        let dir = tempfile::tempdir().expect("directory");
        let at = |name: &str| dir.path().join(name);
        for home in ["root/ann/d", "root/bob", "elsewhere"] {
            fs::create_dir_all(at(home)).expect("directories");
        }
        for file in ["root/ann/d/f", "root/bob/secret", "elsewhere/secret"] {
            fs::write(at(file), "content").expect("write");
        }
        symlink("../bob/secret", at("root/ann/up")).expect("link");
        symlink(at("elsewhere/secret"), at("root/ann/out")).expect("link");
        symlink("d/f", at("root/ann/fine")).expect("link");
        let root = |name: &str| Report::Root(fs::File::open(at(name)).expect("root").into());
        let arrived = |path: &str| Report::Arrived(path.as_bytes().to_vec());
        let lies = [
            "../bob/secret",
            "up",
            "out",
            "d",
            "none",
            "/etc/passwd",
            "d/../../bob/secret",
        ];
        for lie in lies {
            assert!(
                jobs(dir.path(), &[root("root/ann"), arrived(lie)]).is_empty(),
                "{lie}"
            );
        }
        let file = b"ann/d/f".to_vec();
        for path in ["d/f", "/d//f", "fine"] {
            let made = jobs(dir.path(), &[root("root/ann"), arrived(path)]);
            assert_eq!(made, std::slice::from_ref(&file), "{path}");
        }
        // A root counts once, and none beyond the configuration's.
        let second = [root("root/ann"), root("root"), arrived("bob/secret")];
        assert!(jobs(dir.path(), &second).is_empty());
        assert!(jobs(dir.path(), &[root("elsewhere"), arrived("secret")]).is_empty());
        assert!(jobs(dir.path(), &[arrived("d/f")]).is_empty());
    }
}
