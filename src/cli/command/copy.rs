//! `tf cp` and `tf mv`: sources, and a target that is a new path or a
//! directory.

use clap::Args;

use crate::cli::complete::Names;
use crate::cli::context::Context;
use crate::cli::expand::{expand, is_root};
use crate::cli::failure::{Failure, Result, for_each};
use crate::cli::place::{RemoteArg, beneath, last_name};
use crate::client::{ClientError, Connection, Kind};
use crate::tf::status::Status;

/// Copy on the server
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf cp may.pdf archive/\n  tf cp -r site site.old\n  tf cp -f new.conf live.conf"
)]
pub(crate) struct Cp {
    /// Copy directories with all in them, too
    #[arg(short, long)]
    recursive: bool,
    /// Replace a file that is there
    #[arg(short, long)]
    force: bool,
    /// The paths or patterns to copy, and the new path or a directory
    #[arg(required = true, num_args = 2.., add = Names::Remote)]
    paths: Vec<RemoteArg>,
}

impl Cp {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        Targets::of(context, &self.paths)?.for_each(|connection, from, to| {
            match connection.copy(from, to) {
                Err(e) if e.status() == Some(Status::DirectoryCopy) && self.recursive => {
                    Ok(connection.copy_directory(from, to)?)
                }
                Err(e) if e.status() == Some(Status::DirectoryCopy) => {
                    Err(Failure::Usage(format!("{from} is a directory: -r")))
                }
                Err(e) if e.status() == Some(Status::FileExists) && self.force => {
                    replace(connection, from, to)
                }
                other => Ok(other?),
            }
        })
    }
}

/// Replaces a file, but no directory.
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
    /// Replace nothing
    #[arg(short, long)]
    no_clobber: bool,
    /// The old paths or patterns, and the new path or a directory
    #[arg(required = true, num_args = 2.., add = Names::Remote)]
    paths: Vec<RemoteArg>,
}

impl Mv {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        Targets::of(context, &self.paths)?.for_each(|connection, from, to| {
            if is_root(from) {
                return Err(Failure::Usage(
                    "the server's root stays where it is".to_owned(),
                ));
            }
            if self.no_clobber && connection.stat(to).is_ok() {
                let request = format!("mv {from} {to}");
                return Err(ClientError::Refused {
                    request,
                    status: Status::FileExists,
                }
                .into());
            }
            Ok(connection.rename(from, to)?)
        })
    }
}

/// Sources and a target on one server.
pub(super) struct Targets<'a> {
    connection: &'a mut Connection,
    sources: Vec<String>,
    target: String,
    into: bool,
}

impl Targets<'_> {
    /// Takes the last path for the target.
    ///
    /// # Errors
    /// `Usage` for paths on several servers, or several sources without a
    /// directory for them; the server's refusal, or the connection is lost.
    pub(super) fn of<'a>(context: &'a mut Context, paths: &[RemoteArg]) -> Result<Targets<'a>> {
        let Some((target, sources)) = paths.split_last() else {
            return Err(Failure::Usage("no paths".to_owned()));
        };
        let target = context.resolve(target)?;
        let mut names = Vec::new();
        for source in sources {
            if context.server(source)? != target.server {
                let text = "all must be on one server: from one to another, use get and put";
                return Err(Failure::Usage(text.to_owned()));
            }
            names.extend(expand(context, source)?.into_iter().map(|found| found.path));
        }
        let connection = context.connection(&target.server)?;
        let into = match connection.stat(&target.path) {
            Ok(stat) => stat.kind == Kind::Directory,
            Err(e) if e.status().is_some() => false,
            Err(e) => return Err(e.into()),
        };
        if !into && (names.len() > 1 || target.path.ends_with('/')) {
            return Err(Failure::Usage(format!("{} is no directory", target.path)));
        }
        Ok(Targets {
            connection,
            sources: names,
            target: target.path,
            into,
        })
    }

    /// Does the same for each source and its new path, see [`for_each`].
    ///
    /// # Errors
    /// What ended it, or that something failed.
    pub(super) fn for_each(
        self,
        mut act: impl FnMut(&mut Connection, &str, &str) -> Result<()>,
    ) -> Result<()> {
        let Targets {
            connection,
            sources,
            target,
            into,
        } = self;
        for_each(&sources, |source| {
            if into {
                act(connection, source, &beneath(&target, last_name(source)))
            } else {
                act(connection, source, &target)
            }
        })
    }
}
