//! `tfd user set`: changes fields of an account, and leaves the others as they are.

use std::path::Path;

use clap::{ArgGroup, Args};

use super::{check_line, check_system_user, find, read_day, remark};
use crate::users::account::{Account, Options};
use crate::users::file::Edit;

// What `tfd user set` changes.
#[derive(Args)]
#[command(group(ArgGroup::new("changes").required(true).multiple(true).args([
    "system_user", "home", "options", "option", "remove_option", "expiry",
])))]
pub(in crate::admin) struct Changes {
    /// The account
    name: String,
    /// The system user its sessions run as
    #[arg(long, value_name = "USER")]
    system_user: Option<String>,
    /// Its directory beneath the root; empty for the root
    #[arg(long, value_name = "DIR")]
    home: Option<String>,
    /// All its options, comma-separated; empty for none
    #[arg(long, value_name = "LIST", conflicts_with_all = ["option", "remove_option"])]
    options: Option<String>,
    /// One option, in place of what it was; from adds a network
    #[arg(long, value_name = "KEY[=VALUE]")]
    option: Vec<String>,
    /// An option to leave out, by its key; from leaves out all networks
    #[arg(long, value_name = "KEY")]
    remove_option: Vec<String>,
    /// The last day to log in, in UTC, or never for no end
    #[arg(long, value_name = "DAY|never")]
    expiry: Option<String>,
    /// Let its sessions run as root
    #[arg(long)]
    allow_root: bool,
}

/// Changes fields of an account.
pub(super) fn run(file: &Path, changes: &Changes) -> Result<String, String> {
    let mut edit = Edit::begin(file)?;
    let mut account = find(&edit, &changes.name)?;
    if let Some(user) = &changes.system_user {
        check_system_user(user, changes.allow_root)?;
        account.system_user.clone_from(user);
    }
    if let Some(home) = &changes.home {
        account.home.clone_from(home);
    }
    account.options = changed_options(&account.options, changes)?;
    if let Some(day) = &changes.expiry {
        account.expiry = read_day(day)?;
    }
    check_line(&account)?;
    edit.put(&account);
    let problem = edit.problem();
    edit.commit()?;
    let Account {
        name,
        system_user,
        home,
        options,
        expiry,
        ..
    } = account;
    let expiry = expiry.map_or_else(|| "never".to_owned(), |day| day.to_string());
    Ok(format!(
        "{name}: system user {system_user}, home /{home}, options \"{options}\", expiry {expiry}: \
         from the next login on{}",
        remark(problem)
    ))
}

/// The options as they are to be.
fn changed_options(options: &Options, changes: &Changes) -> Result<Options, String> {
    if let Some(list) = &changes.options {
        return list.parse();
    }
    let key_of = |word: &str| word.split('=').next().unwrap_or_default().to_owned();
    let text = options.to_string();
    let words = text.split(',').filter(|word| !word.is_empty());
    let mut words: Vec<String> = words.map(str::to_owned).collect();
    for key in &changes.remove_option {
        let before = words.len();
        words.retain(|word| key_of(word) != *key);
        if words.len() == before {
            return Err(format!("{} has no option {key}", changes.name));
        }
    }
    for option in &changes.option {
        let key = key_of(option);
        let is_right = |key: &str| ["read-only", "append-only"].contains(&key);
        words.retain(|word| {
            let other = key_of(word);
            other == "from" || other != key && !(is_right(&other) && is_right(&key))
        });
        if !words.contains(option) {
            words.push(option.clone());
        }
    }
    words.join(",").parse()
}
