//! What the program needs of a session with a server.

use std::path::PathBuf;

use crate::cli::bbftp::failure::Result;
use crate::cli::bbftp::script::command::{Direction, Request};
use crate::cli::bbftp::settings::Settings;
use crate::cli::bbftp::speaker::Speaker;
use crate::client::Observer;
use crate::client::bbftp::{Listed, Moved};

/// The way to a server.
pub(in crate::cli::bbftp) trait Door {
    /// A session; shows what is said on the way.
    fn open(&self, settings: &Settings, speaker: &Speaker) -> Result<Box<dyn Remote>>;
}

/// A session. Names on the server are bytes.
pub(in crate::cli::bbftp) trait Remote {
    /// Whether the server has ended it.
    fn is_lost(&mut self) -> bool;

    /// Asks with one path.
    fn ask(&mut self, request: Request, path: &[u8], settings: &Settings) -> Result<Vec<u8>>;

    /// Sets the umask.
    fn umask(&mut self, umask: u32) -> Result<String>;

    /// Sets the class of service.
    fn class(&mut self, class: i32) -> Result<String>;

    /// What matches a pattern.
    fn list(&mut self, pattern: &[u8], settings: &Settings) -> Result<Vec<Listed>>;

    /// Transfers files. `done` gets the outcome of each, in any order. After an
    /// error the others have none.
    fn transfer(
        &mut self,
        job: &Job<'_>,
        observer: &dyn Observer,
        done: &mut dyn FnMut(usize, Result<Moved>),
    ) -> Result<()>;

    /// Ends it.
    fn close(self: Box<Self>);
}

/// Files to transfer.
pub(in crate::cli::bbftp) struct Job<'a> {
    pub(in crate::cli::bbftp) direction: Direction,
    pub(in crate::cli::bbftp) files: &'a [File],
    pub(in crate::cli::bbftp) settings: &'a Settings,
    /// Whether nothing is to be written.
    pub(in crate::cli::bbftp) simulate: bool,
    /// Gets what the server says, and warnings.
    pub(in crate::cli::bbftp) speaker: &'a Speaker,
}

/// A file on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli::bbftp) struct File {
    pub(in crate::cli::bbftp) local: PathBuf,
    pub(in crate::cli::bbftp) remote: Vec<u8>,
}
