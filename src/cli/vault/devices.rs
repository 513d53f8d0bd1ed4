//! The devices of an account, and its master password: `devices`, `unlink` and
//! `passwd`.

use clap::Args;

use super::ask::Asker;
use super::link::{account, enter, state};
use super::record::Record;
use super::{Store, missing};
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::{Printer, complain, local_time};
use crate::client::vault::VaultError;
use crate::client::vault::sync::account::Account;
use crate::client::vault::sync::keys::{AccountKeys, random, stretch};
use crate::client::vault::sync::session::Password;
use crate::text::{hex, shown};
use crate::vault::own::message::Kdf;

/// List the devices of a file's account
#[derive(Args)]
pub(super) struct Devices {
    #[command(flatten)]
    store: Store,
}

impl Devices {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let asker = Asker::new(context);
        let file = self.store.open(&asker)?;
        let (mut session, _) = enter(context, &account(&file)?, &asker)?;
        let devices = session.devices()?;
        session.end()?;
        let mut printer = Printer::new(context.output.json);
        for device in devices {
            let record = Record::Device {
                id: hex(&device.id),
                name: &device.name,
                first: device.first,
                last: device.last,
                online: device.is_online,
                this: device.is_this,
            };
            printer.show(&record, || {
                let mark = if device.is_this { "  (this one)" } else { "" };
                format!(
                    "{}  {}  {}{mark}",
                    hex(&device.id),
                    local_time(device.last),
                    shown(device.name.as_bytes())
                )
            })?;
        }
        Ok(printer.flush()?)
    }
}

/// End the link of this file, or of another device
#[derive(Args)]
pub(super) struct Unlink {
    #[command(flatten)]
    store: Store,
    /// The device, as tf vault devices shows it [default: this one]
    device: Option<String>,
}

impl Unlink {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let asker = Asker::new(context);
        let mut file = self.store.open(&asker)?;
        let account = account(&file)?;
        let (mut session, _) = enter(context, &account, &asker)?;
        if let Some(wanted) = &self.device {
            let devices = session.devices()?;
            let found = devices.iter().find(|it| hex(&it.id) == *wanted);
            let found = found
                .ok_or_else(|| missing(format!("no device {wanted}: see tf vault devices")))?;
            if !found.is_this {
                session.unlink(found.id)?;
                complain!(
                    "unlinked {}; what it has synced it keeps",
                    shown(found.name.as_bytes())
                );
                return Ok(session.end()?);
            }
        }
        match session.unlink(account.device) {
            Ok(()) | Err(VaultError::Over(_)) => {}
            Err(e) => return Err(e.into()),
        }
        file.change(|database| {
            Account::remove_from(database);
            Ok::<_, Failure>(())
        })?;
        // It may never have been synced.
        let _ = std::fs::remove_dir_all(state(&account)?);
        complain!("{} is linked with no account now", file.path().display());
        Ok(())
    }
}

/// Give a file's account another master password
#[derive(Args)]
pub(super) struct Passwd {
    #[command(flatten)]
    store: Store,
}

impl Passwd {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let asker = Asker::new(context);
        let file = self.store.open(&asker)?;
        let account = account(&file)?;
        let (mut session, _) = enter(context, &account, &asker)?;
        let password = asker.new_secret(&format!("new master password of {}", account.user))?;
        let kdf = Kdf::usual(*random().map_err(Failure::Usage)?);
        let keys = stretch(&kdf, &password).map_err(Failure::Usage)?;
        let password = Password {
            user: &account.user,
            kdf,
            keys,
        };
        session.set_password(&password, &AccountKeys::new(account.secret.clone()))?;
        session.end()?;
        complain!("the account has the new master password; the file keeps its own");
        Ok(())
    }
}
