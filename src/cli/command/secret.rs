//! `tf secret`: secure directories, whose names follow from a passphrase
//! (document, "Secured Directory").

use clap::Subcommand;
use zeroize::Zeroizing;

use super::prelude::*;
use crate::cli::place::Remote;
use crate::cli::secrets::{Source, descriptor};
use crate::client::{Entry, secret_name, secret_token};

/// Directories that can only be found with a passphrase
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf secret make diary\n  tf put may.txt \"$(tf secret path diary)/\"\n  \
                  tf secret ls diary\n  tf secret rm diary\n\n\
                  The directory is DIR/HASH.sd. HASH is the SHA-256 of NAME:PASSPHRASE in hexadecimal,\n\
                  hashed again for each further round. No listing shows it; anyone who knows it can use it."
)]
pub(crate) struct Secret {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make the directory
    Make(Which),
    /// Print its path, without asking the server
    Path(Which),
    /// List its content
    Ls(Which),
    /// Remove it with its content
    Rm(Which),
}

#[derive(Args)]
struct Which {
    /// How often to hash
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    rounds: u32,
    /// A file whose first line is the passphrase [default: ask]
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<std::path::PathBuf>,
    /// An open file descriptor to read the passphrase from
    #[arg(long, value_name = "N", conflicts_with = "passphrase_file", value_parser = descriptor)]
    passphrase_fd: Option<std::path::PathBuf>,
    /// The name to hash with the passphrase
    name: String,
    /// The remote directory it is in [default: the root]
    #[arg(default_value = "", hide_default_value = true, add = Names::Remote)]
    directory: RemoteArg,
}

impl Secret {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        match self.action {
            Action::Make(which) => {
                let found = which.find(context, true)?;
                let connection = context.connection(&found.at.server)?;
                connection.make_directory(&found.at.path)?;
                Ok(connection.touch(&beneath(&found.at.path, &found.token))?)
            }
            Action::Path(which) => {
                let path = which.find(context, false)?.at.path;
                let mut printer = Printer::new(context.output.json);
                printer.show(&Record::SecretDirectory { path: &path }, || {
                    shown(path.as_bytes())
                })?;
                Ok(printer.flush()?)
            }
            Action::Ls(which) => which.find(context, false)?.list(context),
            Action::Rm(which) => {
                let found = which.find(context, false)?;
                let connection = context.connection(&found.at.server)?;
                Ok(connection.remove_secure_directory(&found.token, &found.at.path)?)
            }
        }
    }
}

/// A secure directory, and the name of an entry in it that allows its removal.
struct Found {
    at: Remote,
    token: String,
}

impl Which {
    fn find(self, context: &Context, twice: bool) -> Result<Found> {
        let file = self.passphrase_file.or(self.passphrase_fd);
        let asked = file.is_none();
        let source = Source {
            file,
            ..Source::default()
        };
        let ask = |prompt: &str| source.get(prompt).map_err(Failure::Usage);
        let passphrase: Zeroizing<String> = ask(&format!("Passphrase of {}: ", self.name))?;
        if passphrase.is_empty() {
            return Err(Failure::usage("the passphrase is empty"));
        }
        if twice && asked && *ask("Repeat the passphrase: ")? != *passphrase {
            return Err(Failure::usage("the passphrases differ"));
        }
        let directory = context.resolve(&self.directory)?;
        let name = secret_name(&self.name, &passphrase, self.rounds);
        let path = beneath(&directory.path, &name);
        Ok(Found {
            at: directory.with_path(path),
            token: secret_token(&name),
        })
    }
}

impl Found {
    /// Lists it, without the entry that allows its removal.
    fn list(&self, context: &mut Context) -> Result<()> {
        let mut printer = Printer::new(context.output.json);
        let mut entries = context.connection(&self.at.server)?.list(&self.at.path)?;
        entries.retain(|entry| entry.path != self.token.as_bytes());
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        let untold: Vec<_> = entries.iter().filter_map(Entry::untold).collect();
        entries.retain(|entry| entry.untold().is_none());
        for entry in entries {
            let path = beneath(&self.at.path, &String::from_utf8_lossy(&entry.path));
            printer.show(&Record::entry(&path, entry.kind, None), || {
                shown(&entry.path)
            })?;
        }
        printer.finish(report_all(untold))
    }
}
