//! Events of transfers as JSON, one object a line on standard output, in the
//! shapes of tf(1), JSON OUTPUT. Transfers continue if nobody reads it; a
//! failure to write is reported when they have ended.

use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cli::failure::Exit;
use crate::cli::wording::sentence;
use crate::client::{ClientError, Event, Operation, Summary};

/// The least time between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(1);

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Line {
    /// All that is to be moved is known.
    Start {
        files: u64,
        bytes: u64,
    },
    /// How far it is, at most once a second.
    Progress {
        bytes: u64,
        bytes_total: u64,
        files: u64,
        files_total: u64,
        bytes_per_second: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        eta_seconds: Option<u64>,
    },
    /// A large file's transfer has begun, or goes on from `from`.
    Begin {
        path: String,
        bytes: u64,
        from: u64,
    },
    /// The digest of a large file's part, or of the whole, is made.
    Verify {
        path: String,
        bytes: u64,
        of: &'static str,
    },
    /// A file is in its place.
    Done {
        path: String,
        bytes: u64,
    },
    /// A remark on an entry.
    Note {
        path: String,
        note: String,
    },
    /// The connection was lost; another attempt follows.
    Retry {
        attempt: u32,
        attempts: u32,
        wait_seconds: f64,
        error: String,
    },
    Sessions {
        error: String,
    },
    /// An entry could not be moved, or, without a path, the run ended.
    Error {
        #[serde(skip_serializing_if = "Option::is_none")]
        path: Option<String>,
        error: String,
        exit: u8,
    },
    /// What a mirror does.
    Mirror {
        operation: &'static str,
        path: String,
    },
    /// The result of the run.
    Summary {
        files: u64,
        bytes: u64,
        unchanged: u64,
        deleted: u64,
        left_out: u64,
        skipped: u64,
        secure: u64,
        failed: u64,
        moved: u64,
        seconds: f64,
    },
}

/// Standard output for events.
pub(super) struct JsonLines {
    progress: Mutex<Instant>,
    out: Arc<Out>,
}

impl JsonLines {
    pub(super) fn new(out: Arc<Out>) -> JsonLines {
        let progress = Mutex::new(Instant::now());
        JsonLines { progress, out }
    }

    fn write(&self, line: &Line) {
        let mut bytes = serde_json::to_vec(line).unwrap_or_default();
        bytes.push(b'\n');
        self.out.line(&bytes);
    }

    /// The failure that ended a run.
    pub(super) fn error(&self, error: &ClientError) {
        self.write(&Line::error(None, error));
    }

    pub(super) fn summary(&self, summary: &Summary, moved: u64, took: Duration) {
        self.write(&Line::Summary {
            files: summary.files,
            bytes: summary.bytes,
            unchanged: summary.unchanged,
            deleted: summary.deleted,
            left_out: summary.left_out,
            skipped: summary.skipped,
            secure: summary.secure,
            failed: summary.failures.len() as u64,
            moved,
            seconds: took.as_secs_f64(),
        });
    }

    /// An event, with the bytes and files that are there and those planned, and
    /// the bytes a second that were moved lately.
    pub(super) fn event(
        &self,
        event: &Event<'_>,
        moved: (u64, u64),
        planned: (u64, u64),
        bytes_per_second: u64,
    ) {
        if let Some(line) = Line::of(event) {
            self.write(&line);
        }
        let mut last = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() < PROGRESS {
            return;
        }
        *last = Instant::now();
        let ((bytes, files), (bytes_total, files_total)) = (moved, planned);
        let left = bytes_total.saturating_sub(bytes);
        self.write(&Line::Progress {
            bytes,
            bytes_total,
            files,
            files_total,
            bytes_per_second,
            eta_seconds: left.checked_div(bytes_per_second),
        });
    }
}

impl Line {
    fn error(path: Option<String>, error: &ClientError) -> Line {
        let exit = Exit::of(error) as u8;
        let error = sentence(error);
        Line::Error { path, error, exit }
    }

    fn of(event: &Event<'_>) -> Option<Line> {
        Some(match *event {
            Event::At { .. } => return None,
            // Once for each digest.
            Event::Checking {
                position: Some(1..),
                ..
            } => return None,
            Event::Checking {
                name,
                size: bytes,
                position,
                ..
            } => Line::Verify {
                path: text(name),
                bytes,
                of: if position.is_some() { "part" } else { "whole" },
            },
            Event::Planned { files, bytes } => Line::Start { files, bytes },
            Event::Begun {
                name,
                size: bytes,
                from,
                ..
            } => Line::Begin {
                path: text(name),
                bytes,
                from,
            },
            Event::Done {
                name, size: bytes, ..
            } => Line::Done {
                path: text(name),
                bytes,
            },
            Event::Failed { name, error, .. } => Line::error(Some(text(name)), error),
            Event::Note { name, what } => Line::Note {
                path: text(name),
                note: what.to_string(),
            },
            Event::Retrying {
                attempt,
                attempts,
                wait,
                error,
            } => Line::Retry {
                attempt,
                attempts,
                wait_seconds: wait.as_secs_f64(),
                error: error.to_string(),
            },
            Event::FewerSessions { error } => Line::Sessions {
                error: error.to_string(),
            },
            Event::Mirror { operation, name } => Line::Mirror {
                operation: word(operation),
                path: text(name),
            },
        })
    }
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

fn word(operation: Operation) -> &'static str {
    match operation {
        Operation::Add => "add",
        Operation::Change => "change",
        Operation::Attributes => "attributes",
        Operation::Delete => "delete",
    }
}

/// Standard output, a line at a time.
#[derive(Default)]
pub(super) struct Out {
    failed: Mutex<Option<io::Error>>,
}

impl Out {
    /// Writes a line, whose end is at its end.
    pub(super) fn line(&self, line: &[u8]) {
        match io::stdout().lock().write_all(line) {
            // The reader has stopped reading.
            Err(e) if e.kind() != ErrorKind::BrokenPipe => {
                self.failed
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get_or_insert(e);
            }
            _ => {}
        }
    }

    /// Why a line could not be written, if one could not.
    pub(super) fn failure(&self) -> Option<io::Error> {
        self.failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}
