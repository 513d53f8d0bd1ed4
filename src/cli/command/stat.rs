//! `tf stat`.

use super::prelude::*;
use crate::cli::output::{time, word};

/// Show kind, size and times
#[derive(Args)]
#[command(after_help = "Examples:\n  tf stat reports/may.pdf\n  tf stat --json 'reports/*'")]
pub(crate) struct Stat {
    /// Remote paths or patterns
    #[arg(required = true, add = Names::Remote)]
    paths: Vec<RemoteArg>,
}

impl Stat {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let mut printer = Printer::new(context.output.json);
        let done = for_each_path(context, &self.paths, |connection, path| {
            let stat = connection.stat(path)?;
            let record = Record::entry(path, stat.kind, Some(&stat));
            let line = || {
                format!(
                    "{}: {}, {} bytes, changed {}, read {}",
                    shown(path.as_bytes()),
                    word(stat.kind),
                    stat.size,
                    time(stat.modified),
                    time(stat.accessed),
                )
            };
            Ok(printer.show(&record, line)?)
        });
        printer.finish(done)
    }
}
