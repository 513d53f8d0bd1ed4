//! The secrets that the commands of `tf vault` ask for. Those of one run come from the
//! lines of one file or descriptor, in the order of the prompts, or each from the
//! person at the terminal.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::cli::secrets::{Keyring, Source};

/// The most bytes of all lines.
const MAX_BYTES: u64 = 64 * 1024;

/// The account under which the keyring has the password of a file.
const KEYRING_USER: &str = "vault";

/// Who is asked.
pub(super) struct Asker {
    /// Where all lines are.
    file: Option<PathBuf>,
    lines: RefCell<Option<VecDeque<Zeroizing<String>>>>,
    /// What else may have the password of the file.
    source: Source,
    has_keyring: bool,
}

impl Asker {
    /// That of the options.
    pub(super) fn new(context: &Context) -> Asker {
        let settings = &context.directory.options().settings;
        Asker {
            file: settings.password().cloned(),
            lines: RefCell::new(None),
            source: Source {
                command: settings.password_command.clone(),
                ..Source::default()
            },
            has_keyring: settings.password_keyring,
        }
    }

    /// A secret that exists already.
    pub(super) fn secret(&self, what: &str) -> Result<Zeroizing<String>> {
        self.get(what, &Source::default())
    }

    /// The password of a file.
    pub(super) fn password_of(&self, path: &Path) -> Result<Zeroizing<String>> {
        let whole = std::path::absolute(path).map_err(Failure::local(path))?;
        let source = Source {
            keyring: self
                .has_keyring
                .then(|| Keyring::of(&whole.to_string_lossy(), KEYRING_USER)),
            ..self.source.clone()
        };
        self.get(&format!("password of {}", path.display()), &source)
    }

    /// A secret that is new: asked for twice on a terminal.
    pub(super) fn new_secret(&self, what: &str) -> Result<Zeroizing<String>> {
        let secret = self.secret(what)?;
        if secret.is_empty() {
            return Err(Failure::usage(format!("the {what} is empty")));
        }
        if self.file.is_none() && *self.secret(&format!("{what} again"))? != *secret {
            return Err(Failure::usage("the two differ"));
        }
        Ok(secret)
    }

    fn get(&self, what: &str, source: &Source) -> Result<Zeroizing<String>> {
        let Some(file) = &self.file else {
            return source.get(&format!("{what}: ")).map_err(Failure::Usage);
        };
        let mut lines = self.lines.borrow_mut();
        let lines = match &mut *lines {
            Some(lines) => lines,
            none => none.insert(read(file)?),
        };
        lines.pop_front().ok_or_else(|| {
            Failure::Usage(format!(
                "{}: no line is left for the {what}",
                file.display()
            ))
        })
    }
}

fn read(path: &Path) -> Result<VecDeque<Zeroizing<String>>> {
    let failed = Failure::local(path);
    let mut text = Zeroizing::new(String::new());
    let file = File::open(path).map_err(&failed)?;
    file.take(MAX_BYTES)
        .read_to_string(&mut text)
        .map_err(&failed)?;
    Ok(text
        .lines()
        .map(|line| Zeroizing::new(line.to_owned()))
        .collect())
}
