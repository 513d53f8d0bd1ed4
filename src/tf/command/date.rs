//! DATE, UDATE, NDATE, DATEF, DTOF and FTOD (document, same names): the
//! server's clock, and dates to and from timestamps. All in UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};

use crate::tf::status::{Reply, Status};

/// The form of a date.
const FORM: &str = "%Y-%m-%d %H:%M:%S";

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn ok(text: String) -> Reply {
    Reply::OkWith(text.into_bytes())
}

/// DATE: seconds since the epoch.
pub(crate) fn date() -> Reply {
    ok(now().as_secs().to_string())
}

/// UDATE: seconds and six digits of microseconds.
pub(crate) fn udate() -> Reply {
    let now = now();
    ok(format!("{}.{:06}", now.as_secs(), now.subsec_micros()))
}

/// NDATE: seconds and nine digits of nanoseconds.
pub(crate) fn ndate() -> Reply {
    let now = now();
    ok(format!("{}.{:09}", now.as_secs(), now.subsec_nanos()))
}

/// DATEF: `yyyy-mm-dd HH:MM:SS` of now.
pub(crate) fn datef() -> Reply {
    ok(Timestamp::now().strftime(FORM).to_string())
}

/// DTOF: a timestamp in seconds as a date; a fraction is dropped.
///
/// # Errors
/// 26 unless it is a number, with a date from the year 0 to 9999.
pub(crate) fn dtof(timestamp: &[u8]) -> Result<Reply, Status> {
    let text = std::str::from_utf8(timestamp).map_err(|_| Status::DateRange)?;
    let seconds = match text.split_once('.') {
        Some((seconds, fraction)) if is_number(fraction) => seconds,
        _ => text,
    };
    let seconds = seconds.parse().map_err(|_| Status::DateRange)?;
    let date = EPOCH
        .checked_add(SignedDuration::from_secs(seconds))
        .map_err(|_| Status::DateRange)?;
    if date.year() < 0 {
        return Err(Status::DateRange);
    }
    Ok(ok(date.strftime(FORM).to_string()))
}

/// FTOD: `yyyy-mm-dd HH:MM:SS` as a timestamp in seconds. The clients' own
/// spellings are read, too: fields of one digit, no seconds, no time at all for
/// midnight, and a space or ` UTC` at the end. Second 60 is the next minute.
///
/// # Errors
/// 26 unless it is a date.
pub(crate) fn ftod(date: &[u8]) -> Result<Reply, Status> {
    let seconds = read_date(date).ok_or(Status::DateRange)?;
    Ok(ok(seconds.to_string()))
}

fn read_date(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let text = text.strip_suffix(" UTC").unwrap_or(text);
    let text = text.trim_end_matches(' ');
    let (day, time) = text.split_once(' ').unwrap_or((text, "0:0"));
    let (year, rest) = day.split_at_checked(4)?;
    let [month, day] = fields(rest.strip_prefix('-')?, '-')?;
    let [hour, minute, second] = match fields(time, ':') {
        Some([hour, minute]) => [hour, minute, 0],
        None => fields(time, ':')?,
    };
    let is_leap = second == 60;
    let year = is_number(year).then(|| year.parse().ok())??;
    let date = DateTime::new(year, month, day, hour, minute, second.min(59), 0).ok()?;
    if second > 60 {
        return None;
    }
    Some(date.duration_since(EPOCH).as_secs() + i64::from(is_leap))
}

/// Fields of one or two digits.
fn fields<const N: usize>(text: &str, separator: char) -> Option<[i8; N]> {
    let mut fields = [0; N];
    let mut parts = text.split(separator);
    for field in &mut fields {
        let part = parts.next()?;
        *field = (is_number(part) && part.len() <= 2).then(|| part.parse().ok())??;
    }
    parts.next().is_none().then_some(fields)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(reply: Result<Reply, Status>) -> Option<String> {
        let bytes = reply.ok()?.into_bytes();
        String::from_utf8(bytes)
            .ok()?
            .strip_prefix("OK ")
            .map(str::to_owned)
    }

    proptest! {
        #[test]
        fn timestamps_come_back_from_dates(seconds in -62_167_219_200i64..253_402_300_800) {
            let date = text(dtof(seconds.to_string().as_bytes())).expect("a date");
            prop_assert_eq!(date.len(), 19);
            prop_assert_eq!(text(ftod(date.as_bytes())), Some(seconds.to_string()));
        }

        #[test]
        fn any_text_is_a_date_or_26(bytes in proptest::collection::vec(any::<u8>(), 0..24)) {
            for reply in [dtof(&bytes), ftod(&bytes)] {
                prop_assert!(reply.is_ok() || reply == Err(Status::DateRange));
            }
        }
    }

    #[test]
    fn days_that_do_not_exist_are_26() {
        for date in [
            "2021-02-29 00:00:00",
            "2020-00-01",
            "2020-01-01 24:00:00",
            "2020-01-01 00:00:61",
            "2020-01-001",
            "20-01-01",
            "2020-01-01 00",
            "2020-01-01T00:00:00",
            "2020-01-01 +0:00:00",
            "2020--1-01",
            "2020-01-01 00:00:00 CET",
            "20é0-01-01",
            " UTC",
            "",
        ] {
            assert_eq!(ftod(date.as_bytes()), Err(Status::DateRange), "{date}");
        }
        assert_eq!(text(ftod(b"2020-09-13")), Some("1599955200".to_owned()));
    }
}
