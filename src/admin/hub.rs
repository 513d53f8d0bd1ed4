//! `tfd hub`: what the operator of a backup hub does.

use std::process::ExitCode;

use clap::Subcommand;
use nix::unistd::geteuid;

use crate::admin::ConfigFile;
use crate::admin::status::fail;
use crate::config::Config;
use crate::hub::book::Settings;
use crate::hub::operator::{self, Question};
use crate::hub::wire::{User, Value};
use crate::text::parse_size;

#[derive(Subcommand)]
pub(super) enum HubCommand {
    /// Who may log in
    #[command(subcommand)]
    User(UserCommand),
}

#[derive(Subcommand)]
pub(super) enum UserCommand {
    /// Let a user in: prints a code for the first login, good for 7 days
    ///
    /// Give the code to that person and to nobody else. The same again prints another
    /// one, until the user has logged in.
    #[command(after_help = "Example:\n  tfd hub user add anna --quota 200G")]
    Add {
        /// The name: a-z, 0-9, dots, hyphens and underscores
        #[arg(value_parser = user)]
        user: User,
        /// The most bytes it may have stored
        #[arg(long, value_name = "BYTES", value_parser = size)]
        quota: Option<u64>,
        /// The user with whom it is one person, whose copies go to other people
        #[arg(long, value_name = "USER", value_parser = user)]
        pool: Option<User>,
        /// Never let it delete a file
        #[arg(long)]
        append_only: bool,
    },
    /// List all users: whether they have logged in, what they keep and use
    List,
}

fn user(text: &str) -> Result<User, &'static str> {
    User::read(text).ok_or("use 1 to 64 of a-z, 0-9, dot, hyphen and underscore")
}

fn size(text: &str) -> Result<u64, &'static str> {
    parse_size(text).ok_or("use bytes, or a number with K, M, G or T")
}

/// Runs a command: the exit code of `tfd`.
pub(super) fn run(file: &ConfigFile, command: HubCommand) -> ExitCode {
    let config = match Config::load(&file.config) {
        Ok(config) => config,
        Err(problems) => {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            return fail(problems.join("\ntfd: "));
        }
    };
    if !geteuid().is_root() {
        return fail("only root may do this: use sudo");
    }
    let HubCommand::User(command) = command;
    let question = match command {
        UserCommand::Add {
            user,
            quota,
            pool,
            append_only,
        } => Question::Add {
            user,
            settings: Settings {
                quota,
                pool,
                is_append_only: append_only,
            },
        },
        UserCommand::List => Question::List,
    };
    match operator::ask(&config, &question) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => fail(e),
    }
}
