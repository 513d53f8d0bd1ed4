//! The commands of `tf`, a file each: arguments, and what is done with them.

mod attributes;
mod balance;
mod cat;
mod change;
mod completions;
mod copy;
mod df;
mod find;
mod lock;
mod ls;
mod ping;
mod raw;
mod secret;
mod servers;
mod sha256;
pub(super) mod shell;
mod stat;
mod transfer;
mod trust;
mod watch;

use clap::Subcommand;

use prelude::{Context, Result};

/// What most commands need.
mod prelude {
    pub(super) use clap::Args;

    pub(super) use crate::cli::complete::Names;
    pub(super) use crate::cli::context::Context;
    pub(super) use crate::cli::expand::{expand, for_each_name, for_each_path, is_root};
    pub(super) use crate::cli::failure::{Exit, Failure, Result, for_each, report_all};
    pub(super) use crate::cli::output::{Printer, Record, complain};
    pub(super) use crate::cli::place::{RemoteArg, beneath};
    pub(super) use crate::text::shown;
}

macro_rules! commands {
    ($($name:ident = $type:path;)*) => {
        /// A command with its arguments.
        #[derive(Subcommand)]
        pub(super) enum Command {
            $($name($type),)*
        }

        impl Command {
            /// Carries it out.
            pub(super) fn run(self, context: &mut Context) -> Result<()> {
                match self {
                    $(Command::$name(command) => command.run(context),)*
                }
            }
        }
    };
}

commands! {
    Ls = ls::Ls;
    Get = transfer::Get;
    Put = transfer::Put;
    Mirror = transfer::Mirror;
    Cat = cat::Cat;
    Find = find::Find;
    Stat = stat::Stat;
    Sha256 = sha256::Sha256;
    Df = df::Df;
    Mkdir = change::Mkdir;
    Rmdir = change::Rmdir;
    Rm = change::Rm;
    Mv = copy::Mv;
    Cp = copy::Cp;
    Touch = change::Touch;
    Chmod = attributes::Chmod;
    Chown = attributes::Chown;
    Lock = lock::Lock;
    Unlock = lock::Unlock;
    Secret = secret::Secret;
    Ping = ping::Ping;
    Where = balance::Where;
    Watch = watch::Watch;
    Raw = raw::Raw;
    Shell = shell::Shell;
    Trust = trust::Trust;
    Servers = servers::Servers;
    Completions = completions::Completions;
}
