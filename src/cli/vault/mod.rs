//! `tf vault`: password databases in KDBX files.

mod ask;
mod change;
mod clip;
mod devices;
mod exchange;
mod init;
mod legacy;
mod link;
mod record;
mod server;
mod show;
mod watch;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use self::ask::Asker;
use super::context::Context;
use super::failure::{Exit, Failure, Result};
use crate::client::ClientError;
use crate::client::vault::database::Database;
use crate::client::vault::{VaultError, VaultFile};
use crate::net::LinkError;
use crate::vault::own::message::Over;

/// Keep passwords in a KDBX file, in sync with other devices
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf vault init work.kdbx\n  tf vault add work.kdbx Mail/web --username ann --generate\n  \
                  tf vault get work.kdbx Mail/web --clip\n  tf vault ls -R work.kdbx\n\n\
                  The file is one of KeePassXC, KeePassDX, Strongbox and others, which may change it at any\n\
                  time. See tf-vault(1)."
)]
pub(super) struct Vault {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    Init(init::Init),
    Sync(link::SyncFile),
    Watch(watch::Watch),
    Status(link::Status),
    Devices(devices::Devices),
    Unlink(devices::Unlink),
    Passwd(devices::Passwd),
    Connect(legacy::Connect),
    Migrate(legacy::Migrate),
    Ls(show::Ls),
    Show(show::Show),
    Get(show::Get),
    Otp(show::Otp),
    Add(change::Add),
    Edit(change::Edit),
    Rm(change::Rm),
    Mv(change::Mv),
    Generate(change::Generate),
    History(show::History),
    Restore(change::Restore),
    Import(exchange::Import),
    Export(exchange::Export),
}

impl Vault {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        match self.action {
            Action::Init(it) => it.run(context),
            Action::Sync(it) => it.run(context),
            Action::Watch(it) => it.run(context),
            Action::Status(it) => it.run(context),
            Action::Devices(it) => it.run(context),
            Action::Unlink(it) => it.run(context),
            Action::Passwd(it) => it.run(context),
            Action::Connect(it) => it.run(context),
            Action::Migrate(it) => it.run(context),
            Action::Ls(it) => it.run(context),
            Action::Show(it) => it.run(context),
            Action::Get(it) => it.run(context),
            Action::Otp(it) => it.run(context),
            Action::Add(it) => it.run(context),
            Action::Edit(it) => it.run(context),
            Action::Rm(it) => it.run(context),
            Action::Mv(it) => it.run(context),
            Action::Generate(it) => it.run(context),
            Action::History(it) => it.run(context),
            Action::Restore(it) => it.run(context),
            Action::Import(it) => it.run(context),
            Action::Export(it) => it.run(context),
        }
    }
}

/// Which file.
#[derive(Args, Clone)]
struct Store {
    /// The KDBX file
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: PathBuf,
    /// A key file that opens it together with its password
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

impl Store {
    /// The file, opened.
    fn open(&self, asker: &Asker) -> Result<VaultFile> {
        // Before anybody types a password.
        std::fs::metadata(&self.file).map_err(Failure::local(&self.file))?;
        let password = asker.password_of(&self.file)?;
        Ok(VaultFile::open(
            &self.file,
            &password,
            self.key_file.as_deref(),
        )?)
    }

    /// Changes what is in it.
    fn change<T>(&self, asker: &Asker, act: impl FnMut(&mut Database) -> Result<T>) -> Result<T> {
        self.open(asker)?.change(act)
    }
}

/// What is not in the file.
fn missing(text: String) -> Failure {
    Failure::Failed(Exit::Refused, text)
}

/// What the system lacks for a change.
fn broken(file: &Path) -> impl Fn(String) -> Failure {
    move |why| ClientError::local(file, std::io::Error::other(why)).into()
}

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Failure {
        let exit = match error {
            VaultError::Local { path, source } => return ClientError::local(&path, source).into(),
            VaultError::Client(error) => return error.into(),
            VaultError::Over(Over::Stopping) => {
                return ClientError::Lost(LinkError::Closed.into()).into();
            }
            VaultError::Unreadable { .. } | VaultError::Busy { .. } => Exit::Local,
            VaultError::Password { .. } | VaultError::OtherKey { .. } => Exit::NotLetIn,
            VaultError::Refused(_)
            | VaultError::Over(_)
            | VaultError::NoVault { .. }
            | VaultError::Answered(_)
            | VaultError::NoCode => Exit::NotLetIn,
            VaultError::Failed(_) | VaultError::Contended => Exit::Refused,
            VaultError::Forged(_) => Exit::Mismatch,
        };
        Failure::Failed(exit, error.to_string())
    }
}
