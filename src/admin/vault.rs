//! `tfd vault`: what the operator of a vault does.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use nix::unistd::geteuid;
use rustix::fs::{Mode, OFlags};

use crate::admin::ConfigFile;
use crate::admin::status::{self, fail};
use crate::config::Config;
use crate::daemon::helpers::control::request::{Request, Whom};
use crate::sandbox::Sandbox;
use crate::sys::file::is_nobody_writing;
use crate::vault::operator::{self, Question};

/// How long a ban lasts that names no end, in seconds: for good.
const FOR_GOOD: i64 = 100 * 365 * 86_400;

#[derive(Subcommand)]
pub(super) enum VaultCommand {
    /// List the codes that people wait for: user, kind, code, end
    ///
    /// Give a code to the person whose account it is, and to nobody else.
    Codes {
        /// As JSON, see tfd(8)
        #[arg(long)]
        json: bool,
    },
    /// List all accounts
    Accounts {
        /// As JSON, see tfd(8)
        #[arg(long)]
        json: bool,
    },
    /// List what has happened to an account, or to all: logins, new devices, passwords
    Logs {
        /// The account (left out: all)
        user: Option<String>,
        /// As JSON, see tfd(8)
        #[arg(long)]
        json: bool,
    },
    /// Print the entries of an account as JSON, encrypted as its clients sent them
    Export {
        /// The account
        user: String,
    },
    /// Take over accounts, devices and entries of an original server
    ///
    /// Stop that server first. Its users log in here as before; what is not taken over
    /// is reported. What is here already stays as it is.
    Import {
        /// The server's database
        #[arg(value_name = "DATA.DB")]
        file: PathBuf,
        /// As JSON, see tfd(8)
        #[arg(long)]
        json: bool,
    },
    /// Refuse logins of an account, and end its sessions
    #[command(after_help = "Examples:\n  tfd vault ban ann --for 1h\n  tfd vault ban ann --for 0s")]
    Ban {
        /// The account
        user: String,
        /// For how long, in s, m, h or d; 0s lets the account in again (left out: for good)
        #[arg(long = "for", value_name = "TIME", value_parser = seconds)]
        span: Option<i64>,
    },
    /// End the sessions of an account
    Kick {
        /// The account
        user: String,
    },
}

/// Seconds of a text such as `90s`, `5m`, `1h` or `7d`.
fn seconds(text: &str) -> Result<i64, &'static str> {
    let unit = |unit: char| match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3600),
        'd' => Some(86_400),
        _ => None,
    };
    let last = text.chars().last().and_then(unit);
    let number = text.get(..text.len().saturating_sub(1));
    let number = number.and_then(|number| number.parse::<u32>().ok());
    last.zip(number)
        .map(|(unit, number)| unit * i64::from(number))
        .ok_or("use a number with s, m, h or d, such as 1h")
}

/// Runs a command: the exit code of `tfd`.
pub(super) fn run(file: &ConfigFile, command: VaultCommand) -> ExitCode {
    let config = match Config::load(&file.config) {
        Ok(config) => config,
        Err(problems) => {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            return fail(problems.join("\ntfd: "));
        }
    };
    let question = match command {
        VaultCommand::Codes { json } => Question::Codes { as_json: json },
        VaultCommand::Accounts { json } => Question::Accounts { as_json: json },
        VaultCommand::Logs { user, json } => Question::Logs {
            user,
            as_json: json,
        },
        VaultCommand::Export { user } => Question::Export { user },
        VaultCommand::Import { file, json } => match import(&config, &file, json) {
            Ok(question) => question,
            Err(e) => return fail(format!("{}: {e}", file.display())),
        },
        VaultCommand::Ban { user, span } => {
            let seconds = span.unwrap_or(FOR_GOOD);
            let banned = ask(
                &config,
                &Question::Ban {
                    user: user.clone(),
                    seconds,
                },
            );
            if banned == ExitCode::SUCCESS && seconds > 0 {
                end_sessions(&config, &user);
            }
            return banned;
        }
        VaultCommand::Kick { user } => {
            let Some(control) = &config.server.control else {
                return fail("server.control: there is no control socket");
            };
            return status::ask(control, &Request::Kick(Whom::User(user)));
        }
    };
    ask(&config, &question)
}

fn import(config: &Config, file: &Path, as_json: bool) -> Result<Question, String> {
    let sandbox = match config.server.sandbox {
        true => Sandbox::new().map_err(|e| format!("sandbox: {e}"))?,
        false => Sandbox::off(),
    };
    Ok(Question::Import {
        file: open_database(file)?,
        as_json,
        sandbox,
    })
}

/// Opens a database that no other process has open to write, and that was closed as
/// it should be.
fn open_database(path: &Path) -> Result<File, String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty());
    let file = File::from(file.map_err(|e| e.to_string())?);
    if !file.metadata().map_err(|e| e.to_string())?.is_file() {
        return Err("not a file".to_owned());
    }
    for end in ["-journal", "-wal"] {
        let mut beside = path.as_os_str().to_owned();
        beside.push(end);
        let beside = std::fs::metadata(&beside);
        if beside.is_ok_and(|beside| beside.len() > 0) {
            return Err(format!(
                "in use, or not closed: {end} of it has content: stop the server that uses \
                 it, or open it with sqlite3 once"
            ));
        }
    }
    // A file system without leases can't say.
    match is_nobody_writing(file.as_fd()) {
        Ok(false) => Err("in use: stop the server that writes it".to_owned()),
        Ok(true) | Err(_) => Ok(file),
    }
}

fn ask(config: &Config, question: &Question) -> ExitCode {
    let Some(vault) = &config.vault else {
        return fail(format!("{}: has no [vault]", config.path.display()));
    };
    if !geteuid().is_root() {
        return fail("only root may do this: use sudo");
    }
    match operator::ask(vault, question) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => fail(format!("{e} (was the vault ever started?)")),
    }
}

/// Ends what runs of an account that was banned; a tfd that does not run has
/// nothing to end.
fn end_sessions(config: &Config, user: &str) {
    let control: Option<&Path> = config.server.control.as_deref();
    if let Some(control) = control.filter(|control| control.exists()) {
        status::kick_quietly(control, user);
    }
}
