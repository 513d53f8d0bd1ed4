//! DATE, UDATE, NDATE, DATEF, DTOF and FTOD (document, same names): the
//! server's clock, and dates to and from timestamps. All in UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::tf::status::{Reply, Status};

/// The form of a date.
const FORM: &str = "%Y-%m-%d %H:%M:%S";

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

/// DTOF: a timestamp in seconds as a date.
///
/// # Errors
/// 26 unless it is a number, with a date from the year 0 to 9999.
pub(crate) fn dtof(timestamp: &[u8]) -> Result<Reply, Status> {
    let seconds: i64 = std::str::from_utf8(timestamp)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(Status::DateRange)?;
    let timestamp = Timestamp::from_second(seconds).map_err(|_| Status::DateRange)?;
    let date = timestamp.to_zoned(TimeZone::UTC).datetime();
    if date.year() < 0 {
        return Err(Status::DateRange);
    }
    Ok(ok(date.strftime(FORM).to_string()))
}

/// FTOD: `yyyy-mm-dd HH:MM:SS`, or a date alone for its midnight, as a
/// timestamp in seconds.
///
/// # Errors
/// 26 unless it is a date.
pub(crate) fn ftod(date: &[u8]) -> Result<Reply, Status> {
    let text = std::str::from_utf8(date).map_err(|_| Status::DateRange)?;
    let text = if text.len() == 10 {
        format!("{text} 00:00:00")
    } else {
        text.to_owned()
    };
    let fits = text.len() == 19
        && text
            .bytes()
            .zip(*b"0000-00-00 00:00:00")
            .all(|(c, form)| match form {
                b'0' => c.is_ascii_digit(),
                separator => c == separator,
            });
    if !fits {
        return Err(Status::DateRange);
    }
    let zoned = DateTime::strptime(FORM, &text)
        .and_then(|date| date.to_zoned(TimeZone::UTC))
        .map_err(|_| Status::DateRange)?;
    Ok(ok(zoned.timestamp().as_second().to_string()))
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
        fn timestamps_come_back_from_dates(seconds in -62_167_219_200i64..253_402_207_200) {
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
            "2020-1-1",
            "",
        ] {
            assert_eq!(ftod(date.as_bytes()), Err(Status::DateRange), "{date}");
        }
        assert_eq!(text(ftod(b"2020-09-13")), Some("1599955200".to_owned()));
    }
}
