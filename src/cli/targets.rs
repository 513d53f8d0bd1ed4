//! What `tf cp` and `tf mv` name: sources, and a target that is a new path or
//! a directory.

use super::context::Context;
use super::expand::expand;
use super::failure::{Failure, Result, for_each};
use super::place::{RemoteArg, beneath, last_name};
use crate::client::{Connection, Kind};

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
