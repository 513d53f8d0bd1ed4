//! LS of a large directory.

use std::time::Instant;

use crate::Figure;
use crate::server::{enter, target};

/// Entries per second, read and taken apart.
pub(crate) fn per_second(path: &str) -> Figure {
    let mut connection = enter(&target()?)?;
    let begin = Instant::now();
    let entries = connection.list(path)?;
    let seconds = begin.elapsed().as_secs_f64();
    connection.end()?;
    Ok(format!("{:.0}", entries.len() as f64 / seconds))
}
