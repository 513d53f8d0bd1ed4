//! The exchange with other programs: `import` and `export`.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use zeroize::Zeroizing;

use super::Store;
use super::ask::Asker;
use super::record::Record;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::{Printer, complain};
use crate::client::vault::{export, import};

/// The most bytes of a text with entries.
const MAX_TEXT: u64 = 256 << 20;

/// Add the entries of another program
#[derive(Args)]
#[command(
    after_help = "Read are tables of KeePassXC and of browsers (CSV, the first line names the columns)\n\
                  and what Bitwarden exports as JSON without encryption. The file is in the open: remove it."
)]
pub(super) struct Import {
    #[command(flatten)]
    store: Store,
    /// What the other program has written; - for standard input
    #[arg(value_name = "SOURCE")]
    source: PathBuf,
}

impl Import {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let failed = Failure::local(&self.source);
        let mut text = Zeroizing::new(String::new());
        let done = match self.source == Path::new("-") {
            true => std::io::stdin()
                .lock()
                .take(MAX_TEXT)
                .read_to_string(&mut text),
            false => std::fs::File::open(&self.source)
                .and_then(|file| file.take(MAX_TEXT).read_to_string(&mut text)),
        };
        done.map_err(failed)?;
        let about = |why| Failure::Usage(format!("{}: {why}", self.source.display()));
        let asker = Asker::new(context);
        let entries = self.store.change(&asker, |database| {
            import::import(database, &text).map_err(about)
        })?;
        let mut printer = Printer::new(context.output.json);
        printer.show(&Record::Imported { entries }, || {
            format!("{entries} entries")
        })?;
        Ok(printer.flush()?)
    }
}

/// A form of an export.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table in the columns of KeePassXC
    Csv,
    /// All fields
    Json,
    /// All there is, as KeePass exports it
    Xml,
}

/// Print all entries with their secrets
#[derive(Args)]
pub(super) struct Export {
    /// The form
    #[arg(long, value_enum, default_value = "csv")]
    format: Format,
    #[command(flatten)]
    store: Store,
}

impl Export {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let mut file = self.store.open(&Asker::new(context))?;
        let text = match self.format {
            Format::Csv => export::csv(&file.database),
            Format::Json => export::json(&file.database),
            Format::Xml => file.to_xml()?,
        };
        if std::io::stdout().is_terminal() {
            return Err(Failure::usage(
                "secrets do not go to a terminal: redirect them to a file",
            ));
        }
        complain!("tf: what is written is not encrypted: anyone who can read it has all passwords");
        let mut printer = Printer::new(false);
        printer.bytes(text.as_bytes())?;
        Ok(printer.flush()?)
    }
}
