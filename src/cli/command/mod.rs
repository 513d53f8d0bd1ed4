//! The commands of `tf`, a file each: arguments, and what is done with them.

mod balance;
mod cat;
mod chmod;
mod chown;
mod completions;
mod cp;
mod df;
mod find;
mod get;
mod lock;
mod ls;
mod mirror;
mod mkdir;
mod mv;
mod ping;
mod put;
mod raw;
mod rm;
mod rmdir;
mod secret;
mod servers;
mod sha256;
pub(super) mod shell;
mod stat;
mod touch;
mod tree;
mod trust;
mod watch;

use clap::Subcommand;

use super::context::Context;
use super::failure::Result;

macro_rules! commands {
    ($($name:ident = $type:path;)*) => {
        /// A command with its arguments.
        #[derive(Subcommand)]
        pub(super) enum Command {
            $($name($type),)*
        }

        impl Command {
            /// Carries it out.
            ///
            /// # Errors
            /// The server's refusal, a local failure, or the connection is
            /// lost.
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
    Get = get::Get;
    Put = put::Put;
    Mirror = mirror::Mirror;
    Cat = cat::Cat;
    Find = find::Find;
    Stat = stat::Stat;
    Sha256 = sha256::Sha256;
    Df = df::Df;
    Mkdir = mkdir::Mkdir;
    Rmdir = rmdir::Rmdir;
    Rm = rm::Rm;
    Mv = mv::Mv;
    Cp = cp::Cp;
    Touch = touch::Touch;
    Chmod = chmod::Chmod;
    Chown = chown::Chown;
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
