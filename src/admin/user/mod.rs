//! `tfd user`: changes the users file.

mod set;
mod totp;

use std::fs;
use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::civil::Date;
use zeroize::Zeroizing;

use crate::admin::status::{fail, free_elsewhere, say};
use crate::admin::{ConfigFile, blocked};
use crate::config::{self, Config};
use crate::text::columns;
use crate::users::account::{Account, NO_PASSWORD, Options, check_name};
use crate::users::file::{Edit, read};
use crate::users::throttle::{FOR_GOOD, Target};
use crate::users::{Identity, hash};

// Which users file. No doc comment: clap would show it.
#[derive(Args)]
pub(super) struct UsersFile {
    /// The users file [default: the one named in the configuration]
    #[arg(long, value_name = "FILE", global = true)]
    users: Option<PathBuf>,
    #[command(flatten)]
    file: ConfigFile,
}

// What to do with it.
#[derive(Subcommand)]
pub(super) enum UserCommand {
    /// Add an account; asks for its password
    #[command(after_help = "Examples:\n  tfd user add ann\n  \
        tfd user add backup --system-user backup --home backups --options max=4,from=192.0.2.0/24")]
    Add(Addition),
    /// Set the password of an account
    Passwd {
        /// The account
        name: String,
        /// Read the password from standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// Change fields of an account; those that are not named stay
    #[command(
        after_help = "Examples:\n  tfd user set ann --option max=4 --remove-option rate\n  \
        tfd user set ann --home projects --expiry 2027-12-31"
    )]
    Set(set::Changes),
    /// Give an account one-time codes, as a second factor: prints a QR code for an app
    ///
    /// The codes count once one is confirmed. Clients append the code to the password;
    /// tf asks for it.
    #[command(after_help = "Examples:\n  tfd user totp ann\n  tfd user totp ann --confirm 123456")]
    Totp(totp::Totp),
    /// Lock an account at once: nobody can log in
    Lock {
        /// The account
        name: String,
    },
    /// Unlock an account, and end its blocks after failed logins
    Unlock {
        /// The account
        name: String,
    },
    /// Delete an account; its files stay
    Del {
        /// The account
        name: String,
    },
    /// Show all accounts
    List,
    /// Add the accounts of the public C server's user file, hashed
    #[command(after_help = "Example:\n  tfd user import /etc/tfproto.users")]
    Import {
        /// The old file: a name, a space and the password in clear on each line
        #[arg(value_name = "OLD")]
        old: PathBuf,
        /// Import an account of root, too
        #[arg(long)]
        allow_root: bool,
    },
}

// The account that `tfd user add` makes.
#[derive(Args)]
pub(super) struct Addition {
    /// The name to log in with
    name: String,
    /// The system user its sessions run as [default: the one of the same name]
    #[arg(long, value_name = "USER")]
    system_user: Option<String>,
    /// Its directory beneath the root [default: the root]
    #[arg(
        long,
        value_name = "DIR",
        default_value = "",
        hide_default_value = true
    )]
    home: String,
    /// Comma-separated: read-only or append-only, max=SESSIONS, rate=BYTES,
    /// quota=BYTES, from=NETWORK, vault
    #[arg(
        long,
        value_name = "LIST",
        default_value = "",
        hide_default_value = true
    )]
    options: String,
    /// The last day to log in, in UTC, such as 2027-12-31
    #[arg(
        long,
        value_name = "DAY",
        default_value = "",
        hide_default_value = true
    )]
    expiry: String,
    /// Let its sessions run as root
    #[arg(long)]
    allow_root: bool,
    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
    /// Keep no password here: PAM checks it (auth = "pam"), or certificates log in
    #[arg(long, conflicts_with = "password_stdin")]
    no_password: bool,
}

/// Runs `tfd user`: prints a line or a table to standard output, or problems to
/// standard error.
pub(super) fn run(file: UsersFile, command: UserCommand) -> ExitCode {
    let unlocked = match &command {
        UserCommand::Unlock { name } => Some(Target::Account(name.clone())),
        _ => None,
    };
    let control = unlocked.as_ref().and_then(|_| file.control_if_shared());
    match file.path().and_then(|file| command.run(&file)) {
        Ok(text) => {
            let freed = control
                .zip(unlocked)
                .map(|(at, who)| free_elsewhere(&at, who));
            if let Some(Err(e)) = freed {
                eprintln!("tfd: other servers did not hear of it: {e}");
            }
            say(&format!("{text}\n"))
        }
        Err(text) => fail(text),
    }
}

impl UsersFile {
    /// The file that is named, or that the configuration names.
    pub(super) fn path(self) -> Result<PathBuf, String> {
        let named = self.users.map(Ok);
        named.unwrap_or_else(|| config::users_file(&self.file.config))
    }

    /// The control socket of a tfd that shares its state with others, if it does.
    pub(super) fn control_if_shared(&self) -> Option<PathBuf> {
        let config = Config::load(&self.file.config).ok()?;
        config.server.shared_state?;
        config.server.control
    }

    /// What the file of blocked logins is next to.
    pub(super) fn blocked_beside(self) -> Result<PathBuf, String> {
        let named = self.users.map(Ok);
        named.unwrap_or_else(|| config::blocked_beside(&self.file.config))
    }
}

impl UserCommand {
    fn run(self, file: &Path) -> Result<String, String> {
        match self {
            UserCommand::Add(addition) => add(file, &addition),
            UserCommand::Passwd {
                name,
                password_stdin,
            } => set_password(file, &name, password_stdin),
            UserCommand::Set(changes) => set::run(file, &changes),
            UserCommand::Totp(totp) => totp::run(file, &totp),
            UserCommand::Lock { name } => set_locked(file, &name, true),
            UserCommand::Unlock { name } => set_locked(file, &name, false),
            UserCommand::Del { name } => delete(file, &name),
            UserCommand::List => list(file),
            UserCommand::Import { old, allow_root } => import(file, &old, allow_root),
        }
    }
}

/// Adds an account.
fn add(file: &Path, addition: &Addition) -> Result<String, String> {
    let name = addition.name.as_str();
    check_name(name)?;
    let system_user = addition.system_user.as_deref().unwrap_or(name);
    check_system_user(system_user, addition.allow_root)?;
    let options: Options = addition.options.parse()?;
    let expiry = read_day(&addition.expiry)?;
    if exists(&Edit::begin(file)?, name)? {
        return Err(format!(
            "{name} exists: change its password with tfd user passwd"
        ));
    }
    let hash = match addition.no_password {
        true => NO_PASSWORD.to_owned(),
        false => hash::make(&ask_password(name, addition.password_stdin)?)?,
    };
    let mut edit = Edit::begin(file)?;
    if exists(&edit, name)? {
        return Err(format!("{name} was just added by somebody else"));
    }
    let account = Account {
        name: name.to_owned(),
        hash: Zeroizing::new(hash),
        totp: None,
        next_totp: None,
        locked: false,
        system_user: system_user.to_owned(),
        home: addition.home.clone(),
        options,
        expiry,
    };
    check_line(&account)?;
    edit.put(&account);
    edit.commit()?;
    Ok(format!("{name} added: its sessions run as {system_user}"))
}

/// Checks that the line is read as it is written.
fn check_line(account: &Account) -> Result<(), String> {
    let fields = [&account.system_user, &account.home];
    let name = &account.name;
    if fields.iter().any(|field| field.contains(':')) {
        return Err(format!(
            "{name}: a field contains a colon, which would end it"
        ));
    }
    match account.to_string().parse::<Account>()? == *account {
        true => Ok(()),
        false => Err(format!("{name}: a field cannot be written")),
    }
}

/// The last day of an account.
fn read_day(text: &str) -> Result<Option<Date>, String> {
    match text {
        "" | "never" => Ok(None),
        day => {
            let wrong = |_| format!("\"{day}\" is not a day: write 2027-12-31");
            day.parse().map(Some).map_err(wrong)
        }
    }
}

/// The name of an account, if there is one of this name.
pub(super) fn existing(file: &Path, name: &str) -> Result<String, String> {
    find(&Edit::begin(file)?, name).map(|account| account.name)
}

/// Sets the password of an account; a locked one stays locked.
fn set_password(file: &Path, name: &str, from_stdin: bool) -> Result<String, String> {
    find(&Edit::begin(file)?, name)?;
    let hash = hash::make(&ask_password(name, from_stdin)?)?;
    change(file, name, |account| account.hash = Zeroizing::new(hash))?;
    Ok(format!("{name}: password set"))
}

/// Locks an account, or unlocks it, at once: also where a mistake elsewhere keeps tfd
/// from reading the file.
pub(super) fn set_locked(file: &Path, name: &str, locked: bool) -> Result<String, String> {
    check_name(name)?;
    let mut edit = Edit::begin(file)?;
    edit.set_locked(name, locked)?;
    let account = Target::Account(name.to_owned());
    let problem = edit.problem();
    if locked {
        blocked::bar(file, account, Some(FOR_GOOD))?;
        edit.commit()?;
        return Ok(format!(
            "{name} locked: running sessions continue: end them with tfd kick --user {name}{}",
            remark(problem)
        ));
    }
    edit.commit()?;
    blocked::bar(file, account.clone(), None)?;
    let (freed, note) = blocked::free(file, &account)?;
    let freed = if freed > 0 { " and unblocked" } else { "" };
    Ok(format!("{name} unlocked{freed}{note}{}", remark(problem)))
}

/// What a mistake in the file means.
fn remark(problem: Option<String>) -> String {
    let problem = problem
        .map(|text| format!("\nthe rest of the file applies once this is corrected: {text}"));
    problem.unwrap_or_default()
}

/// Removes an account.
fn delete(file: &Path, name: &str) -> Result<String, String> {
    let mut edit = Edit::begin(file)?;
    if !edit.remove(name) {
        return Err(unknown(name));
    }
    edit.commit()?;
    Ok(format!("{name} deleted: its files stay"))
}

/// A table of the accounts.
fn list(file: &Path) -> Result<String, String> {
    let accounts = read(file).map_err(|problems| problems.join("\ntfd: "))?;
    let mut rows = vec![["NAME", "SYSTEM USER", "STATE", "HOME", "OPTIONS"].map(str::to_owned)];
    rows.extend(accounts.iter().map(|account| {
        let state = match &account.expiry {
            _ if account.locked => "locked".to_owned(),
            Some(day) => format!("to {day}"),
            None => "open".to_owned(),
        };
        [
            account.name.clone(),
            account.system_user.clone(),
            state,
            format!("/{}", account.home),
            options(account),
        ]
    }));
    let table = columns(&rows);
    Ok(table.trim_end().to_owned())
}

/// The options of an account, and whether it needs one-time codes.
fn options(account: &Account) -> String {
    let codes = account.totp.as_ref().map(|_| "totp".to_owned());
    let options = account.options.to_string();
    let all = codes.into_iter().chain(Some(options));
    let all: Vec<String> = all.filter(|word| !word.is_empty()).collect();
    all.join(",")
}

/// Adds the accounts of the public C server's file: lines of a name, a space
/// and the password in clear. Existing accounts stay as they are.
fn import(file: &Path, old: &Path, allow_root: bool) -> Result<String, String> {
    let shown = old.display();
    let text = fs::read(old)
        .map(Zeroizing::new)
        .map_err(|e| format!("{shown}: {e}"))?;
    let mut edit = Edit::begin(file)?;
    let mut report = Vec::new();
    let mut added = 0;
    for (index, line) in text.split(|c| *c == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let outcome = import_line(&edit, line, allow_root);
        match outcome {
            Ok(account) => {
                edit.put(&account);
                added += 1;
            }
            Err(why) => report.push(format!("{shown}:{}: left out: {why}", index + 1)),
        }
    }
    edit.commit()?;
    let done = format!("{added} added to {}", file.display());
    if report.is_empty() {
        return Ok(format!("{done}; delete {shown}, it is in clear"));
    }
    report.push(format!("{done}, {} left out of it", report.len()));
    Err(report.join("\ntfd: "))
}

fn import_line(edit: &Edit, line: &[u8], allow_root: bool) -> Result<Account, String> {
    let space = line.iter().position(|c| *c == b' ').ok_or("no password")?;
    let name = std::str::from_utf8(&line[..space]).map_err(|_| "the name is not UTF-8")?;
    check_name(name)?;
    check_system_user(name, allow_root)?;
    if exists(edit, name)? {
        return Err(format!("{name} exists"));
    }
    Ok(Account {
        name: name.to_owned(),
        hash: Zeroizing::new(hash::make(&line[space + 1..])?),
        totp: None,
        next_totp: None,
        locked: false,
        system_user: name.to_owned(),
        home: String::new(),
        options: Options::default(),
        expiry: None,
    })
}

fn check_system_user(name: &str, allow_root: bool) -> Result<(), String> {
    let identity = Identity::of(name)
        .map_err(|e| format!("system user \"{name}\": {e}: make it (useradd {name})"))?;
    if identity.uid.is_root() && !allow_root {
        return Err(format!(
            "system user \"{name}\" is root: name an ordinary user (--system-user)"
        ));
    }
    Ok(())
}

fn exists(edit: &Edit, name: &str) -> Result<bool, String> {
    Ok(edit.accounts()?.iter().any(|account| account.name == name))
}

fn find(edit: &Edit, name: &str) -> Result<Account, String> {
    check_name(name)?;
    edit.account(name)
}

fn unknown(name: &str) -> String {
    format!("no user {name}: see tfd user list")
}

fn change(file: &Path, name: &str, what: impl FnOnce(&mut Account)) -> Result<(), String> {
    let mut edit = Edit::begin(file)?;
    let mut account = find(&edit, name)?;
    what(&mut account);
    edit.put(&account);
    edit.commit()
}

/// The password: the first line of standard input, or asked for twice.
fn ask_password(name: &str, from_stdin: bool) -> Result<Zeroizing<Vec<u8>>, String> {
    if from_stdin {
        let mut line = Zeroizing::new(Vec::new());
        std::io::stdin()
            .lock()
            .read_until(b'\n', &mut line)
            .map_err(|e| e.to_string())?;
        while line.last().is_some_and(|c| matches!(c, b'\n' | b'\r')) {
            line.pop();
        }
        return Ok(line);
    }
    if !std::io::stdin().is_terminal() {
        return Err("no terminal to ask for the password: use --password-stdin".to_owned());
    }
    let ask = |prompt: String| {
        rpassword::prompt_password(prompt)
            .map(Zeroizing::new)
            .map_err(|e| e.to_string())
    };
    let first = ask(format!("Password for {name}: "))?;
    if *first != *ask("Again: ".to_owned())? {
        return Err("the passwords differ: nothing was changed".to_owned());
    }
    Ok(Zeroizing::new(first.as_bytes().to_vec()))
}
