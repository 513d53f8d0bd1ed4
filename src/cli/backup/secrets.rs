//! The passphrase and the phrase: from files, or from the person at the terminal.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::Result;
use crate::backup::{BackupError, local};
use crate::cli::secrets::Source;

/// Who is asked.
pub(super) struct Secrets {
    passphrase: Option<PathBuf>,
}

impl Secrets {
    pub(super) fn new(passphrase: Option<PathBuf>) -> Secrets {
        Secrets { passphrase }
    }

    /// The file with the passphrase, so that nobody is asked.
    pub(super) fn file(&self) -> Option<&Path> {
        self.passphrase.as_deref()
    }

    /// The passphrase of a key file.
    pub(super) fn passphrase(&self, key: &Path) -> Result<Zeroizing<String>> {
        self.ask_passphrase(&format!("passphrase of {}: ", key.display()))
    }

    /// A new one, asked for twice. An empty answer means none.
    pub(super) fn new_passphrase(&self) -> Result<Option<Zeroizing<String>>> {
        let prompt = "passphrase of the key file (none if empty): ";
        let passphrase = self.ask_passphrase(prompt)?;
        if passphrase.is_empty() {
            return match &self.passphrase {
                Some(file) => {
                    let text = format!("{}: its first line is empty", file.display());
                    Err(BackupError::Failed(text))
                }
                None => Ok(None),
            };
        }
        let is_asked = self.passphrase.is_none();
        if is_asked && *self.ask_passphrase("the same again: ")? != *passphrase {
            return Err(BackupError::Failed("the two differ".to_owned()));
        }
        Ok(Some(passphrase))
    }

    fn ask_passphrase(&self, prompt: &str) -> Result<Zeroizing<String>> {
        let source = Source {
            file: self.passphrase.clone(),
            ..Source::default()
        };
        source.get(prompt).map_err(BackupError::Failed)
    }
}

/// What a person types.
pub(super) fn ask(prompt: &str) -> Result<Zeroizing<String>> {
    Source::default().get(prompt).map_err(BackupError::Failed)
}

/// The phrase, on as many lines of a file as it takes.
pub(super) fn phrase(file: Option<&Path>) -> Result<Zeroizing<String>> {
    match file {
        Some(file) => {
            let text = std::fs::read_to_string(file).map_err(local(file))?;
            Ok(Zeroizing::new(text))
        }
        None => ask("the 24 words: "),
    }
}
