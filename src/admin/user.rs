//! `tfd user`: changes the users file.

use std::fs;
use std::io::{BufRead, IsTerminal};
use std::path::Path;

use zeroize::Zeroizing;

use crate::users::account::{Account, Options, check_name};
use crate::users::file::{Edit, read};
use crate::users::{Identity, hash};

/// The arguments of `tfd user add`.
pub struct Addition<'a> {
    /// The name of the account.
    pub name: &'a str,
    /// The system user; the one of the same name when left out.
    pub system_user: Option<&'a str>,
    /// The directory beneath the root; empty for the root.
    pub home: &'a str,
    /// Options, as in the file.
    pub options: &'a str,
    /// The last day, as in the file.
    pub expiry: &'a str,
    /// Whether the system user may be root.
    pub allow_root: bool,
    /// Whether the password is read from standard input.
    pub from_stdin: bool,
}

/// Adds an account.
///
/// # Errors
/// One line with the reason; nothing is changed then.
pub fn add(file: &Path, addition: &Addition<'_>) -> Result<String, String> {
    let name = addition.name;
    check_name(name)?;
    let system_user = addition.system_user.unwrap_or(name);
    check_system_user(system_user, addition.allow_root)?;
    let options: Options = addition.options.parse()?;
    let expiry = match addition.expiry {
        "" => None,
        day => Some(
            day.parse()
                .map_err(|_| format!("\"{day}\" is not a day: write 2027-12-31"))?,
        ),
    };
    if exists(&Edit::begin(file)?, name)? {
        return Err(format!(
            "{name} exists: change its password with tfd user passwd"
        ));
    }
    let hash = hash::make(&ask_password(name, addition.from_stdin)?)?;
    let mut edit = Edit::begin(file)?;
    if exists(&edit, name)? {
        return Err(format!("{name} was just added by somebody else"));
    }
    let account = Account {
        name: name.to_owned(),
        hash: Zeroizing::new(hash),
        locked: false,
        system_user: system_user.to_owned(),
        home: addition.home.to_owned(),
        options,
        expiry,
    };
    // The line must be read as it is written.
    if account.to_string().parse::<Account>()? != account {
        return Err(format!(
            "{name}: a field contains a colon, which would end it"
        ));
    }
    edit.put(&account);
    edit.commit()?;
    Ok(format!("{name} added: its sessions run as {system_user}"))
}

/// Sets the password of an account; a locked one stays locked.
///
/// # Errors
/// As [`add`].
pub fn set_password(file: &Path, name: &str, from_stdin: bool) -> Result<String, String> {
    find(&Edit::begin(file)?, name)?;
    let hash = hash::make(&ask_password(name, from_stdin)?)?;
    change(file, name, |account| account.hash = Zeroizing::new(hash))?;
    Ok(format!("{name}: password set"))
}

/// Locks an account, or unlocks it.
///
/// # Errors
/// As [`add`].
pub fn set_locked(file: &Path, name: &str, locked: bool) -> Result<String, String> {
    if !locked && find(&Edit::begin(file)?, name)?.hash.is_empty() {
        return Err(format!(
            "{name} has no password: set one with tfd user passwd first"
        ));
    }
    change(file, name, |account| account.locked = locked)?;
    let state = if locked {
        "locked: running sessions continue"
    } else {
        "unlocked"
    };
    Ok(format!("{name} {state}"))
}

/// Removes an account.
///
/// # Errors
/// As [`add`].
pub fn delete(file: &Path, name: &str) -> Result<String, String> {
    let mut edit = Edit::begin(file)?;
    if !edit.remove(name) {
        return Err(unknown(name));
    }
    edit.commit()?;
    Ok(format!("{name} deleted: its files stay"))
}

/// A table of the accounts.
///
/// # Errors
/// What is wrong with the file.
pub fn list(file: &Path) -> Result<String, String> {
    let accounts = read(file).map_err(|problems| problems.join("\ntfd: "))?;
    let width = accounts
        .iter()
        .map(|account| account.name.len())
        .max()
        .unwrap_or(0)
        .max(4);
    let mut lines = vec![format!(
        "{:width$}  SYSTEM USER   STATE     HOME  OPTIONS",
        "NAME"
    )];
    for account in &accounts {
        let state = match &account.expiry {
            _ if account.locked => "locked".to_owned(),
            Some(day) => format!("to {day}"),
            None => "open".to_owned(),
        };
        let Account {
            name,
            system_user,
            home,
            options,
            ..
        } = account;
        let line = format!("{name:width$}  {system_user:12}  {state:8}  /{home}  {options}");
        lines.push(line.trim_end().to_owned());
    }
    Ok(lines.join("\n"))
}

/// Adds the accounts of the public C server's file: lines of a name, a space
/// and the password in clear. Existing accounts stay as they are.
///
/// # Errors
/// As [`add`]; or which lines were left out, while the others were added.
pub fn import(file: &Path, old: &Path, allow_root: bool) -> Result<String, String> {
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
    edit.accounts()?
        .into_iter()
        .find(|account| account.name == name)
        .ok_or_else(|| unknown(name))
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
