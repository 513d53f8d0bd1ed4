//! `tfd hub`: what the operator of a backup hub does.

mod setup;

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use nix::unistd::geteuid;

use crate::admin::ConfigFile;
use crate::admin::status::fail;
use crate::config::Config;
use crate::daemon::helpers::auditor;
use crate::hub::book::Settings;
use crate::hub::operator::{self, Question};
use crate::hub::wire::{User, Value};
use crate::session::audit::Record;
use crate::text::{parse_size, parse_span};
use crate::trusted;

#[derive(Subcommand)]
pub(super) enum HubCommand {
    /// Give a configuration a hub: its system user, a certificate, the section [hub]
    ///
    /// What is in the configuration stays. Next to protocols whose clients have no accounts
    /// of their own it needs mode = "multi-user".
    #[command(after_help = "Example:\n  tfd hub setup --name hub.example.org")]
    Setup(setup::HubSetup),
    #[command(flatten)]
    Operate(Operation),
}

/// What is asked of the hub's database.
#[derive(Subcommand)]
pub(super) enum Operation {
    /// Who may log in
    #[command(subcommand)]
    User(UserCommand),
    /// The hub in numbers: users, keepers, files to heal, orders, audits
    ///
    /// "to heal" counts files that lack a copy, or have one at a keeper that leaves; it
    /// is 0 when all is well. "orders" are files that keepers have to remove.
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// All keepers: whether they are online, how much they have, how dependable they are
    ///
    /// A score of 100 is best; below 60 a keeper gets no more copies. "away" keepers are
    /// offline, "gone" ones have been for so long that others get their files, "leaves"
    /// is one whose share is to be smaller than what it has.
    Keepers {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// The files of a user, and who has which copy
    Files {
        /// The name
        #[arg(value_parser = user)]
        user: User,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Have files healed now: those that wait, or all of a keeper that won't come back
    ///
    /// With a keeper, the copies it has count no more, as if it had been away for
    /// gone_after. Should it come back, it is compared with the others.
    #[command(after_help = "Example:\n  tfd hub heal bob")]
    Heal {
        /// A keeper that won't come back
        #[arg(value_parser = user)]
        keeper: Option<User>,
    },
    /// Write a copy of the hub's database to a new file; the hub may serve meanwhile
    ///
    /// It has the login keys of all users: keep it as safe as the hub.
    #[command(after_help = "Example:\n  tfd hub dump /root/hub-$(date +%F).db")]
    Dump {
        /// A file that does not exist yet
        file: PathBuf,
    },
    /// Take such a copy as the hub's database, where there is none; stop tfd first
    ///
    /// Keepers may have more or fewer files than the copy says: they report what they
    /// have, and audits find the rest.
    Restore {
        /// What dump has written
        file: PathBuf,
    },
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
        /// Never let it delete a file, but in a window that you open
        #[arg(long)]
        append_only: bool,
    },
    /// Remove a user that has no file here and keeps none of others
    Remove {
        /// The name
        #[arg(value_parser = user)]
        user: User,
    },
    /// Let a user delete for a while that was added with --append-only
    ///
    /// For "tf forget" and "tf prune" of that user. Open it when the person asks you,
    /// not when the machine does.
    #[command(after_help = "Example:\n  tfd hub user prune-window anna 2h")]
    PruneWindow {
        /// The name
        #[arg(value_parser = user)]
        user: User,
        /// How long: 30m, 2h, 1d; 0s closes it
        #[arg(value_parser = seconds)]
        time: i64,
    },
    /// List all users: whether they have logged in, what they keep and use
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

fn user(text: &str) -> Result<User, &'static str> {
    User::read(text).ok_or("use 1 to 64 of a-z, 0-9, dot, hyphen and underscore")
}

fn size(text: &str) -> Result<u64, &'static str> {
    parse_size(text).ok_or("use bytes, or a number with K, M, G or T")
}

fn seconds(text: &str) -> Result<i64, &'static str> {
    let span = parse_span(text).and_then(|span| i64::try_from(span).ok());
    span.ok_or("use a number with s, m, h or d")
}

/// Runs a command: the exit code of `tfd`.
pub(super) fn run(file: &ConfigFile, command: HubCommand) -> ExitCode {
    let command = match command {
        HubCommand::Setup(setup) => return setup::run(file, &setup),
        HubCommand::Operate(operation) => operation,
    };
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
    let record = record_of(&command);
    let (question, made) = match question(command) {
        Ok(both) => both,
        Err(e) => return fail(e),
    };
    let audit = config.server.audit.as_ref().zip(record);
    let audit = audit.map(|(path, record)| match trusted::open_log(path) {
        Ok(log) => Ok((log, record)),
        Err(e) => Err(format!("server.audit: {}", in_file(path, &e))),
    });
    let audit = match audit.transpose() {
        Ok(audit) => audit,
        Err(e) => return fail(e),
    };
    let answered = operator::ask(&config, &question);
    if !matches!(answered, Ok(true))
        && let Some(made) = made
    {
        // Half a copy is none.
        let _ = std::fs::remove_file(made);
    }
    match answered {
        Ok(true) => match audit.map(|(log, record)| auditor::note(log, &record)) {
            Some(Err(e)) => fail(format!("done, but not in the audit log: {e}")),
            _ => ExitCode::SUCCESS,
        },
        Ok(false) => ExitCode::FAILURE,
        Err(e) => fail(e),
    }
}

/// What the audit log says of a command that changes something.
fn record_of(command: &Operation) -> Option<Record> {
    Some(match command {
        Operation::User(UserCommand::Add { user, .. }) => Record::of("USER-ADD", user.as_str()),
        Operation::User(UserCommand::Remove { user }) => Record::of("USER-REMOVE", user.as_str()),
        Operation::User(UserCommand::PruneWindow { user, time }) => Record {
            other: format!("{time} seconds").into_bytes(),
            ..Record::of("PRUNE-WINDOW", user.as_str())
        },
        Operation::Heal {
            keeper: Some(keeper),
        } => Record::of("GIVE-UP", keeper.as_str()),
        Operation::Restore { file } => Record {
            path: file.as_os_str().as_encoded_bytes().to_vec(),
            ..Record::of("RESTORE", "")
        },
        _ => return None,
    })
}

/// What is asked, and the file that it has made.
fn question(command: Operation) -> Result<(Question, Option<PathBuf>), String> {
    let question = match command {
        Operation::User(command) => user_question(command),
        Operation::Status { json } => Question::Status { as_json: json },
        Operation::Keepers { json } => Question::Holders { as_json: json },
        Operation::Files { user, json } => Question::Files {
            user,
            as_json: json,
        },
        Operation::Heal { keeper } => Question::Heal { holder: keeper },
        Operation::Dump { file: path } => {
            let mut options = File::options();
            let file = options.write(true).create_new(true).mode(0o600).open(&path);
            let file = file.map_err(|e| in_file(&path, &e))?;
            return Ok((Question::Dump { file }, Some(path)));
        }
        Operation::Restore { file: path } => {
            let file = File::open(&path).map_err(|e| in_file(&path, &e))?;
            Question::Restore { file }
        }
    };
    Ok((question, None))
}

fn in_file(path: &Path, e: &std::io::Error) -> String {
    format!("{}: {e}", path.display())
}

fn user_question(command: UserCommand) -> Question {
    match command {
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
        UserCommand::Remove { user } => Question::Remove { user },
        UserCommand::PruneWindow { user, time } => Question::OpenWindow {
            user,
            seconds: time,
        },
        UserCommand::List { json } => Question::List { as_json: json },
    }
}
