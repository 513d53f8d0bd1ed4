//! Sizes and moments as people write them to choose among files.

use std::cmp::Ordering;
use std::str::FromStr;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A comparison with a size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SizeRange {
    order: Ordering,
    size: u64,
}

impl SizeRange {
    /// Whether a size is in it.
    pub(super) fn holds(self, size: u64) -> bool {
        size.cmp(&self.size) == self.order
    }
}

impl FromStr for SizeRange {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<SizeRange, &'static str> {
        let (order, text) = match text.as_bytes().first() {
            Some(b'+') => (Ordering::Greater, &text[1..]),
            Some(b'-') => (Ordering::Less, &text[1..]),
            _ => (Ordering::Equal, text),
        };
        let (digits, shift) = match text.char_indices().next_back() {
            Some((at, 'k' | 'K')) => (&text[..at], 10),
            Some((at, 'M')) => (&text[..at], 20),
            Some((at, 'G')) => (&text[..at], 30),
            Some((at, 'T')) => (&text[..at], 40),
            _ => (text, 0),
        };
        let told = "a size is digits and perhaps K, M, G or T, such as +10M";
        let number: u64 = digits.parse().map_err(|_| told)?;
        let size = number.checked_mul(1 << shift).ok_or("too large")?;
        Ok(SizeRange { order, size })
    }
}

/// Reads a moment: `2026-11-21`, `2026-11-21 10:52`, one with a zone, or
/// `10m`, `5h`, `2d` for as long ago.
///
/// # Errors
/// How to write one.
pub(super) fn moment(text: &str) -> Result<Timestamp, &'static str> {
    let told = "write a day as 2026-11-21, a moment as 2026-11-21T10:52, or 10m, 5h, 2d for ago";
    let seconds = match text.char_indices().next_back() {
        Some((at, 's')) => Some((&text[..at], 1)),
        Some((at, 'm')) => Some((&text[..at], 60)),
        Some((at, 'h')) => Some((&text[..at], 3600)),
        Some((at, 'd')) => Some((&text[..at], 86_400)),
        _ => None,
    };
    if let Some((digits, unit)) = seconds {
        let number: u32 = digits.parse().map_err(|_| told)?;
        let ago = SignedDuration::from_secs(i64::from(number) * unit);
        return Timestamp::now().checked_sub(ago).map_err(|_| told);
    }
    if let Ok(moment) = text.parse() {
        return Ok(moment);
    }
    let civil = text
        .parse::<DateTime>()
        .or_else(|_| text.parse::<Date>().map(DateTime::from));
    let zoned = civil.and_then(|civil| civil.to_zoned(TimeZone::UTC));
    zoned.map(|zoned| zoned.timestamp()).map_err(|_| told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_compared_as_written() {
        let holds = |text: &str, size| text.parse::<SizeRange>().expect(text).holds(size);
        assert!(holds("+1K", 1025) && !holds("+1K", 1024));
        assert!(holds("-1K", 1023) && !holds("-1K", 1024));
        assert!(holds("0", 0) && !holds("0", 1));
        for odd in ["", "+", "K", "1.5M", "1B", "99999999T", "--1"] {
            assert!(odd.parse::<SizeRange>().is_err(), "{odd}");
        }
    }

    #[test]
    fn moments_are_read_in_utc() {
        let seconds = |text| moment(text).expect(text).as_second();
        assert_eq!(seconds("2020-09-13"), 1_599_955_200);
        assert_eq!(seconds("2020-09-13T12:26:40"), 1_600_000_000);
        assert_eq!(seconds("2020-09-13 12:26"), 1_599_999_960);
        assert_eq!(seconds("2020-09-13T14:26:40+02:00"), 1_600_000_000);
        let ago = Timestamp::now().as_second() - seconds("2d");
        assert!((172_800..172_810).contains(&ago), "{ago}");
        for odd in ["", "d", "2", "yesterday", "2020-13-01"] {
            assert!(moment(odd).is_err(), "{odd}");
        }
    }
}
