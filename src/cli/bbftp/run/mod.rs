//! Carrying commands out: tries, pauses, new connections, results.

mod commands;
mod remote;
mod transfers;

use std::time::Duration;

pub(super) use self::remote::{Door, File, Job, Remote};
use super::failure::{Failure, Fate, Result, UNKNOWN_COMMAND};
use super::script::command::Command;
use super::settings::Settings;
use super::speaker::Speaker;
use crate::client::Cancel;

/// The number of what ends the program when no connection can be made.
const TOO_MANY_TRIES: u8 = 33;

/// How often to try, and how.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    /// How often.
    pub(super) tries: u32,
    /// The pause before each further try.
    pub(super) wait: Duration,
    /// Ends pauses and connections.
    pub(super) cancel: Cancel,
}

/// How transfers are shown and done, beside their settings.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Style {
    /// Whether bars may be drawn.
    pub(super) bars: bool,
    /// Whether nothing is to be written.
    pub(super) simulate: bool,
}

/// The session, what it needs again after it was lost, and what has come of the
/// commands.
pub(super) struct Runner<'a> {
    door: &'a dyn Door,
    speaker: &'a Speaker,
    settings: Settings,
    patience: Patience,
    style: Style,
    session: Option<Box<dyn Remote>>,
    /// The directory on the server, once it was changed.
    directory: Option<Vec<u8>>,
    /// The exit status: the number of the last failure.
    code: u8,
}

impl<'a> Runner<'a> {
    pub(super) fn new(
        door: &'a dyn Door,
        speaker: &'a Speaker,
        settings: Settings,
        patience: Patience,
        style: Style,
    ) -> Runner<'a> {
        Runner {
            door,
            speaker,
            settings,
            patience,
            style,
            session: None,
            directory: None,
            code: 0,
        }
    }

    /// Connects, carries all commands out and returns the exit status.
    pub(super) fn run(mut self, commands: &[Vec<u8>]) -> u8 {
        self.speaker.debug("Connecting to server ----------------");
        if let Err(failure) = self.connect() {
            return failure.code;
        }
        self.speaker.debug("Connecting end ---------------------");
        for command in commands {
            match self.treat(command) {
                Ok(is_done) => self.speaker.result(command, is_done),
                Err(end) => return end.code,
            }
        }
        if let Some(session) = self.session.take() {
            session.close();
        }
        self.code
    }

    /// Carries a command out, as often as needed and allowed: whether it is done.
    ///
    /// # Errors
    /// What ends the program, reported already.
    fn treat(&mut self, text: &[u8]) -> Result<bool> {
        let command = match Command::of(text) {
            Ok(command) => command,
            Err(failure) => {
                self.speaker.failed(&failure);
                if failure.code != UNKNOWN_COMMAND {
                    self.code = failure.code;
                }
                return Ok(false);
            }
        };
        for left in (0..self.patience.tries).rev() {
            self.connect()?;
            let Err(failure) = self.perform(&command) else {
                return Ok(true);
            };
            self.note(&failure)?;
            if matches!(failure.fate, Fate::Final | Fate::FinalReconnect) || left == 0 {
                self.code = failure.code;
                return Ok(false);
            }
            self.pause()?;
        }
        Ok(false)
    }

    /// Does what a failure that was reported means for the session.
    fn note(&mut self, failure: &Failure) -> Result<()> {
        if self.patience.cancel.is_cancelled() || failure.fate == Fate::End {
            return Err(failure.clone());
        }
        if matches!(failure.fate, Fate::Reconnect | Fate::FinalReconnect) {
            self.session = None;
        }
        Ok(())
    }

    /// Reports a failure, unless it is that of an interrupt, and returns it.
    fn reported(&self, failure: Failure) -> Failure {
        if !self.patience.cancel.is_cancelled() {
            self.speaker.failed(&failure);
        }
        failure
    }

    /// Waits before another try of a command.
    fn pause(&self) -> Result<()> {
        let seconds = self.patience.wait.as_secs_f64();
        self.speaker
            .say(&format!("Retrying command waiting {seconds} s"));
        self.sleep()
    }

    fn sleep(&self) -> Result<()> {
        let slept = self.patience.cancel.sleep(self.patience.wait);
        slept.map_err(|e| Failure::end(TOO_MANY_TRIES, e.to_string()))
    }

    /// Makes sure that there is a session, set as the last one was.
    fn connect(&mut self) -> Result<()> {
        if let Some(mut session) = self.session.take()
            && !session.is_lost()
        {
            self.session = Some(session);
            return Ok(());
        }
        for left in (0..self.patience.tries).rev() {
            let failure = match self.door.open(&self.settings, self.speaker) {
                Ok(session) => {
                    self.session = Some(session);
                    match self.restore() {
                        Ok(()) => return Ok(()),
                        Err(failure) => failure,
                    }
                }
                Err(failure) => self.reported(failure),
            };
            self.session = None;
            self.note(&failure)?;
            if left > 0 {
                let seconds = self.patience.wait.as_secs_f64();
                self.speaker
                    .warn(22, &format!("Retrying connection waiting {seconds} s"));
                self.sleep()?;
            }
        }
        let tries = self.patience.tries;
        let text = format!("Maximum try on connection reached ({tries}) aborting");
        Err(self.reported(Failure::end(TOO_MANY_TRIES, text)))
    }

    /// Sets umask, class of service and directory of a new session.
    fn restore(&mut self) -> Result<()> {
        if let Some(umask) = self.settings.remote_umask {
            self.umask(umask)?;
        }
        if let Some(class) = self.settings.class {
            self.class(class)?;
        }
        match self.directory.clone() {
            Some(directory) => self.change_directory(&directory),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
