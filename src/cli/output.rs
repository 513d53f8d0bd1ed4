//! Lines for people, on standard output.

use std::io::{self, Write};

use jiff::Timestamp;

use crate::client::{ClientError, Kind, Result};

/// Prints lines; a reader that goes away ends it quietly.
///
/// # Errors
/// When standard output can't be written to.
pub(super) fn print(lines: impl IntoIterator<Item = String>) -> Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = lines.into_iter().try_for_each(|line| writeln!(out, "{line}"));
    match written.and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(output_error(e)),
        _ => Ok(()),
    }
}

/// A failure of standard output.
pub(super) fn output_error(source: io::Error) -> ClientError {
    ClientError::Local { path: "standard output".into(), source }
}

/// The letter of a kind, as `ls -l` has it.
pub(super) fn letter(kind: Kind) -> char {
    match kind {
        Kind::File => '-',
        Kind::Directory => 'd',
        Kind::Other => '?',
    }
}

/// A time for people.
pub(super) fn time(seconds: i64) -> String {
    match Timestamp::from_second(seconds) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => seconds.to_string(),
    }
}
