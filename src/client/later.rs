//! Commands of version 2.5 where they save round trips or do more than those of
//! 2.4.1. A server says once in a session that it lacks them; from then on, and at
//! once in their place, the older commands do the work.

use std::net::Shutdown;

use super::commands::Stat;
use super::connect::{Connection, ok_data, refusal};
use super::error::{ClientError, Result};
use super::listing::{Entry, Kind, LONGEST_LINE, endless};
use crate::tf::status::Status;

/// The reply of a server that lacks a command.
pub(super) const UNKNOWN: &[u8] = b"UNKNOWN";

/// What LSV2DOWN says of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// It is a directory, and all its entries were passed on.
    All,
    /// None was: LS says why, unless this is what the path leads to.
    Nothing(Option<Stat>),
}

/// Behind the last frame of LSV2DOWN: the list is whole.
const WHOLE: i32 = -10;
/// The list broke off, or the path is not a readable directory.
const BROKEN_OFF: i32 = -11;

impl Connection {
    /// Makes a directory with all that are missing on the way to it; one that
    /// exists is fine (version 2.5, "RMKDIR"). Takes one round trip.
    ///
    /// # Errors
    /// The server's refusal, 12 if a file has the path, or the connection is lost.
    pub fn make_directories(&mut self, path: &str) -> Result<()> {
        let stat = stat_request(path);
        let chain = format!("RMKDIR {path}");
        if self.may_have("RMKDIR") {
            let replies = self.ask_all(&[&chain, &stat])?;
            if self.has(&replies[0], "RMKDIR") {
                ok_data(&chain, &replies[0])?;
                return is_directory(&chain, &stat, &replies[1]);
            }
        }
        let levels = path.match_indices('/').map(|(at, _)| at);
        let levels = levels.chain([path.len()]).filter(|end| *end > 0);
        let mut requests: Vec<_> = levels
            .map(|end| format!("MKDIR {}", &path[..end]))
            .collect();
        requests.push(stat);
        let replies = self.ask_all(&requests)?;
        let answers = || requests.iter().zip(&replies);
        let Some((stat, found)) = answers().next_back() else {
            return Ok(());
        };
        let made = is_directory(&chain, stat, found);
        // A level that exists may be refused; what counts is that the last is there.
        let refused = answers().find_map(|(request, reply)| {
            let e = ok_data(request, reply).err()?;
            (e.status() != Some(Status::DirectoryExists)).then_some(e)
        });
        made.map_err(|e| match e.status() {
            Some(Status::FileMissing) => refused.unwrap_or(e),
            _ => e,
        })
    }

    /// Makes an empty file whose name is free: of several clients that try at
    /// once one succeeds (version 2.5, "TASFS"). TOUCH of a server that lacks it
    /// may answer `OK` to each of them.
    ///
    /// # Errors
    /// 12 if the name is taken, any other refusal, or the connection is lost.
    pub fn make_new_file(&mut self, path: &str) -> Result<()> {
        let stat = format!("FSTAT {path}");
        let mut request = format!("TASFS {path}");
        let mut replies = Vec::new();
        if self.may_have("TASFS") {
            replies = self.ask_all(&[&request, &stat])?;
        }
        if replies.is_empty() || !self.has(&replies[0], "TASFS") {
            request = format!("TOUCH {path}");
            replies = self.ask_all(&[&request, &stat])?;
        }
        let found = ok_data(&stat, &replies[1]);
        match ok_data(&request, &replies[0]) {
            // Some servers answer OK without having made it.
            Ok(_) => found.map(drop),
            Err(e) if e.status() == Some(Status::TestAndSet) && found.is_ok() => {
                let status = Status::FileExists;
                Err(ClientError::Refused { request, status })
            }
            Err(e) => Err(e),
        }
    }

    /// Passes on the entries of a directory by LSV2DOWN, which takes one round
    /// trip and says only which are directories: the others are of kind `Other`.
    /// Names may contain newlines.
    ///
    /// # Errors
    /// The error of `take`, which costs the connection, or that is lost.
    pub fn list_names(
        &mut self,
        path: &str,
        take: &mut dyn FnMut(Entry) -> Result<()>,
    ) -> Result<Listed> {
        if !self.may_have("LSV2DOWN") {
            return Ok(Listed::Nothing(None));
        }
        let request = format!("LSV2DOWN {path}");
        let stat = stat_request(path);
        self.wire().write_message_later(request.as_bytes());
        let reply = self.request(stat.as_bytes())?;
        let is_listed = self.has(&reply, "LSV2DOWN")
            && ok_data(&request, &reply).is_ok()
            && self.take_names(&request, take).inspect_err(|_| {
                // The list can't be broken off.
                let _ = self.socket().shutdown(Shutdown::Both);
            })?;
        let mut reply = Vec::new();
        self.wire().read_message(&mut reply)?;
        Ok(match is_listed {
            true => Listed::All,
            false => Listed::Nothing(ok_data(&stat, &reply).ok().and_then(Stat::parse)),
        })
    }

    fn take_names(
        &mut self,
        request: &str,
        take: &mut dyn FnMut(Entry) -> Result<()>,
    ) -> Result<bool> {
        let (mut line, mut count) = (Vec::new(), 0_u64);
        loop {
            match self.wire().read_i32()? {
                WHOLE => return Ok(true),
                BROKEN_OFF if count == 0 => return Ok(false),
                length => {
                    let length = usize::try_from(length).ok().filter(|n| *n <= LONGEST_LINE);
                    line.resize(length.ok_or_else(|| endless(request.as_bytes()))?, 0);
                    self.wire().read_raw(&mut line)?;
                    take(entry_of(&line).ok_or_else(|| refusal(request, &line))?)?;
                    count += 1;
                }
            }
        }
    }

    /// Whether the server has not said yet that it lacks a command.
    fn may_have(&self, word: &str) -> bool {
        !self.lacks.contains(&word)
    }

    /// Whether a reply shows that the server has the command. If not, it is not
    /// asked for one again that only saves time. TASFS does more, and costs no
    /// round trip that TOUCH and FSTAT behind it did not.
    fn has(&mut self, reply: &[u8], word: &'static str) -> bool {
        let has = reply != UNKNOWN;
        if !has {
            self.lacks.extend(["LSV2DOWN", "RMKDIR", word]);
        }
        has
    }
}

/// FSTAT takes no empty path.
fn stat_request(path: &str) -> String {
    format!("FSTAT {}", if path.is_empty() { "/" } else { path })
}

/// Reads a path from the root, with `/` behind a directory's, and a newline.
fn entry_of(line: &[u8]) -> Option<Entry> {
    let path = line.strip_suffix(b"\n")?;
    let (path, kind) = match path.strip_suffix(b"/") {
        Some(path) => (path, Kind::Directory),
        None => (path, Kind::Other),
    };
    let name = path.rsplit(|c| *c == b'/').next()?;
    let path = name.to_vec();
    (!path.is_empty()).then_some(Entry { kind, path })
}

/// Checks that the reply to FSTAT is about a directory.
fn is_directory(made: &str, stat: &str, reply: &[u8]) -> Result<()> {
    let data = ok_data(stat, reply)?;
    match Stat::parse(data).ok_or_else(|| refusal(stat, data))?.kind {
        Kind::Directory => Ok(()),
        _ => Err(ClientError::Refused {
            request: made.to_owned(),
            status: Status::FileExists,
        }),
    }
}
