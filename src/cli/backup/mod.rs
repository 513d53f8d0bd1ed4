//! `tf-backup`, which `tf backup` and its sisters start: backups to disks, and to the
//! keepers of a hub. See tf-backup(1).

mod browse;
mod hub;
mod init;
mod keep;
mod keepers;
mod own_keeper;
mod progress;
mod rewrite;
mod run;
mod secrets;
mod show;
mod units;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::CompleteEnv;
use serde::Serialize;

use self::secrets::Secrets;
use super::complete::VARIABLE;
use super::output::{Printer, complain};
use super::servers::usual_file;
use crate::backup::{
    Access, Account, BackupError, Keepers, KeyFile, LeftOut, Locks, Repository, Seed,
};
use crate::sys::memory::keep_few_arenas;
use crate::sys::process::take_long_turns;

/// Back up to disks that you trust with nothing
#[derive(Parser)]
#[command(
    name = "tf-backup",
    bin_name = "tf",
    version,
    after_help = "Examples:\n  tf backup init --keeper /mnt/disk1 --keeper /mnt/disk2\n  tf backup ~/photos ~/doc\n  \
                  tf snapshots\n  tf restore latest --target restored\n\n\
                  See tf-backup(1) for what is kept where, and for exit statuses."
)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

/// Which backup, and how much to print.
#[derive(Args, Clone, Debug)]
struct Options {
    /// The key file of this machine [default: ~/.config/tf/hub/local.key]
    #[arg(
        long,
        value_name = "FILE",
        env = "TF_BACKUP_KEY",
        global = true,
        value_hint = clap::ValueHint::FilePath
    )]
    key: Option<PathBuf>,
    /// Read from this keeper without its hub, which is gone; once for each keeper.
    /// NAME@:PORT waits until it connects to this port (there: tf keep call)
    #[arg(long, value_name = "NAME@HOST:PORT", global = true)]
    from_keeper: Vec<String>,
    /// A file whose first line is the key file's passphrase [default: ask]
    #[arg(long, value_name = "FILE", global = true, value_hint = clap::ValueHint::FilePath)]
    passphrase_file: Option<PathBuf>,
    /// Show no progress
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Print results as JSON, one object per line
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    Backup(run::Backup),
    Snapshots(show::Snapshots),
    Restore(show::Restore),
    Forget(keep::Forget),
    Prune(keep::Prune),
    Check(keep::Check),
    Repair(keep::Repair),
    Dump(browse::Dump),
    Diff(browse::Diff),
    Stats(show::Stats),
    Tag(keep::Tag),
    Rewrite(rewrite::Rewrite),
    Hub(hub::Hub),
    Keep(own_keeper::Keep),
}

/// Why `tf-backup` ended. restic has the same statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Exit {
    /// All was done.
    Done = 0,
    /// It could not be done.
    Failed = 1,
    /// Some entries could not be read, or are lost.
    Incomplete = 3,
    /// It was done with fewer copies than there should be.
    FewerCopies = 4,
    /// The hub can't be reached.
    NoHub = 5,
    /// The phrase or the passphrase is another one.
    WrongKey = 12,
}

type Result<T, E = BackupError> = std::result::Result<T, E>;

/// `tf-backup` with the arguments of this process: its exit status.
pub fn main() -> ExitCode {
    CompleteEnv::with_factory(Arguments::command)
        .var(VARIABLE)
        .complete();
    let Arguments { options, command } = Arguments::parse();
    keep_few_arenas();
    // Without it all goes on, slower.
    let _ = take_long_turns();
    let context = Context {
        secrets: Secrets::new(options.passphrase_file),
        key: options.key,
        from_keeper: options.from_keeper,
        quiet: options.quiet,
        json: options.json,
    };
    let done = match command {
        Command::Backup(it) => it.run(&context),
        Command::Snapshots(it) => it.run(&context),
        Command::Restore(it) => it.run(&context),
        Command::Forget(it) => it.run(&context),
        Command::Prune(it) => it.run(&context),
        Command::Check(it) => it.run(&context),
        Command::Repair(it) => it.run(&context),
        Command::Dump(it) => it.run(&context),
        Command::Diff(it) => it.run(&context),
        Command::Stats(it) => it.run(&context),
        Command::Tag(it) => it.run(&context),
        Command::Rewrite(it) => it.run(&context),
        Command::Hub(it) => it.run(&context),
        Command::Keep(it) => it.run(&context),
    };
    let exit = done.unwrap_or_else(|error| {
        complain!("tf: {error}");
        match error {
            BackupError::Failed(_) => Exit::Failed,
            BackupError::WrongKey(_) => Exit::WrongKey,
            BackupError::NoHub(_) => Exit::NoHub,
        }
    });
    ExitCode::from(exit as u8)
}

/// Keepers, the locks on them, and the repository that they have.
type Opened = (Arc<Keepers>, Box<dyn Locks>, Repository);

/// How long to wait before a lock is tried again.
const LOCK_PAUSE: Duration = Duration::from_millis(500);

/// What all commands share.
struct Context {
    key: Option<PathBuf>,
    /// Keepers that are asked without their hub.
    from_keeper: Vec<String>,
    secrets: Secrets,
    quiet: bool,
    json: bool,
}

impl Context {
    /// The directory of key files.
    fn directory(&self) -> Result<PathBuf> {
        let missing = || BackupError::Failed("no home directory: name a file by --key".to_owned());
        let file = usual_file().ok_or_else(missing)?;
        Ok(file.with_file_name("hub"))
    }

    /// Where a new key file will be, if no other is named.
    fn new_key_file(&self, name: &str) -> Result<PathBuf> {
        let key = match &self.key {
            Some(path) => path.clone(),
            None => self.directory()?.join(name),
        };
        match key.exists() {
            true => {
                let text = format!(
                    "{}: exists: this machine has a backup; --key FILE names another one",
                    key.display()
                );
                Err(BackupError::Failed(text))
            }
            false => Ok(key),
        }
    }

    /// Keepers that are asked without their hub. A person reads who is waited for.
    fn keepers_without_hub(&self) -> &[String] {
        for keeper in &self.from_keeper {
            if let Some((name, port)) = keeper.split_once("@:") {
                complain!(
                    "tf: waiting until {name} connects to port {port}: tf keep call THIS-MACHINE:{port} \
                     on that machine"
                );
            }
        }
        &self.from_keeper
    }

    /// Where the key file is: the only one, if none is named.
    fn key_file(&self) -> Result<PathBuf> {
        if let Some(path) = &self.key {
            return Ok(path.clone());
        }
        let directory = self.directory()?;
        let entries = std::fs::read_dir(&directory).into_iter().flatten();
        let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        let is_key = |path: &PathBuf| path.extension().is_some_and(|end| end == "key");
        let mut keys: Vec<PathBuf> = paths.filter(is_key).collect();
        match (keys.pop(), keys.is_empty()) {
            (Some(only), true) => Ok(only),
            (Some(_), false) => {
                let text = format!(
                    "{}: more than one key file: say which by --key",
                    directory.display()
                );
                Err(BackupError::Failed(text))
            }
            (None, _) => Ok(directory.join("local.key")),
        }
    }

    /// The key file, and where it is.
    fn key(&self) -> Result<(PathBuf, KeyFile)> {
        let path = self.key_file()?;
        if !path.exists() {
            let text = format!(
                "{}: no such key file: tf backup init or tf hub join makes one, tf backup recover or \
                 tf hub recover brings one back",
                path.display()
            );
            return Err(BackupError::Failed(text));
        }
        let file = KeyFile::read(&path)?;
        Ok((path, file))
    }

    /// The account at a hub of the key file.
    fn account(&self) -> Result<(Account, Seed)> {
        let (path, file) = self.key()?;
        let seed = file.open(|| self.secrets.passphrase(&path))?;
        let none = || {
            let text = format!("{}: a backup to disks, at no hub", path.display());
            BackupError::Failed(text)
        };
        Ok((file.account.ok_or_else(none)?, seed))
    }

    /// The keepers of a key file that are there.
    fn keepers(&self, file: &KeyFile, seed: &Seed) -> Result<Arc<Keepers>> {
        if let Some(account) = &file.account {
            let keepers = match self.from_keeper.is_empty() {
                true => Keepers::of_hub(account, seed)?,
                false => Keepers::without_hub(account, seed, self.keepers_without_hub())?,
            };
            return Ok(Arc::new(keepers));
        }
        let keepers = Keepers::open(&file.keepers, seed)?;
        for path in keepers.absent() {
            let lost = match path.is_dir() {
                true => {
                    "has nothing of this backup: mount its disk, or tf backup add-keeper if it lost all"
                }
                false => {
                    "not there: mount its disk, or tf backup remove-keeper if it is lost for good"
                }
            };
            complain!("tf: {}: {lost}", path.display());
        }
        Ok(Arc::new(keepers))
    }

    /// The keepers, and what opens what they keep.
    fn open(&self) -> Result<(Arc<Keepers>, Seed)> {
        let (path, file) = self.key()?;
        let seed = file.open(|| self.secrets.passphrase(&path))?;
        Ok((self.keepers(&file, &seed)?, seed))
    }

    /// The repository while nobody removes files.
    fn open_to_read(&self) -> Result<Opened> {
        let (keepers, seed) = self.open()?;
        let locks = Context::lock(&keepers, Access::Read)?;
        let repository = Repository::open(Arc::clone(&keepers), &seed)?;
        Ok((keepers, locks, repository))
    }

    /// Keeps others from removing files, or from adding any, until it is dropped. It
    /// waits for the end of runs that forbid it; with their processes their locks end.
    fn lock(keepers: &Keepers, access: Access) -> Result<Box<dyn Locks>> {
        let mut is_said = false;
        loop {
            if let Some(locks) = keepers.lock(access)? {
                return Ok(locks);
            }
            if !is_said {
                complain!("tf: another run is going on: waiting until it has ended");
                is_said = true;
            }
            thread::sleep(LOCK_PAUSE);
        }
    }

    /// Prints one result.
    fn show(&self, record: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        let mut printer = Printer::new(self.json);
        printer
            .show(record, text)
            .and_then(|()| printer.flush())
            .map_err(|e| BackupError::Failed(e.to_string()))
    }
}

/// One line of JSON.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Record<'a> {
    /// What `init` and `recover` made.
    Key {
        key: String,
        keepers: Vec<String>,
    },
    Snapshot(&'a crate::backup::Snapshot),
    Backup(&'a crate::backup::Made),
    Restore(&'a crate::backup::Restored),
    Forget(&'a crate::backup::Forgetting),
    Prune(&'a crate::backup::Pruned),
    Check(&'a crate::backup::Checked),
    Stats(&'a crate::backup::Stats),
    Tag {
        /// Snapshots that are others now.
        changed: u64,
    },
    Rewrite(&'a crate::backup::Rewritten),
    Hub(&'a crate::backup::Standing),
    Undelete(&'a crate::backup::Undeleted),
    Keeper(&'a crate::backup::KeeperAt),
    Kit(&'a hub::Sheet<'a>),
    OwnKeeper(&'a own_keeper::OwnKeeper),
    /// Units of systemd, and what belongs to them.
    Units {
        files: Vec<String>,
        enable: String,
    },
    Repair {
        /// What was taken out, or put right.
        changes: Vec<String>,
    },
}

/// Reports entries on standard error.
fn report(entries: &[LeftOut], what: &str) {
    for LeftOut { path, error } in entries {
        complain!("tf: {what}: {path}: {error}");
    }
}

/// Reports what the keepers have to say.
fn report_notes(keepers: &Keepers) {
    say(&keepers.take_notes());
}

fn say(notes: &[String]) {
    for note in notes {
        complain!("tf: {note}");
    }
}
