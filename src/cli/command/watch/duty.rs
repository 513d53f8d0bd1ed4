//! What is done with one file: it is downloaded, a command is run, a line is
//! printed, in this order; the first failure ends it. Never deletes anything.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use crate::cli::failure::{Exit, Failure, Result};
use crate::cli::output::{OutputOptions, Printer, Record, complain};
use crate::cli::place::beneath;
use crate::cli::progress::Bar;
use crate::client::{Access, Class, ClientError, Connection, Kind, Stat};
use crate::text::{hex, shown};

/// A second session that is refused next to the one that watches.
fn needs_two_sessions(error: ClientError) -> Failure {
    let exit = Exit::of(&error);
    if exit != Exit::NotLetIn {
        return error.into();
    }
    let error = error.to_string();
    complain!(
        "tf: watch needs two sessions at once, one to wait and one for the files: {}",
        shown(error.as_bytes())
    );
    Failure::Reported(exit)
}

/// The highest number that is appended to a name.
const MAX_NUMBER: u32 = 100_000;

/// What is to be done, and a second session next to the one that watches.
pub(super) struct Duty {
    get: Option<PathBuf>,
    exec: Option<String>,
    delete: bool,
    output: OutputOptions,
    helper: Option<Connection>,
}

impl Duty {
    pub(super) fn new(
        get: Option<PathBuf>,
        exec: Option<String>,
        delete: bool,
        output: OutputOptions,
    ) -> Duty {
        Duty {
            get,
            exec,
            delete,
            output,
            helper: None,
        }
    }

    /// Whether files are to be deleted in the end.
    pub(super) fn deletes(&self) -> bool {
        self.delete
    }

    /// Closes the second session; the next use opens another.
    pub(super) fn forget_session(&mut self) {
        self.helper = None;
    }

    /// The second session.
    pub(super) fn helper(&mut self, access: &Access) -> Result<&mut Connection> {
        let connection = match self.helper.take() {
            Some(connection) => connection,
            None => access.open().map_err(needs_two_sessions)?,
        };
        Ok(self.helper.insert(connection))
    }

    /// What shows a change of a file; `None` if it does not matter.
    pub(super) fn stamp(
        &mut self,
        access: &Access,
        directory: &str,
        name: &[u8],
    ) -> Result<Option<Stat>> {
        let (true, Ok(name)) = (self.exec.is_some(), std::str::from_utf8(name)) else {
            return Ok(None);
        };
        match self.helper(access)?.stat(&beneath(directory, name)) {
            Err(ClientError::Refused { .. } | ClientError::Odd { .. }) => Ok(None),
            stat => Ok(Some(stat?)),
        }
    }

    /// Does it. Whether all went well; what did not is reported, and may be
    /// tried again.
    pub(super) fn perform(
        &mut self,
        access: &Access,
        directory: &str,
        name: &[u8],
    ) -> Result<bool> {
        let path = match std::str::from_utf8(name) {
            Ok(name) => beneath(directory, name),
            Err(_) if self.get.is_none() && self.exec.is_none() => beneath(directory, &shown(name)),
            Err(_) => return Ok(self.report(name, "skipped, its name is not UTF-8")),
        };
        let local = match self.get.clone() {
            None => None,
            Some(into) => match self.receive(access, &path, &into) {
                Ok(local) => Some(local),
                Err(Failure::Client(error)) if is_of_this_file(&error) => {
                    return Ok(self.report(path.as_bytes(), error));
                }
                Err(failure) => return Err(failure),
            },
        };
        if let Some(command) = &self.exec {
            let run = run(command, &path, local.as_deref()).map_err(Failure::local("sh"))?;
            if !run.success() {
                let what = format!("the command failed: {run}");
                return Ok(self.report(path.as_bytes(), what));
            }
        }
        let local = local.map(|local| local.to_string_lossy().into_owned());
        let (path, local, deleted) = (path.as_str(), local.as_deref(), self.delete);
        let mut printer = Printer::new(self.output.json);
        printer.show(
            &Record::Arrival {
                path,
                local,
                deleted,
            },
            || shown(local.unwrap_or(path).as_bytes()),
        )?;
        printer.flush()?;
        Ok(true)
    }

    /// Reports why a file is left: `false`.
    fn report(&self, name: &[u8], why: impl Display) -> bool {
        self.note(&format!("{}: {why}", shown(name)));
        false
    }

    /// Prints a remark, unless it is unwanted.
    pub(super) fn note(&self, text: &str) {
        if !self.output.quiet {
            complain!("tf: {}", shown(text.as_bytes()));
        }
    }

    /// Downloads a file to a directory, under a free name. An identical file
    /// that exists already is not downloaded again.
    fn receive(&mut self, access: &Access, path: &str, into: &Path) -> Result<PathBuf> {
        let quiet = self.output.quiet;
        let name = path.rsplit('/').next().unwrap_or(path);
        let helper = self.helper(access)?;
        let stat = helper.stat(path)?;
        if stat.kind != Kind::File {
            return Err(Failure::local(path)(io::Error::other("not a regular file")));
        }
        for number in 0..MAX_NUMBER {
            let local = match number {
                0 => into.join(name),
                _ => into.join(format!("{name}.{number}")),
            };
            match fs::symlink_metadata(&local) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    let bar = Bar::new(quiet, shown(path.as_bytes()), stat.size);
                    let progress = &mut |bytes| bar.set(bytes);
                    match helper.download_new(path, &local, stat.size, progress) {
                        // It has been made in between.
                        Err(e) if is_taken(&e) => continue,
                        received => received?,
                    }
                    File::open(into)
                        .and_then(|directory| directory.sync_all())
                        .map_err(Failure::local(&local))?;
                    return Ok(local);
                }
                Err(e) => return Err(Failure::local(&local)(e)),
                Ok(there) if there.is_file() && there.len() == stat.size => {
                    if sha256(&local).map_err(Failure::local(&local))? == helper.sha256(path)? {
                        return Ok(local);
                    }
                }
                Ok(_) => {}
            }
        }
        let source = io::Error::other(format!("{MAX_NUMBER} files of that name exist"));
        Err(Failure::local(into.join(name))(source))
    }
}

/// Whether a local name exists.
fn is_taken(error: &ClientError) -> bool {
    let taken = io::ErrorKind::AlreadyExists;
    matches!(error, ClientError::Local { source, .. } if source.kind() == taken)
}

/// Whether other files may succeed.
fn is_of_this_file(error: &ClientError) -> bool {
    matches!(
        error.class(),
        Class::Refused | Class::Mismatch | Class::Local
    )
}

/// Runs a command by sh. Paths reach it in its environment alone, so that no
/// name can become a part of the command.
fn run(command: &str, path: &str, local: Option<&Path>) -> io::Result<std::process::ExitStatus> {
    let variable = local.map_or("TF_PATH", |_| "TF_FILE");
    let command = command.replace("{}", &format!("\"${variable}\""));
    let mut sh = Command::new("sh");
    sh.args(["-c", &command]).stdin(Stdio::null());
    // No program may take a name for an option.
    match path.starts_with('-') {
        true => sh.env("TF_PATH", format!("/{path}")),
        false => sh.env("TF_PATH", path),
    };
    match local {
        None => sh.env_remove("TF_FILE"),
        Some(local) if local.as_os_str().as_encoded_bytes().starts_with(b"-") => {
            sh.env("TF_FILE", Path::new(".").join(local))
        }
        Some(local) => sh.env("TF_FILE", local),
    };
    sh.status()
}

fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => digest.update(&buffer[..n]),
        }
    }
    Ok(hex(&digest.finalize()))
}
