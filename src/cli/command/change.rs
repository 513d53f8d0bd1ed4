//! `tf mkdir`, `tf rmdir`, `tf rm` and `tf touch`: a request for each path.

use super::prelude::*;
use crate::client::ClientError;
use crate::tf::status::Status;

/// Make directories
#[derive(Args)]
#[command(after_help = "Example:\n  tf mkdir -p reports/2026/may")]
pub(crate) struct Mkdir {
    /// Make missing parents, too; existing directories are no error
    #[arg(short, long)]
    parents: bool,
    /// The remote directories
    #[arg(required = true, add = Names::Remote)]
    paths: Vec<RemoteArg>,
}

impl Mkdir {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        for_each_name(context, &self.paths, |connection, path| {
            if !self.parents {
                return Ok(connection.make_directory(path)?);
            }
            for (at, _) in path.match_indices('/').chain([(path.len(), "")]) {
                match connection.make_directory(&path[..at]) {
                    Err(e) if e.status() == Some(Status::DirectoryExists) => {}
                    other => other?,
                }
            }
            Ok(())
        })
    }
}

/// Remove empty directories
#[derive(Args)]
#[command(
    after_help = "Example:\n  tf rmdir reports/2019\n\nTo remove them with their content: tf rm -r"
)]
pub(crate) struct Rmdir {
    /// Remote directories or patterns
    #[arg(required = true, add = Names::Remote)]
    paths: Vec<RemoteArg>,
}

impl Rmdir {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        for_each_path(context, &self.paths, |connection, path| {
            if is_root(path) {
                return Err(Failure::usage("the server's root can't be removed"));
            }
            // The server's own command removes the content, too.
            if !connection.list(path)?.is_empty() {
                let request = format!("rmdir {path}");
                let status = Status::DirectoryRemains;
                return Err(ClientError::Refused { request, status }.into());
            }
            Ok(connection.remove_directory(path)?)
        })
    }
}

/// Delete files
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf rm reports/may.pdf\n  tf rm -r reports/2019\n  tf rm -f 'tmp/*.part'"
)]
pub(crate) struct Rm {
    /// Remove directories and their content, too
    #[arg(short, long)]
    recursive: bool,
    /// Ignore missing files
    #[arg(short, long)]
    force: bool,
    /// Remote paths or patterns
    #[arg(required = true, add = Names::Remote)]
    paths: Vec<RemoteArg>,
}

impl Rm {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        for_each_path(context, &self.paths, |connection, path| {
            if is_root(path) {
                let text =
                    "that would empty the server's root: name its entries, for example by '*'";
                return Err(Failure::usage(text));
            }
            match connection.delete(path) {
                Err(e) if self.recursive && e.status() == Some(Status::IsDirectory) => {
                    Ok(connection.remove_directory(path)?)
                }
                Err(e) if self.force && e.status() == Some(Status::FileMissing) => Ok(()),
                other => Ok(other?),
            }
        })
    }
}

/// Make empty files, or set the times of existing ones to now
#[derive(Args)]
#[command(after_help = "Example:\n  tf touch reports/done")]
pub(crate) struct Touch {
    /// Make no files
    #[arg(short = 'c', long)]
    no_create: bool,
    /// The remote paths
    #[arg(required = true, add = Names::Remote)]
    paths: Vec<RemoteArg>,
}

impl Touch {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        for_each_name(context, &self.paths, |connection, path| {
            if self.no_create {
                return match connection.update_times(path) {
                    Err(e) if e.status() == Some(Status::FileMissing) => Ok(()),
                    other => Ok(other?),
                };
            }
            match connection.touch(path) {
                Err(e) if e.status() == Some(Status::FileExists) => {
                    Ok(connection.update_times(path)?)
                }
                other => Ok(other?),
            }
        })
    }
}
