//! The commands of `tf`, a file each: arguments, and what is done with them.

mod cat;
mod completions;
mod get;
mod ls;
mod mirror;
mod mkdir;
mod mv;
mod put;
mod rm;
mod sha256;
mod stat;

use clap::Subcommand;

use super::context::Context;
use super::failure::Result;

/// A command with its arguments.
#[derive(Subcommand)]
pub(super) enum Command {
    Ls(ls::Ls),
    Get(get::Get),
    Put(put::Put),
    Mirror(mirror::Mirror),
    Rm(rm::Rm),
    Mkdir(mkdir::Mkdir),
    Mv(mv::Mv),
    Stat(stat::Stat),
    Sha256(sha256::Sha256),
    Cat(cat::Cat),
    Completions(completions::Completions),
}

impl Command {
    /// Carries it out.
    ///
    /// # Errors
    /// The server's refusal, a local failure, or the connection is lost.
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        match self {
            Command::Ls(ls) => ls.run(context),
            Command::Get(get) => get.run(context),
            Command::Put(put) => put.run(context),
            Command::Mirror(mirror) => mirror.run(context),
            Command::Rm(rm) => rm.run(context),
            Command::Mkdir(mkdir) => mkdir.run(context),
            Command::Mv(mv) => mv.run(context),
            Command::Stat(stat) => stat.run(context),
            Command::Sha256(sha256) => sha256.run(context),
            Command::Cat(cat) => cat.run(context),
            Command::Completions(completions) => {
                completions.print();
                Ok(())
            }
        }
    }
}
