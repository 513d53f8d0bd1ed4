//! `tf cp` and `tf mv`: sources, and a target that is a new path or a
//! directory.

use super::prelude::*;
use crate::cli::place::{Remote, last_name};
use crate::client::{ClientError, Connection, Kind};
use crate::tf::status::Status;

/// Copy on the server
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf cp may.pdf archive/\n  tf cp -r site site.old\n  tf cp -f new.conf live.conf"
)]
pub(crate) struct Cp {
    /// Copy directories and their content, too
    #[arg(short, long)]
    recursive: bool,
    /// Replace an existing file
    #[arg(short, long)]
    force: bool,
    /// The paths or patterns to copy, and the new path or a directory
    #[arg(required = true, num_args = 2.., add = Names::Remote)]
    paths: Vec<RemoteArg>,
}

impl Cp {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        for_each_target(
            context,
            &self.paths,
            |connection, from, to| match connection.copy(from, to) {
                Err(e) if e.status() == Some(Status::DirectoryCopy) && self.recursive => {
                    Ok(connection.copy_directory(from, to)?)
                }
                Err(e) if e.status() == Some(Status::DirectoryCopy) => {
                    Err(Failure::Usage(format!("{from} is a directory: use -r")))
                }
                Err(e) if e.status() == Some(Status::FileExists) && self.force => {
                    replace(connection, from, to)
                }
                other => Ok(other?),
            },
        )
    }
}

/// Replaces a file, never a directory.
fn replace(connection: &mut Connection, from: &str, to: &str) -> Result<()> {
    if connection.stat(to)?.kind == Kind::Directory {
        return Err(Failure::Usage(format!("{to} is a directory")));
    }
    Ok(connection.copy_over(from, to)?)
}

/// Rename, or move into a directory
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf mv may.pdf june.pdf\n  tf mv -n 'incoming/*.pdf' files:reports/"
)]
pub(crate) struct Mv {
    /// Do not replace an existing file
    #[arg(short, long)]
    no_clobber: bool,
    /// The old paths or patterns, and the new path or a directory
    #[arg(required = true, num_args = 2.., add = Names::Remote)]
    paths: Vec<RemoteArg>,
}

impl Mv {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        for_each_target(context, &self.paths, |connection, from, to| {
            if is_root(from) {
                return Err(Failure::usage("the server's root can't be moved"));
            }
            if self.no_clobber && connection.stat(to).is_ok() {
                let request = format!("mv {from} {to}");
                let status = Status::FileExists;
                return Err(ClientError::Refused { request, status }.into());
            }
            Ok(connection.rename(from, to)?)
        })
    }
}

/// Does the same for each source and its new path, see [`for_each`]. The last
/// path is the target.
fn for_each_target(
    context: &mut Context,
    paths: &[RemoteArg],
    mut act: impl FnMut(&mut Connection, &str, &str) -> Result<()>,
) -> Result<()> {
    let Some((target, sources)) = paths.split_last() else {
        return Ok(());
    };
    let otherwise = "all paths must be on one server: between servers use get and put";
    context.common_server(paths, otherwise)?;
    let target = context.resolve(target)?;
    let mut names = Vec::new();
    for source in sources {
        names.append(&mut expand(context, source)?);
    }
    let connection = context.connection(&target.server)?;
    let target = target.path;
    let is_directory = match connection.stat(&target) {
        Err(e) if e.status().is_none() => return Err(e.into()),
        stat => stat.is_ok_and(|stat| stat.kind == Kind::Directory),
    };
    if !is_directory && (names.len() > 1 || target.ends_with('/')) {
        return Err(Failure::usage(format!("{target} is not a directory")));
    }
    for_each(&names, |Remote { path, .. }| match is_directory {
        true => act(connection, path, &beneath(&target, last_name(path))),
        false => act(connection, path, &target),
    })
}
