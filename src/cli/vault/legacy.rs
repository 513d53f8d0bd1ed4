//! Accounts of the old protocol: `connect --legacy` reads one, `migrate` moves it.

use std::time::Duration;

use clap::Args;

use super::ask::Asker;
use super::link::{account, enter, report, state, sync};
use super::record::Record;
use super::{Store, missing};
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::{Printer, complain};
use crate::client::vault::database::Kind;
use crate::client::vault::legacy::{Account, Entry, Legacy, MasterKeys, adopt, count};
use crate::client::vault::sync::base::Base;
use crate::client::vault::sync::known_items;
use crate::client::vault::{VaultError, VaultFile};

/// The port of the clients for Windows and Android.
const PORT: u16 = 4444;

/// Read the entries of an account of the old protocol into a file
#[derive(Args)]
#[command(
    after_help = "Example:\n  tf vault connect --legacy local.kdbx --server old.example.org:4444 --user ann\n\n\
                  The old protocol shows its server a hash of the master password without a salt, and\n\
                  protects from nobody who stands in between: use it in a network that you trust."
)]
pub(super) struct Connect {
    /// Speak the last dialect of the old clients (G3)
    #[arg(long, required = true)]
    legacy: bool,
    #[command(flatten)]
    store: Store,
}

impl Connect {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let asker = Asker::new(context);
        let mut file = self.store.open(&asker)?;
        let options = context.directory.options();
        let (server, user) = (options.server.clone(), options.settings.user.clone());
        let known = Account::of(&file.database);
        let mut old = match (server, user, known) {
            (Some(server), Some(user), known) => {
                let address = super::server::with_port(&server, PORT);
                let known = known.filter(|it| it.address == address && it.user == user);
                known.unwrap_or(Account {
                    address,
                    user,
                    pin: String::new(),
                    cookie: String::new(),
                })
            }
            (None, _, Some(known)) => known,
            _ => return Err(Failure::usage("which account? give --server and --user")),
        };
        let (legacy, entries) = read(context, &asker, &mut old)?;
        legacy.end();
        take(context, &mut file, &old, &entries)
    }
}

/// Move an account of the old protocol to the account that a file is linked with
#[derive(Args)]
pub(super) struct Migrate {
    #[command(flatten)]
    store: Store,
}

impl Migrate {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let asker = Asker::new(context);
        let mut file = self.store.open(&asker)?;
        let new = account(&file)?;
        let mut old = Account::of(&file.database)
            .ok_or_else(|| missing("no old account: see tf vault connect --legacy".to_owned()))?;
        let (mut legacy, entries) = read(context, &asker, &mut old)?;
        take(context, &mut file, &old, &entries)?;
        let (mut session, mut welcome) = enter(context, &new, &asker)?;
        let summary = sync(&mut file, &new, &mut session, &mut welcome, None)?;
        session.end()?;
        report(context, &summary)?;
        // What was deleted here since it was read is not missing.
        let base = Base::read(&state(&new)?, &new.base_key);
        let here = count(&entries, file.database.of_kind(Kind::Entry));
        let there = count(&entries, known_items(&base));
        if there < here {
            return Err(missing(format!(
                "{there} of {here} entries are at the server: try again"
            )));
        }
        legacy.unlink(&old)?;
        legacy.end();
        file.change(|database| {
            Account::remove_from(database);
            Ok::<_, Failure>(())
        })?;
        complain!(
            "{there} entries are at {} now; the old account still has them: delete it with an old client",
            new.server.address
        );
        Ok(())
    }
}

/// Logs in to an old account and reads its entries.
fn read(context: &Context, asker: &Asker, old: &mut Account) -> Result<(Legacy, Vec<Entry>)> {
    let password = asker.secret(&format!("master password of {}", old.user))?;
    let keys = MasterKeys::new(&password);
    let timeout = Duration::from_secs(context.directory.options().timeout.max(1));
    let mut legacy = Legacy::open(&old.address, timeout, &context.directory.cancel)?;
    if old.pin.is_empty() {
        complain!("{} has the key SHA256:{}", old.address, legacy.pin);
        old.pin.clone_from(&legacy.pin);
    }
    if old.pin != legacy.pin {
        return Err(VaultError::Forged("it has another key than the first time").into());
    }
    legacy.log_in(old, &keys, &mut || {
        complain!(
            "the server wants a code for the new device: it was mailed, or its operator has it"
        );
        asker.secret("code").map_err(|_| VaultError::NoCode)
    })?;
    let entries = legacy.entries(&keys)?;
    Ok((legacy, entries))
}

/// Puts what was read into a file.
fn take(context: &Context, file: &mut VaultFile, old: &Account, entries: &[Entry]) -> Result<()> {
    let path = file.path().to_owned();
    let (new, changed) = file.change(|database| {
        old.put_into(database);
        adopt(database, &old.user, entries).map_err(super::broken(&path))
    })?;
    let mut printer = Printer::new(context.output.json);
    let record = Record::Read {
        entries: entries.len(),
        new,
        changed,
    };
    printer.show(&record, || {
        format!(
            "read {} entries: {new} new, {changed} changed",
            entries.len()
        )
    })?;
    Ok(printer.flush()?)
}
