//! Each command, once.

use rustix::process::umask;

use super::{Remote, Runner};
use crate::cli::bbftp::failure::{Failure, Result, reason};
use crate::cli::bbftp::script::command::{Command, Direction, Request};
use crate::cli::bbftp::settings::Number;
use crate::client::bbftp::{Kind, Listed};
use crate::text::shown;

/// A directory here can't be changed to.
const NO_LOCAL_DIRECTORY: u8 = 71;

impl Runner<'_> {
    /// Carries a command out once. Its failure is reported.
    pub(super) fn perform(&mut self, command: &Command) -> Result<()> {
        match command {
            Command::Nothing => Ok(()),
            Command::LocalDirectory(path) => self.local_directory(path),
            Command::Request(Request::ChangeDirectory, path) => self.change_directory(path),
            Command::Request(request, path) => self.request(*request, path),
            Command::List(path) => self.list_directory(path),
            Command::One(direction, pair) => self.one(*direction, pair),
            Command::Many(Direction::Put, pair) => self.put_many(pair),
            Command::Many(Direction::Get, pair) => self.get_many(pair),
            Command::Set(number, value, repeated) => self.set(*number, *value, repeated),
            Command::Switch(switch, on, repeated) => {
                self.settings.switch(*switch, *on);
                self.accept(repeated);
                Ok(())
            }
        }
    }

    /// Shows a command that needs no server.
    fn accept(&self, repeated: &str) {
        self.show(repeated);
        self.speaker.say("<< OK");
    }

    /// Shows a command.
    pub(super) fn show(&self, command: &str) {
        self.speaker.say(&format!(">> COMMAND : {command}"));
    }

    /// Does something with the session and reports its failure.
    pub(super) fn with_session<T>(
        &mut self,
        ask: impl FnOnce(&mut dyn Remote, &Self) -> Result<T>,
    ) -> Result<T> {
        let mut session = self.session.take().ok_or_else(Failure::lost)?;
        let asked = ask(session.as_mut(), self);
        self.session = Some(session);
        asked.map_err(|failure| self.reported(failure))
    }

    fn set(&mut self, number: Number, value: i32, repeated: &str) -> Result<()> {
        match number {
            Number::RemoteUmask => self.umask(value.unsigned_abs())?,
            Number::Class => self.class(value)?,
            _ => {
                if number == Number::LocalUmask {
                    umask(value.unsigned_abs().into());
                }
                self.accept(repeated);
            }
        }
        self.settings.set(number, value);
        Ok(())
    }

    /// Sets the server's umask.
    pub(super) fn umask(&mut self, umask: u32) -> Result<()> {
        self.show(&format!("setremoteumask {umask:o}"));
        let answer = self.with_session(|session, _| session.umask(umask))?;
        self.answered(&answer);
        Ok(())
    }

    /// Sets the server's class of service.
    pub(super) fn class(&mut self, class: i32) -> Result<()> {
        self.show(&format!("setremotecos {class}"));
        let answer = self.with_session(|session, _| session.class(class))?;
        self.answered(&answer);
        Ok(())
    }

    fn answered(&self, answer: &str) {
        self.speaker.say(&format!("<< OK : {answer}"));
    }

    fn local_directory(&self, path: &[u8]) -> Result<()> {
        let name = shown(path);
        self.show(&format!("lcd {name}"));
        std::env::set_current_dir(local(path)).map_err(|e| {
            let text = format!("Error changing directory {name} ({})", reason(&e));
            self.reported(Failure::last(NO_LOCAL_DIRECTORY, text))
        })?;
        self.answered(&format!("Current local directory is {name}"));
        Ok(())
    }

    /// Changes the directory on the server, and remembers it for the next session.
    pub(super) fn change_directory(&mut self, path: &[u8]) -> Result<()> {
        self.show(&format!("cd {}", shown(path)));
        let request = Request::ChangeDirectory;
        let answer = self.with_session(|session, it| session.ask(request, path, &it.settings))?;
        self.answered(&format!("Current remote directory is {}", shown(&answer)));
        self.directory = Some(answer);
        Ok(())
    }

    fn request(&mut self, request: Request, path: &[u8]) -> Result<()> {
        let word = request.word();
        self.show(&format!("{word} {}", shown(path)));
        let answer = self.with_session(|session, it| session.ask(request, path, &it.settings))?;
        let answer = shown(answer.trim_ascii_end());
        self.answered(&answer);
        if matches!(request, Request::Stat | Request::Space) {
            self.speaker.statistics(&format!("{word} {answer}"));
        }
        Ok(())
    }

    fn list_directory(&mut self, path: &[u8]) -> Result<()> {
        let name = shown(path);
        self.show(&format!("dir {name} "));
        let entries = self.list(&[path, b"/*"].concat())?;
        self.speaker.statistics(&format!("dir {name}"));
        for entry in entries {
            let name = shown(&entry.path);
            let line = format!("{} {name}", letters(&entry));
            self.speaker.statistics(&line);
        }
        self.speaker.say("<< OK");
        Ok(())
    }
}

/// A path here.
pub(super) fn local(path: &[u8]) -> &std::path::Path {
    use std::os::unix::ffi::OsStrExt;
    std::path::Path::new(std::ffi::OsStr::from_bytes(path))
}

/// The two letters in front of an entry's name.
fn letters(entry: &Listed) -> String {
    let link = if entry.is_link { 'l' } else { ' ' };
    let kind = match entry.kind {
        Some(Kind::File) => 'f',
        Some(Kind::Directory) => 'd',
        Some(Kind::Nothing) => 'u',
        None => ' ',
    };
    format!("{link}{kind}")
}
