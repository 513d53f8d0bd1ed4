//! DATE, UDATE, NDATE, DATEF, DTOF and FTOD: the server's clock, and dates to
//! and from timestamps. All in UTC.

use crate::tf::status::{Reply, Status};

/// DATE: seconds since the epoch.
pub(crate) fn date() -> Reply {
    Reply::Unknown
}

/// UDATE: seconds and six digits of microseconds.
pub(crate) fn udate() -> Reply {
    Reply::Unknown
}

/// NDATE: seconds and nine digits of nanoseconds.
pub(crate) fn ndate() -> Reply {
    Reply::Unknown
}

/// DATEF: `yyyy-mm-dd HH:MM:SS` of now.
pub(crate) fn datef() -> Reply {
    Reply::Unknown
}

/// DTOF: a timestamp as a date.
pub(crate) fn dtof(timestamp: &[u8]) -> Result<Reply, Status> {
    let _ = timestamp;
    Err(Status::DateRange)
}

/// FTOD: a date as a timestamp.
pub(crate) fn ftod(date: &[u8]) -> Result<Reply, Status> {
    let _ = date;
    Err(Status::DateRange)
}
