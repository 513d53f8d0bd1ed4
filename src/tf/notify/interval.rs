//! The interval of STARTNTFY: seconds as a client writes them.

use std::time::Duration;

/// The interval of a client that sends none, or one below zero.
const USUAL: Duration = Duration::from_millis(25);

/// The longest interval, in seconds.
const LONGEST: f64 = 1e9;

/// The longest number, in bytes.
const MAX_TEXT: usize = 64;

/// The interval that a text begins with, `floor` at the least.
pub(super) fn read(text: &[u8], floor: Duration) -> Duration {
    let wanted = number(text).filter(|seconds| *seconds > 0.0);
    wanted
        .map_or(USUAL, |seconds| {
            Duration::from_secs_f64(seconds.min(LONGEST))
        })
        .max(floor)
}

/// The longest start of a text that is a number.
fn number(text: &[u8]) -> Option<f64> {
    let text = text.trim_ascii_start();
    (1..=text.len().min(MAX_TEXT)).rev().find_map(|len| {
        let number: f64 = std::str::from_utf8(&text[..len]).ok()?.parse().ok()?;
        number.is_finite().then_some(number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_seconds_and_what_is_none_is_25_ms() {
        let floor = Duration::from_millis(1);
        for (text, milliseconds) in [
            ("3.3", 3300),
            (" 0.5s", 500),
            ("1.0e-9", 1),
            ("2e", 2000),
            ("", 25),
            ("0", 25),
            ("soon", 25),
            ("inf", 25),
            ("nan", 25),
            ("-1", 25),
            ("1e300", 1_000_000_000_000),
        ] {
            let expected = Duration::from_millis(milliseconds);
            assert_eq!(read(text.as_bytes(), floor), expected, "{text}");
        }
        assert_eq!(
            read(b"0.001", Duration::from_secs(1)),
            Duration::from_secs(1)
        );
    }
}
