//! A file and its account: the session of its device, `sync` and `status`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use zeroize::Zeroizing;

use super::ask::Asker;
use super::record::Record;
use super::{Store, missing};
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::{Printer, complain};
use crate::cli::settings::directory as from_environment;
use crate::client::vault::sync::account::Account;
use crate::client::vault::sync::base::{Base, directory};
use crate::client::vault::sync::keys::{AccountKeys, to_sheet};
use crate::client::vault::sync::session::Session;
use crate::client::vault::sync::{Summary, Sync, unsynced};
use crate::client::vault::{VaultError, VaultFile};
use crate::text::{hex, shown};
use crate::vault::own::message::{CodeFor, Kdf, Proof, Secret, Welcome};

pub(super) fn ask_code(
    asker: &Asker,
    kind: CodeFor,
    is_mailed: bool,
) -> std::result::Result<Zeroizing<String>, VaultError> {
    complain!(
        "the server wants a code for the new {}: {}",
        match kind {
            CodeFor::Registration => "account",
            CodeFor::Device => "device",
        },
        match is_mailed {
            true => "it was mailed",
            false => "its operator has it (tfd vault codes)",
        }
    );
    let code = asker.secret("code");
    code.map_err(|_| VaultError::NoCode)
}

pub(super) fn open(context: &Context, account: &Account) -> Result<(Session, Kdf)> {
    let timeout = Duration::from_secs(context.directory.options().timeout.max(1));
    Ok(Session::open(
        &account.server,
        &account.user,
        timeout,
        &context.directory.cancel,
    )?)
}

/// A session of a device that is linked.
pub(super) fn enter(
    context: &Context,
    account: &Account,
    asker: &Asker,
) -> Result<(Session, Welcome)> {
    let (mut session, _) = open(context, account)?;
    let keys = AccountKeys::new(account.secret.clone());
    let proof = Proof::Recovery(Secret::from(*keys.proof().map_err(Failure::Usage)?));
    let welcome = session.log_in(&proof, &account.as_device(), &mut |kind, mailed| {
        ask_code(asker, kind, mailed)
    })?;
    Ok((session, welcome))
}

/// The account of a file.
pub(super) fn account(file: &VaultFile) -> Result<Account> {
    Account::of(&file.database).ok_or_else(|| {
        missing(format!(
            "{}: linked with no account: see tf vault init",
            file.path().display()
        ))
    })
}

/// Where the state of the last sync is.
pub(super) fn state(account: &Account) -> Result<PathBuf> {
    let base = from_environment("XDG_STATE_HOME")
        .or_else(|| Some(from_environment("HOME")?.join(".local/state")));
    let base = base.ok_or_else(|| Failure::usage("neither XDG_STATE_HOME nor HOME is set"))?;
    Ok(directory(&base, &account.device))
}

/// Syncs. Whether the server has news is known, or to be seen from its greeting.
pub(super) fn sync(
    file: &mut VaultFile,
    account: &Account,
    session: &mut Session,
    welcome: &mut Welcome,
    has_news: Option<bool>,
) -> Result<Summary> {
    let place = state(account)?;
    let keys = AccountKeys::new(account.secret.clone());
    let mut base = Base::read(&place, &account.base_key);
    let known = (base.store, base.upto);
    let has_news = has_news.unwrap_or(known != (welcome.store, welcome.revision));
    let summary = Sync::new(&keys, session, &mut base, welcome).run(file, has_news)?;
    if known != (base.store, base.upto) || summary != Summary::default() {
        base.write(&place, &account.base_key)?;
    }
    welcome.revision = welcome.revision.max(base.upto);
    Ok(summary)
}

/// Says what a sync has done.
pub(super) fn report(context: &Context, summary: &Summary) -> Result<()> {
    for conflict in &summary.conflicts {
        let name = shown(conflict.name.as_bytes());
        let field = shown(conflict.field.as_bytes());
        match &conflict.lost {
            None => complain!(
                "{name}: {field} was changed on both sides: the later one is kept, the other is in its history"
            ),
            Some(lost) => complain!(
                "{name}: {field} was changed on both sides: the later one is kept, the other was: {}",
                shown(lost.as_bytes())
            ),
        }
    }
    if summary.waiting > 0 {
        complain!(
            "{} entries wait for an attachment that another device has not sent yet",
            summary.waiting
        );
    }
    let mut printer = Printer::new(context.output.json);
    let record = Record::Sync {
        received: summary.received,
        removed: summary.removed,
        sent: summary.sent,
        conflicts: summary.conflicts.len(),
        waiting: summary.waiting,
    };
    printer.show(&record, || {
        match (summary.received, summary.removed, summary.sent) {
            (0, 0, 0) => "nothing has changed".to_owned(),
            (received, removed, sent) => {
                format!("received {received}, removed {removed}, sent {sent}")
            }
        }
    })?;
    Ok(printer.flush()?)
}

/// Sync a file with its account
#[derive(Args)]
pub(super) struct SyncFile {
    #[command(flatten)]
    store: Store,
}

impl SyncFile {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let asker = Asker::new(context);
        let mut file = self.store.open(&asker)?;
        let account = account(&file)?;
        let (mut session, mut welcome) = enter(context, &account, &asker)?;
        let summary = sync(&mut file, &account, &mut session, &mut welcome, None)?;
        session.end()?;
        report(context, &summary)
    }
}

/// Show which account a file is linked with
#[derive(Args)]
pub(super) struct Status {
    /// Show the account's secret, too
    #[arg(long)]
    reveal: bool,
    #[command(flatten)]
    store: Store,
}

impl Status {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let file = self.store.open(&Asker::new(context))?;
        let account = account(&file)?;
        let base = Base::read(&state(&account)?, &account.base_key);
        let changed = unsynced(&file.database, &base);
        let secret = self.reveal.then(|| to_sheet(&account.secret));
        let mut printer = Printer::new(context.output.json);
        let record = Record::Status {
            server: &account.server.address,
            user: &account.user,
            device: hex(&account.device),
            changed,
            secret: secret.as_ref().map(|secret| secret.as_str()),
        };
        printer.show(&record, || {
            let mut text = format!(
                "Server: {}\nAccount: {}\nDevice: {}\nChanged here since the last sync: {changed}",
                account.server.address,
                shown(account.user.as_bytes()),
                hex(&account.device)
            );
            if let Some(secret) = &secret {
                text += &format!("\nAccount secret: {}", **secret);
            }
            text
        })?;
        Ok(printer.flush()?)
    }
}
