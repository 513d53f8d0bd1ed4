//! Where the log goes, and in which form.

use std::io;
use std::os::fd::OwnedFd;

use log::Level;

use crate::config::Config;
use crate::daemon::helpers::line_file::LineFile;
use crate::ipc::codec::codec;
use crate::logging::{Event, text, timed};
use crate::trusted;

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Time, level and text.
    Text,
    /// Priority and text, for the journal behind standard error.
    Stream,
}

codec!(enum Format { 1 => Text, 2 => Stream });

/// A place to write to.
#[derive(Debug)]
pub struct Output {
    /// A file, or what standard error is.
    pub sink: OwnedFd,
    /// The form of lines there.
    pub format: Format,
}

codec!(struct Output { sink, format });

impl Output {
    /// Opens the place that a configuration names: its file, or else standard error.
    ///
    /// # Errors
    /// One line that says what could not be opened.
    pub(super) fn open(config: &Config, standard_error: &OwnedFd) -> Result<Output, String> {
        if let Some(path) = &config.server.log_file {
            let file = trusted::open_log(path);
            let in_file = |e: io::Error| format!("server.log_file: {}: {e}", path.display());
            let sink = file.map_err(in_file)?.into();
            return Ok(Output {
                sink,
                format: Format::Text,
            });
        }
        let sink = standard_error
            .try_clone()
            .map_err(|e| format!("log: {e}"))?;
        let format = match std::env::var_os("JOURNAL_STREAM") {
            Some(_) => Format::Stream,
            None => Format::Text,
        };
        Ok(Output { sink, format })
    }

    /// The same once more.
    pub(super) fn try_clone(&self) -> io::Result<Output> {
        Ok(Output {
            sink: self.sink.try_clone()?,
            format: self.format,
        })
    }
}

/// Writes lines to an output, and counts those for which it has no room.
pub(super) struct Writer {
    file: LineFile,
    format: Format,
    lost: u64,
}

impl Writer {
    pub(super) fn new(output: Output) -> Writer {
        Writer {
            file: output.sink.into(),
            format: output.format,
            lost: 0,
        }
    }

    /// Writes a line from a process.
    pub(super) fn write(&mut self, from: (&str, u32), event: &Event) {
        let Err(e) = self.put(from, event) else {
            let lost = std::mem::take(&mut self.lost);
            if lost > 0 {
                let event = Event::new(Level::Warn, "log lines lost").with("count", lost);
                self.write(("logger", std::process::id()), &event);
            }
            return;
        };
        // Standard error may be another place.
        if self.lost == 0 {
            log::error!(error:% = e; "log not written");
        }
        self.lost += 1;
    }

    fn put(&mut self, from: (&str, u32), event: &Event) -> io::Result<()> {
        let line = match self.format {
            Format::Text => timed(&jiff::Timestamp::now(), from, event),
            Format::Stream => format!("<{}>{}", priority(event.level()), text(from, event)),
        };
        self.file.write(&format!("{line}\n"))
    }
}

/// The priority of a level in the journal and in syslog.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}
