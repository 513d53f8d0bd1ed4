//! Where the library meets the keepers: its storage, its errors and its log.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use log::{Level, LevelFilter, Log, Metadata, Record};
use rustic_core::{
    BytesList, ErrorKind, FileType, Id, ReadBackend, RusticError, RusticResult, WriteBackend,
};

use super::keeper::{Kind, Name};
use super::keepers::Keepers;

/// What the library reads from and writes to.
#[derive(Clone)]
pub(super) struct Backend(pub(super) std::sync::Arc<Keepers>);

/// The kind of a file. Key files are in exported repositories only.
fn kind(file: FileType) -> RusticResult<Kind> {
    match file {
        FileType::Config => Ok(Kind::Config),
        FileType::Index => Ok(Kind::Index),
        FileType::Snapshot => Ok(Kind::Snapshot),
        FileType::Pack => Ok(Kind::Data),
        FileType::Key => Err(RusticError::new(
            ErrorKind::Unsupported,
            "keepers have no key files",
        )),
    }
}

fn name(file: FileType, id: &Id) -> RusticResult<Name> {
    Ok(Name {
        kind: kind(file)?,
        digits: id.to_hex().to_string(),
    })
}

fn failed(what: &'static str, id: &Id) -> impl FnOnce(std::io::Error) -> Box<RusticError> {
    let id = id.to_hex().to_string();
    move |e| {
        RusticError::new(ErrorKind::Backend, "can't {what} {id}: {why}")
            .attach_context("what", what)
            .attach_context("id", id)
            .attach_context("why", crate::text::reason(&e))
    }
}

impl ReadBackend for Backend {
    fn location(&self) -> String {
        self.0.location()
    }

    fn list_with_size(&self, file: FileType) -> RusticResult<Vec<(Id, u32)>> {
        if file == FileType::Key {
            return Ok(Vec::new());
        }
        let files = self.0.list(kind(file)?).map_err(|e| {
            RusticError::new(ErrorKind::Backend, "can't list files: {why}")
                .attach_context("why", crate::text::reason(&e))
        })?;
        let entry = |(digits, size): (String, u64)| {
            // Longer than any of the repository's: damaged, and found so when read.
            Ok((digits.parse()?, u32::try_from(size).unwrap_or(u32::MAX)))
        };
        files.into_iter().map(entry).collect()
    }

    fn read_full(&self, file: FileType, id: &Id) -> RusticResult<Bytes> {
        self.0.read(&name(file, id)?).map_err(failed("read", id))
    }

    fn read_partial(
        &self,
        file: FileType,
        id: &Id,
        cacheable: bool,
        offset: u32,
        length: u32,
    ) -> RusticResult<Bytes> {
        self.0
            .read_at(&name(file, id)?, cacheable, offset, length)
            .map_err(failed("read", id))
    }

    fn warmup_path(&self, _: FileType, id: &Id) -> String {
        id.to_hex().to_string()
    }
}

impl WriteBackend for Backend {
    fn write_bytes(
        &self,
        file: FileType,
        id: &Id,
        _: bool,
        content: BytesList,
    ) -> RusticResult<()> {
        self.0
            .write(&name(file, id)?, content.slice())
            .map_err(failed("write", id))
    }

    fn remove(&self, file: FileType, id: &Id, _: bool) -> RusticResult<()> {
        self.0
            .remove(&name(file, id)?)
            .map_err(failed("remove", id))
    }
}

/// An error of the library in one line, without its class.
pub(super) fn sentence(error: &RusticError) -> String {
    let text = error.display_log();
    let text = text.strip_prefix("Error: ").unwrap_or(&text);
    let line = text.lines().collect::<Vec<_>>().join(" ");
    match line.split_once(" (kind: ") {
        Some((what, rest)) => {
            let cause = rest.split_once(')').map_or("", |(_, cause)| cause);
            format!("{what}{}", cause.replace("caused by: ", ""))
        }
        None => line,
    }
}

/// The library's warnings, which are the only trace of some failures.
static WARNINGS: Warnings = Warnings(Mutex::new(Vec::new()));

struct Warnings(Mutex<Vec<String>>);

impl Log for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = record.args().to_string();
            let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            lines.push(line);
        }
    }

    fn flush(&self) {}
}

/// Collects warnings from now on.
pub(super) fn collect_warnings() {
    // A second call finds the logger in its place.
    if log::set_logger(&WARNINGS).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
}

/// Those since the last call. Where a filesystem has no extended attributes, each of
/// its files would be one.
pub(super) fn take_warnings() -> Vec<String> {
    let mut lines = WARNINGS.0.lock().unwrap_or_else(PoisonError::into_inner);
    let lines = std::mem::take(&mut *lines);
    let counts = |line: &String| !line.contains("os error 95");
    lines.into_iter().filter(counts).collect()
}
