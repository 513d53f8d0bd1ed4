//! `tf backup init` and `tf backup recover`: a key file, from a new phrase or from one
//! that was written down.

use std::io::{IsTerminal, Write, stdout};
use std::path::{Path, PathBuf, absolute};
use std::sync::Arc;

use clap::Args;

use super::secrets::{ask, phrase};
use super::{Context, Exit, Record, Result};
use crate::backup::{BackupError, Keepers, KeyFile, Repository, Seed, local, write_secret};
use crate::cli::output::complain;

/// The key file of a backup to disks.
const USUAL: &str = "local.key";

/// How many words of the phrase are asked back.
const ASKED_BACK: usize = 3;

/// How often a word may be mistyped.
const TRIES: usize = 5;

/// Make a backup: a phrase, and directories that keep a copy each
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf backup init --keeper /mnt/disk1 --keeper /mnt/disk2\n  \
                        tf backup init --keeper /mnt/disk1 --no-passphrase --phrase-file phrase.txt"
)]
pub(super) struct Init {
    #[command(flatten)]
    place: Place,
    /// Write the phrase into this new file rather than show it
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    phrase_file: Option<PathBuf>,
}

/// Bring a key file back, from the phrase and the disks
#[derive(Args)]
#[command(
    after_help = "Example:\n  tf backup recover --keeper /mnt/disk2\n  tf restore latest --target restored"
)]
pub(super) struct Recover {
    #[command(flatten)]
    place: Place,
    /// A file that has the phrase [default: ask]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    phrase_file: Option<PathBuf>,
}

#[derive(Args)]
struct Place {
    /// A directory that keeps a whole copy; once for each copy
    #[arg(long, value_name = "DIR", required = true, value_hint = clap::ValueHint::DirPath)]
    keeper: Vec<PathBuf>,
    /// Protect the key file by its mode alone, for runs that nobody attends
    #[arg(long, conflicts_with = "passphrase_file")]
    no_passphrase: bool,
}

impl Init {
    pub(super) fn run(self, context: &Context) -> Result<Exit> {
        let key = context.new_key_file(USUAL)?;
        may_show(self.phrase_file.as_deref())?;
        let passphrase = self.place.passphrase(context)?;
        let seed = Seed::generate()?;
        save_phrase(&seed, self.phrase_file.as_deref())?;
        let keepers = self.place.keepers()?;
        Keepers::create(&keepers, &seed)?;
        Repository::create(Arc::new(Keepers::open(&keepers, &seed)?), &seed)?;
        let passphrase = passphrase.as_ref().map(|it| it.as_str());
        KeyFile::new(seed, keepers.clone(), passphrase)?.save(&key)?;
        made(context, &key, &keepers)
    }
}

impl Recover {
    pub(super) fn run(self, context: &Context) -> Result<Exit> {
        let key = context.new_key_file(USUAL)?;
        let seed = Seed::from_phrase(&phrase(self.phrase_file.as_deref())?)?;
        let keepers = self.place.keepers()?;
        let found = Arc::new(Keepers::open(&keepers, &seed)?);
        for path in found.absent() {
            let path = path.display();
            complain!("tf: {path}: nothing there is kept for this phrase; left out");
        }
        let keepers: Vec<PathBuf> = keepers
            .into_iter()
            .filter(|path| !found.absent().contains(path))
            .collect();
        Repository::open(found, &seed)?;
        let passphrase = self.place.passphrase(context)?;
        let passphrase = passphrase.as_ref().map(|it| it.as_str());
        KeyFile::new(seed, keepers.clone(), passphrase)?.save(&key)?;
        made(context, &key, &keepers)
    }
}

impl Place {
    fn keepers(&self) -> Result<Vec<PathBuf>> {
        let mut keepers = Vec::new();
        for path in &self.keeper {
            let path = absolute(path).map_err(local(path))?;
            if keepers.contains(&path) {
                let text = format!("{}: two copies in one directory are one", path.display());
                return Err(BackupError::Failed(text));
            }
            keepers.push(path);
        }
        Ok(keepers)
    }

    fn passphrase(&self, context: &Context) -> Result<Option<zeroize::Zeroizing<String>>> {
        match self.no_passphrase {
            true => Ok(None),
            false => context.secrets.new_passphrase(),
        }
    }
}

pub(super) fn made(context: &Context, key: &Path, keepers: &[PathBuf]) -> Result<Exit> {
    let keepers: Vec<String> = keepers
        .iter()
        .map(|path| path.to_string_lossy().into_owned())
        .collect();
    let text = format!(
        "key file {}; copies in {}",
        key.display(),
        keepers.join(", ")
    );
    let key = key.to_string_lossy().into_owned();
    context.show(&Record::Key { key, keepers }, || text)?;
    Ok(Exit::Done)
}

/// Whether a new phrase can be shown, or goes into a file.
pub(super) fn may_show(file: Option<&Path>) -> Result<()> {
    match file.is_none() && !stdout().is_terminal() {
        true => {
            let text = "no terminal to show the phrase on: --phrase-file FILE";
            Err(BackupError::Failed(text.to_owned()))
        }
        false => Ok(()),
    }
}

/// Puts a new phrase on paper, or into a file.
pub(super) fn save_phrase(seed: &Seed, file: Option<&Path>) -> Result<()> {
    let words = seed.phrase()?;
    match file {
        Some(file) => write_secret(file, format!("{}\n", *words).as_bytes()),
        None => show_phrase(&words),
    }
}

/// Shows the words once and has some of them typed, so that they are on paper.
fn show_phrase(phrase: &str) -> Result<()> {
    let words: Vec<&str> = phrase.split(' ').collect();
    let mut out = stdout().lock();
    let mut text = String::from(
        "These 24 words open your backup when this machine is gone. Write them down now;\n\
         nobody can show them again, and they let anybody read all of it.\n\n",
    );
    for (at, word) in words.iter().enumerate() {
        let end = if at % 6 == 5 { "\n" } else { "" };
        text.push_str(&format!("{:>3} {word:<9}{end}", at + 1));
    }
    text.push('\n');
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(local(Path::new("standard output")))?;
    for at in some_of(words.len())? {
        let mut tries = 0;
        while ask(&format!("word {}: ", at + 1))?.trim() != words[at] {
            tries += 1;
            if tries == TRIES {
                let text = "the words are not on paper; nothing was made";
                return Err(BackupError::Failed(text.to_owned()));
            }
            complain!("tf: that is not word {}: look again", at + 1);
        }
    }
    Ok(())
}

/// Some different places, in their order.
fn some_of(count: usize) -> Result<Vec<usize>> {
    let mut places = Vec::new();
    while places.len() < ASKED_BACK {
        let random =
            getrandom::u32().map_err(|e| BackupError::Failed(format!("no random bytes: {e}")))?;
        let at = random as usize % count;
        if !places.contains(&at) {
            places.push(at);
        }
    }
    places.sort_unstable();
    Ok(places)
}
