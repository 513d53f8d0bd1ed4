//! Where the log goes, and in which form.

use std::io;
use std::os::fd::OwnedFd;

use log::Level;

use super::{journal, json};
use crate::config::{Config, LogFormat};
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
    /// A JSON object.
    Json,
    /// A datagram of the journal's own protocol.
    Journal,
}

codec!(enum Format { 1 => Text, 2 => Stream, 3 => Json, 4 => Journal });

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
        let server = &config.server;
        let is_stream = server.log_file.is_none() && std::env::var_os("JOURNAL_STREAM").is_some();
        let format = match server.log_format {
            LogFormat::Journal => Format::Journal,
            LogFormat::Json => Format::Json,
            LogFormat::Text if is_stream => Format::Stream,
            LogFormat::Text => Format::Text,
        };
        let sink = match &server.log_file {
            _ if format == Format::Journal => journal::connect()?,
            Some(path) => {
                let file = trusted::open_log(path);
                let in_file = |e: io::Error| format!("server.log_file: {}: {e}", path.display());
                file.map_err(in_file)?.into()
            }
            None => {
                let copy = standard_error.try_clone();
                copy.map_err(|e| format!("log: {e}"))?
            }
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
        let now = jiff::Timestamp::now();
        let line = match self.format {
            Format::Text => format!("{}\n", timed(&now, from, event)),
            Format::Stream => format!("<{}>{}\n", priority(event.level()), text(from, event)),
            Format::Json => json::line(&now, from, event),
            Format::Journal => return self.file.write_whole(&journal::datagram(from, event)),
        };
        self.file.write(&line)
    }
}

/// The priority of a level in the journal and in syslog.
pub(super) fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}
