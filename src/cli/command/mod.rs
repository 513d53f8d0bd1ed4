//! The commands of `tf`, a file each: arguments, and what is done with them.

mod change;
mod columns;
mod filters;
mod find;
mod lock;
mod login;
mod ls;
mod ping;
mod secret;
mod server;
mod sha256;
pub(super) mod shell;
mod transfer;
mod trust;
mod watch;

use clap::Subcommand;

use prelude::{Context, Result};

/// What most commands need.
mod prelude {
    pub(super) use clap::Args;

    pub(super) use crate::cli::complete::Names;
    pub(super) use crate::cli::context::{Context, expand, for_each_name, for_each_path, is_root};
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
    Cat = transfer::Cat;
    Find = find::Find;
    Stat = ls::Stat;
    Sha256 = sha256::Sha256;
    Df = server::Df;
    Mkdir = change::Mkdir;
    Rmdir = change::Rmdir;
    Rm = change::Rm;
    Mv = change::Mv;
    Cp = change::Cp;
    Touch = change::Touch;
    Chmod = change::Chmod;
    Chown = change::Chown;
    Lock = lock::Lock;
    Unlock = lock::Unlock;
    Secret = secret::Secret;
    Ping = ping::Ping;
    Where = server::Where;
    Watch = watch::Watch;
    Vault = crate::cli::vault::Vault;
    Raw = server::Raw;
    Shell = shell::Shell;
    Trust = trust::Trust;
    Login = login::Login;
    Servers = server::Servers;
    Completions = shell::Completions;
}
