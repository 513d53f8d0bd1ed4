//! What is done with one file: it is received, a command is run, a line is
//! printed, in this order; the first failure ends it. Never deletes anything.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use crate::cli::failure::{Failure, Result};
use crate::cli::output::OutputOptions;
use crate::cli::output::{Printer, Record, complain};
use crate::cli::place::beneath;
use crate::cli::progress::Bar;
use crate::client::{Access, ClientError, Connection, Kind, Stat};
use crate::hex;
use crate::text::shown;

/// As many numbers are tried for a name that is taken.
const MOST_NUMBERS: u32 = 100_000;

/// What is to be done, and the session beside the one that watches.
pub(super) struct Duty {
    get: Option<PathBuf>,
    exec: Option<String>,
    delete: bool,
    output: OutputOptions,
    beside: Option<Connection>,
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
            beside: None,
        }
    }

    /// Whether files are to be deleted in the end.
    pub(super) fn deletes(&self) -> bool {
        self.delete
    }

    /// Opens another session when one is needed next.
    pub(super) fn forget_session(&mut self) {
        self.beside = None;
    }

    /// The session beside the one that watches.
    pub(super) fn beside(&mut self, access: &Access) -> Result<&mut Connection> {
        let connection = match self.beside.take() {
            Some(connection) => connection,
            None => access.open()?,
        };
        Ok(self.beside.insert(connection))
    }

    /// What tells a changed file; nothing where it would not matter.
    pub(super) fn stamp(
        &mut self,
        access: &Access,
        directory: &str,
        name: &[u8],
    ) -> Result<Option<Stat>> {
        let (true, Ok(name)) = (self.exec.is_some(), std::str::from_utf8(name)) else {
            return Ok(None);
        };
        match self.beside(access)?.stat(&beneath(directory, name)) {
            Err(ClientError::Refused { .. } | ClientError::Odd { .. }) => Ok(None),
            stat => Ok(Some(stat?)),
        }
    }

    /// Does it. Whether all went well; what did not was told, and may be tried
    /// again.
    pub(super) fn perform(
        &mut self,
        access: &Access,
        directory: &str,
        name: &[u8],
    ) -> Result<bool> {
        let path = match (
            std::str::from_utf8(name),
            self.get.is_some() || self.exec.is_some(),
        ) {
            (Ok(name), _) => beneath(directory, name),
            (Err(_), false) => beneath(directory, &shown(name)),
            (Err(_), true) => {
                note(
                    &self.output,
                    &format!("{}: left alone, it is no UTF-8", shown(name)),
                );
                return Ok(false);
            }
        };
        let local = match self.get.clone() {
            None => None,
            Some(into) => match self.receive(access, &path, &into) {
                Ok(local) => Some(local),
                Err(Failure::Client(error)) if is_of_this_file(&error) => {
                    note(
                        &self.output,
                        &format!("{}: {error}", shown(path.as_bytes())),
                    );
                    return Ok(false);
                }
                Err(failure) => return Err(failure),
            },
        };
        if let Some(command) = &self.exec {
            let run = run(command, &path, local.as_deref());
            let run = run.map_err(|e| ClientError::Local {
                path: "sh".into(),
                source: e,
            })?;
            if !run.success() {
                note(
                    &self.output,
                    &format!("{}: the command failed: {run}", shown(path.as_bytes())),
                );
                return Ok(false);
            }
        }
        let local = local.map(|local| local.to_string_lossy().into_owned());
        let text = match &local {
            Some(local) => shown(local.as_bytes()),
            None => shown(path.as_bytes()),
        };
        let local = local.as_deref();
        let record = Record::Arrival {
            path: &path,
            local,
            deleted: self.delete,
        };
        let mut printer = Printer::new(self.output.json);
        printer.show(&record, || text)?;
        printer.flush()?;
        Ok(true)
    }

    /// Receives a file into a directory, under a name that is free there. One
    /// that is there already, byte for byte, is not received again.
    fn receive(&mut self, access: &Access, path: &str, into: &Path) -> Result<PathBuf> {
        let quiet = self.output.quiet;
        let name = path.rsplit('/').next().unwrap_or(path);
        let beside = self.beside(access)?;
        let stat = beside.stat(path)?;
        if stat.kind != Kind::File {
            let source = io::Error::other("no regular file");
            return Err(ClientError::Local {
                path: path.into(),
                source,
            }
            .into());
        }
        for number in 0..MOST_NUMBERS {
            let name = if number == 0 {
                name.to_owned()
            } else {
                format!("{name}.{number}")
            };
            let local = into.join(name);
            let told = |source| ClientError::Local {
                path: local.clone(),
                source,
            };
            match fs::symlink_metadata(&local) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    let bar = Bar::new(quiet, shown(path.as_bytes()), Some(stat.size));
                    let progress = &mut |bytes| bar.set(bytes);
                    match beside.download_new(path, &local, stat.size, progress) {
                        // Somebody was faster.
                        Err(e) if is_taken(&e) => continue,
                        received => received?,
                    }
                    File::open(into)
                        .and_then(|directory| directory.sync_all())
                        .map_err(told)?;
                    return Ok(local);
                }
                Err(e) => return Err(told(e).into()),
                Ok(there) if there.is_file() && there.len() == stat.size => {
                    if sha256(&local).map_err(told)? == beside.sha256(path)? {
                        return Ok(local);
                    }
                }
                Ok(_) => {}
            }
        }
        let source = io::Error::other(format!("{MOST_NUMBERS} files of that name are there"));
        Err(ClientError::Local {
            path: into.join(name),
            source,
        }
        .into())
    }
}

/// Whether a local name is taken.
fn is_taken(error: &ClientError) -> bool {
    let taken = io::ErrorKind::AlreadyExists;
    matches!(error, ClientError::Local { source, .. } if source.kind() == taken)
}

/// Says what is no result, unless nobody wants to know.
pub(super) fn note(output: &OutputOptions, text: &str) {
    if !output.quiet {
        complain!("tf: {}", shown(text.as_bytes()));
    }
}

/// Whether other files may fare better.
fn is_of_this_file(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::Refused { .. }
            | ClientError::Odd { .. }
            | ClientError::Cancelled { .. }
            | ClientError::Mismatch { .. }
            | ClientError::Changed { .. }
            | ClientError::Local { .. }
    )
}

/// Runs a command by sh. Paths reach it in its environment alone, so that no
/// name can become a part of the command.
fn run(command: &str, path: &str, local: Option<&Path>) -> io::Result<std::process::ExitStatus> {
    let (variable, command) = match local {
        Some(_) => ("TF_FILE", command.replace("{}", "\"$TF_FILE\"")),
        None => ("TF_PATH", command.replace("{}", "\"$TF_PATH\"")),
    };
    // No program is to take a name for an option.
    let path = if path.starts_with('-') {
        format!("/{path}")
    } else {
        path.to_owned()
    };
    let mut sh = Command::new("sh");
    sh.args(["-c", &command])
        .stdin(Stdio::null())
        .env("TF_PATH", path)
        .env_remove("TF_FILE");
    if let Some(local) = local {
        let plain = !local.as_os_str().as_encoded_bytes().starts_with(b"-");
        sh.env(
            variable,
            if plain {
                local.to_owned()
            } else {
                Path::new(".").join(local)
            },
        );
    }
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
    Ok(hex::digits(&digest.finalize()))
}
