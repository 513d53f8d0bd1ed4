//! The language of commands, rc files and TURLs: text becomes commands here, and
//! nothing is carried out.

pub(super) mod command;
pub(super) mod rc;
mod turl;
mod words;

use self::turl::Server;
use super::failure::Result;

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Script {
    /// The commands, as they are repeated with their results.
    pub(super) commands: Vec<Vec<u8>>,
    /// The server that TURLs name.
    pub(super) server: Option<Server>,
}

impl Script {
    /// The commands of `-e`. Without a server on the command line they name it.
    pub(super) fn of_line(text: &[u8], has_server: bool) -> Result<Script> {
        Script::new(words::split(text), has_server)
    }

    /// The commands of a file, one a line.
    pub(super) fn of_file(text: &[u8], has_server: bool) -> Result<Script> {
        let lines = text.split(|byte| *byte == b'\n');
        Script::new(lines.map(<[u8]>::to_vec).collect(), has_server)
    }

    fn new(commands: Vec<Vec<u8>>, has_server: bool) -> Result<Script> {
        match has_server {
            true => Ok(Script {
                commands,
                server: None,
            }),
            false => turl::resolve(&commands),
        }
    }
}
