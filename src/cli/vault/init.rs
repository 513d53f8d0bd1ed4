//! `init`: makes a file, links one with an account, or both.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use clap::Args;
use zeroize::Zeroizing;

use super::ask::Asker;
use super::link::{ask_code, enter, open, report, sync};
use super::{Store, server};
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::Printer;
use crate::client::vault::sync::account::Account;
use crate::client::vault::sync::keys::{AccountKeys, Key, from_sheet, random, stretch, to_sheet};
use crate::client::vault::sync::session::{Password, Session};
use crate::client::vault::{VaultError, VaultFile};
use crate::vault::own::message::{Kdf, Welcome};

/// Make a KDBX file, link one with an account at a server, or both
#[derive(Args)]
#[command(after_help = "Examples:\n  tf vault init local.kdbx\n  \
                  tf vault init work.kdbx --server files.example.org:4445 --user ann --new\n  \
                  tf vault init copy.kdbx --server files.example.org:4445 --user ann\n\n\
                  With --new the account's secret is printed: copy it. Without the master\n\
                  password you need it (--recovery).")]
pub(super) struct Init {
    /// Make the account: this is its first device
    #[arg(long)]
    new: bool,
    /// Ask for the account's secret, not for its master password
    #[arg(long, conflicts_with = "new")]
    recovery: bool,
    /// Write the account's secret to this new file, not to standard output
    #[arg(long, value_name = "FILE", requires = "new")]
    sheet: Option<PathBuf>,
    #[command(flatten)]
    store: Store,
}

impl Init {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        if (self.new || self.recovery) && context.directory.options().server.is_none() {
            return Err(Failure::usage(
                "--new and --recovery are for an account: give --server HOST:PORT",
            ));
        }
        let asker = Asker::new(context);
        let mut file = self.file(context, &asker)?;
        let Some(file) = &mut file else {
            return Ok(());
        };
        if let Some(account) = Account::of(&file.database) {
            return Err(Failure::usage(format!(
                "linked with {} at {} already: see tf vault unlink",
                account.user, account.server.address
            )));
        }
        let user = context.directory.options().settings.user.clone();
        let user = user.ok_or_else(|| Failure::usage("which account? give --user NAME"))?;
        let server = server::find(context)?;
        let mut account = Account::new(server, &user, Key::default()).map_err(Failure::Usage)?;
        let (mut session, mut welcome) = self.enter(context, &asker, &mut account)?;
        file.change(|database| {
            account.put_into(database);
            Ok::<_, Failure>(())
        })?;
        if self.new {
            self.hand_out(&account)?;
        }
        let summary = sync(file, &account, &mut session, &mut welcome, None)?;
        session.end()?;
        report(context, &summary)
    }

    /// The file, made where it is missing; `None` if that was all.
    fn file(&self, context: &Context, asker: &Asker) -> Result<Option<VaultFile>> {
        let path = &self.store.file;
        let is_linked = context.directory.options().server.is_some();
        if std::fs::symlink_metadata(path).is_ok() {
            return match is_linked {
                true => self.store.open(asker).map(Some),
                false => Err(Failure::usage(format!(
                    "{}: exists already",
                    path.display()
                ))),
            };
        }
        let password = asker.new_secret(&format!("password of {}", path.display()))?;
        let key_file = self.store.key_file.as_deref();
        VaultFile::create(path, &password, key_file)?;
        match is_linked {
            true => Ok(Some(VaultFile::open(path, &password, key_file)?)),
            false => Ok(None),
        }
    }

    /// Makes the account, or logs in to it and takes its secret.
    fn enter(
        &self,
        context: &Context,
        asker: &Asker,
        account: &mut Account,
    ) -> Result<(Session, Welcome)> {
        let what = format!("master password of {}", account.user);
        let user = account.user.clone();
        let keys = |kdf: Kdf, password: &str| {
            let keys = stretch(&kdf, password).map_err(Failure::Usage)?;
            Ok::<_, Failure>(Password {
                user: &user,
                kdf,
                keys,
            })
        };
        if self.new {
            let password = asker.new_secret(&what)?;
            account.secret = random().map_err(Failure::Usage)?;
            let (mut session, _) = open(context, account)?;
            let password = keys(Kdf::usual(*random().map_err(Failure::Usage)?), &password)?;
            let own = AccountKeys::new(account.secret.clone());
            let welcome = session.register(
                &password,
                &own,
                &account.as_device(),
                &mut |kind, mailed| ask_code(asker, kind, mailed),
            )?;
            return Ok((session, welcome));
        }
        if self.recovery {
            let written = asker.secret("account secret")?;
            let secret = from_sheet(&written);
            account.secret =
                secret.ok_or_else(|| Failure::usage("the account secret has a mistake in it"))?;
            return enter(context, account, asker);
        }
        let password = asker.secret(&what)?;
        let (mut session, kdf) = open(context, account)?;
        let password = keys(kdf, &password)?;
        let welcome = session.log_in(
            &password.proof(),
            &account.as_device(),
            &mut |kind, mailed| ask_code(asker, kind, mailed),
        )?;
        let secret = password.unwrap(&welcome.wrapped);
        account.secret = secret.ok_or(VaultError::Forged(
            "the account's secret does not open with the master password",
        ))?;
        Ok((session, welcome))
    }

    /// Gives the account's secret to the person.
    fn hand_out(&self, account: &Account) -> Result<()> {
        let text = Zeroizing::new(format!(
            "Account secret of {} at {}\n\n  {}\n\n\
             It opens the account when the master password is forgotten:\n  \
             tf vault init FILE --server {} --user {} --recovery\n\
             Keep it where nobody else finds it.\n",
            account.user,
            account.server.address,
            *to_sheet(&account.secret),
            account.server.address,
            account.user
        ));
        let Some(path) = &self.sheet else {
            let mut printer = Printer::new(false);
            printer.bytes(text.as_bytes())?;
            return Ok(printer.flush()?);
        };
        let mut options = std::fs::OpenOptions::new();
        let made = options.write(true).create_new(true).mode(0o600).open(path);
        let written = made.and_then(|mut file| {
            file.write_all(text.as_bytes())
                .and_then(|()| file.sync_all())
        });
        written.map_err(Failure::local(path))
    }
}
