//! The program's way to servers: [`crate::client::bbftp`].

use std::cell::Cell;

use super::failure::{Failure, Result};
use super::run::{Door, File, Job, Remote};
use super::script::command::{Direction, Request};
use super::settings::{Settings, seconds};
use super::speaker::Speaker;
use crate::bbftp::wire::extension::MAX_SMALL_FILE;
use crate::client::bbftp::{
    Done, Error, Event, Fate, How, Limits, Listed, Moved, Observer, Session, Target,
};
use crate::client::{self, Event as Shown};
use crate::text::shown;

/// The numbers of what may go wrong once the user was named to the server.
const AFTER_USER: [u8; 3] = [59, 100, 101];

/// A server and how to reach it.
pub(super) struct Engine {
    pub(super) target: Target,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::new(error.code, error.fate, shown(error.text.as_bytes()))
    }
}

/// What the server says, as it is safe to print.
fn text(answer: &[u8]) -> String {
    shown(answer.trim_ascii_end())
}

impl Door for Engine {
    fn open(&self, settings: &Settings, speaker: &Speaker) -> Result<Box<dyn Remote>> {
        let mut target = self.target.clone();
        target.limits = Limits {
            receive: seconds(settings.control_receive_timeout),
            send: seconds(settings.control_send_timeout),
            data: seconds(settings.data_timeout),
            ack: seconds(settings.ack_timeout),
            ..target.limits
        };
        let nothing = Job {
            direction: Direction::Get,
            files: &[],
            settings,
            simulate: false,
            speaker,
        };
        let opened = Session::open(&target, &Progress::of(&nothing, &()));
        let is_named = match &opened {
            Ok(_) => true,
            Err(e) => AFTER_USER.contains(&e.code),
        };
        if let Some((user, _)) = target.login.filter(|_| is_named) {
            speaker.say(&format!(">> USER {} PASS", shown(&user)));
        }
        let session = opened?;
        if !session.text().is_empty() {
            speaker.say(&format!("<< {}", text(session.text())));
        }
        speaker.debug(&format!("Protocol version {}", session.version()));
        Ok(Box::new(session))
    }
}

impl Remote for Session {
    fn is_lost(&mut self) -> bool {
        Session::is_lost(self)
    }

    fn ask(&mut self, request: Request, path: &[u8], settings: &Settings) -> Result<Vec<u8>> {
        let options = settings.options;
        let answer = match request {
            Request::ChangeDirectory => self.change_directory(path, options),
            Request::MakeDirectory => self.make_directory(path, options),
            Request::Remove => self.remove(path, options),
            Request::Stat => self.stat(path, options),
            Request::Space => self.space(path, options),
        };
        Ok(answer?)
    }

    fn umask(&mut self, umask: u32) -> Result<String> {
        Ok(text(&self.set_umask(umask)?))
    }

    fn class(&mut self, class: i32) -> Result<String> {
        Ok(text(&self.set_class(class)?))
    }

    fn list(&mut self, pattern: &[u8], settings: &Settings) -> Result<Vec<Listed>> {
        Ok(Session::list(self, pattern, settings.options)?)
    }

    fn transfer(
        &mut self,
        job: &Job<'_>,
        board: &dyn client::Observer,
        done: &mut dyn FnMut(usize, Result<Moved>),
    ) -> Result<()> {
        let how = how(job);
        let progress = Progress::of(job, board);
        let is_plain = !how.simulate && !how.resume && !how.sha256;
        let shares = self.offer().small && is_plain && job.files.len() > 1;
        let is_small = |place: &usize| shares && may_be_small(job, *place);
        let (small, mut alone): (Vec<usize>, Vec<usize>) = (0..job.files.len()).partition(is_small);
        if !small.is_empty() {
            let mut done = |at: usize, moved: Result<Moved, Error>| {
                progress.done(small[at], moved.as_ref().ok());
                done(small[at], moved.map_err(Failure::from));
            };
            let rest = transfer_small(self, job, &small, &how, &mut done)?;
            alone.extend(rest.into_iter().map(|at| small[at]));
        }
        for place in alone {
            let File { local, remote } = &job.files[place];
            progress.place.set(place);
            let moved = match job.direction {
                Direction::Put => self.put(local, remote, &how, &progress),
                Direction::Get => self.get(remote, local, &how, &progress),
            };
            match moved {
                Err(e) if !is_of_one_file(&e) => return Err(e.into()),
                moved => {
                    progress.done(place, moved.as_ref().ok());
                    done(place, moved.map_err(Failure::from));
                }
            }
        }
        Ok(())
    }

    fn close(self: Box<Self>) {
        Session::close(*self);
    }
}

/// Whether a file may fit into a message; of one that comes nothing is known.
fn may_be_small(job: &Job<'_>, place: usize) -> bool {
    let fits = |size: u64| size <= MAX_SMALL_FILE as u64;
    match job.direction {
        Direction::Put => {
            let found = job.files[place].local.metadata();
            found.is_ok_and(|found| fits(found.len()))
        }
        Direction::Get => true,
    }
}

/// Small files share round trips, which nothing else does; the places of those
/// that turn out to be large.
fn transfer_small(
    session: &mut Session,
    job: &Job<'_>,
    places: &[usize],
    how: &How,
    done: Done<'_>,
) -> Result<Vec<usize>, Error> {
    let files = places.iter().map(|place| &job.files[*place]);
    match job.direction {
        Direction::Put => {
            let files = files.map(|file| (file.local.clone(), file.remote.clone()));
            let put = session.put_small(&files.collect::<Vec<_>>(), how, done);
            put.map(|()| Vec::new())
        }
        Direction::Get => {
            let files = files.map(|file| (file.remote.clone(), file.local.clone()));
            session.get_small(&files.collect::<Vec<_>>(), how, done)
        }
    }
}

/// How the settings want files to be transferred.
fn how(job: &Job<'_>) -> How {
    let settings = job.settings;
    How {
        options: settings.options,
        streams: settings.streams,
        buffer: settings.buffer,
        send_window: settings.send_window,
        receive_window: settings.receive_window,
        simulate: job.simulate,
        resume: settings.resume,
        sha256: settings.sha256,
    }
}

/// Whether other files may fare better on the same connection.
fn is_of_one_file(error: &Error) -> bool {
    matches!(error.fate, Fate::Final | Fate::Again)
}

/// Shows what the engine tells: warnings as lines, bytes as bars.
struct Progress<'a> {
    speaker: &'a Speaker,
    board: &'a dyn client::Observer,
    files: &'a [File],
    /// The file under way.
    place: Cell<usize>,
}

impl<'a> Progress<'a> {
    /// Of a job with so many files.
    fn of(job: &Job<'a>, board: &'a dyn client::Observer) -> Progress<'a> {
        let files = job.files.len() as u64;
        if files > 1 {
            let size = |file: &File| file.local.metadata().map_or(0, |found| found.len());
            let bytes = match job.direction {
                Direction::Put => job.files.iter().map(size).sum(),
                Direction::Get => 0,
            };
            board.notify(&Shown::Planned { files, bytes });
        }
        Progress {
            speaker: job.speaker,
            board,
            files: job.files,
            place: Cell::new(0),
        }
    }

    fn name(&self, place: usize) -> &[u8] {
        self.files.get(place).map_or(b"", |file| &file.remote)
    }

    fn done(&self, place: usize, moved: Option<&Moved>) {
        if let Some(moved) = moved {
            self.board.notify(&Shown::Done {
                file: place,
                name: self.name(place),
                size: moved.bytes,
            });
        }
    }

    fn begun(&self, size: u64, done: u64) {
        let file = self.place.get();
        if self.files.len() == 1 {
            let (files, bytes) = (1, size);
            self.board.notify(&Shown::Planned { files, bytes });
        }
        self.board.notify(&Shown::Begun {
            file,
            name: self.name(file),
            size,
            from: done,
        });
    }
}

impl Observer for Progress<'_> {
    fn notify(&self, event: &Event<'_>) {
        match *event {
            Event::Trying(address) => {
                let text = format!("connect to address {}", address.ip());
                self.speaker.warn(28, &text);
            }
            Event::Warning { code, text } => self.speaker.warn(code, &shown(text.as_bytes())),
            Event::Begun { size, done, .. } => self.begun(size, done),
            Event::Moved(position) => {
                let file = self.place.get();
                self.board.notify(&Shown::At { file, position });
            }
        }
    }
}
