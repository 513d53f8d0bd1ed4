//! Text for people: sizes, digits, and names that are safe to print. Control characters
//! and bytes that are not UTF-8 are escaped, so that a name can neither drive a
//! terminal nor forge a line. JSON for programs, with the same promise.

use std::borrow::Cow;
use std::io;

use nix::errno::Errno;
use serde::Serialize;

/// How alike two words must be for one to be taken for the other misspelt.
const ALIKE: f64 = 0.85;

/// `did you mean WORD? ` with the known word that is most like this one; empty if
/// none is.
pub(crate) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let rated = known
        .into_iter()
        .map(|it| (strsim::jaro_winkler(word, it), it));
    let nearest = rated.max_by(|(one, _), (other, _)| one.total_cmp(other));
    match nearest.filter(|(rate, _)| *rate >= ALIKE) {
        Some((_, nearest)) => format!("did you mean {nearest}? "),
        None => String::new(),
    }
}

/// A name as it is safe to print.
pub(crate) fn shown(name: &[u8]) -> String {
    let mut out = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || is_direction_mark(c) {
                out.extend(c.escape_default());
            } else {
                out.push(c);
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

/// Marks that change the direction of the text around them.
fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A name as text: `\\xNN` for each byte that is not UTF-8.
pub(crate) fn lossy(name: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(name) {
        return text.into();
    }
    let mut out = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        out.push_str(chunk.valid());
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.into()
}

/// What the system says about an error, without its number.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).desc().to_owned(),
        None => error.to_string(),
    }
}

/// A value as one line of JSON.
pub(crate) fn json_line(value: &impl Serialize) -> String {
    let mut line = Vec::with_capacity(256);
    let mut serializer = serde_json::Serializer::with_formatter(&mut line, NoControls);
    // Strings and numbers into memory: neither can fail.
    let _ = value.serialize(&mut serializer);
    line.push(b'\n');
    String::from_utf8(line).unwrap_or_default()
}

/// JSON in which no control character stands as itself: serde_json escapes
/// those of ASCII but DEL.
struct NoControls;

impl serde_json::ser::Formatter for NoControls {
    fn write_string_fragment<W>(&mut self, out: &mut W, text: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        let mut rest = text;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| c.is_control()) {
            write!(out, "{}\\u{:04x}", &rest[..at], u32::from(c))?;
            rest = &rest[at + c.len_utf8()..];
        }
        out.write_all(rest.as_bytes())
    }
}

/// A size with at most three digits and a binary unit.
pub(crate) fn human_size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["K", "M", "G", "T", "P", "E"];
    if bytes < 1000 {
        return bytes.to_string();
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(value < 9.95);
    format!("{value:.digits$}{}", UNITS[unit])
}

/// Two lower-case digits for each byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of pairs of digits, upper-case or lower-case.
pub(crate) fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16);
    let byte = |pair: &[u8]| u8::try_from(digit(pair[0])? << 4 | digit(*pair.get(1)?)?).ok();
    text.chunks(2).map(byte).collect()
}

/// The bytes that a text means; K, M, G and T are powers of 1024.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let (number, shift) = match text.char_indices().last()? {
        (at, 'K') => (&text[..at], 10),
        (at, 'M') => (&text[..at], 20),
        (at, 'G') => (&text[..at], 30),
        (at, 'T') => (&text[..at], 40),
        _ => (text, 0),
    };
    if !number.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// The seconds that a text such as 90s, 10m, 2h or 1d means.
pub(crate) fn parse_span(text: &str) -> Option<u64> {
    let (at, unit) = text.char_indices().last()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    let number = &text[..at];
    let digits = number.bytes().all(|c| c.is_ascii_digit());
    let number = number.parse::<u64>().ok().filter(|_| digits)?;
    number.checked_mul(seconds)
}

/// Rows as lines, each column as wide as its widest cell.
pub(crate) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths);
        let cells = cells.map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        format!("{}\n", line.trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::{parse_size as parse, *};

    #[test]
    fn digits_are_read_back_and_nothing_else_is() {
        assert_eq!(
            unhex(hex(b"\0\x7f\xff").as_bytes()).expect("bytes"),
            b"\0\x7f\xff"
        );
        assert_eq!(unhex(b"fFFf").expect("bytes"), [255; 2]);
        for wrong in ["0", "0g", "+1", "00 0"] {
            assert_eq!(unhex(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn a_name_can_not_drive_the_terminal() {
        assert_eq!(shown(b"a\x1b[2J\nb"), "a\\u{1b}[2J\\nb");
        assert_eq!(shown(b"\xff\xc3\xa9"), "\\xff\u{e9}");
        assert_eq!(shown("a\u{202e}b".as_bytes()), "a\\u{202e}b");
    }

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1.0K"),
            (10_240, "10K"),
            (1_048_576, "1.0M"),
            (u64::MAX, "16E"),
        ] {
            assert_eq!(human_size(bytes), text);
        }
    }

    #[test]
    fn sizes_are_plain_numbers_or_powers_of_1024() {
        assert_eq!(parse("500000"), Some(500_000));
        assert_eq!(parse("3K"), Some(3072));
        assert_eq!(parse("2T"), Some(2 << 40));
        for wrong in [
            "",
            "K",
            "-1",
            "+1",
            "1k",
            "1.5G",
            "1 G",
            "99999999999T",
            "1KK",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn spans_have_a_unit() {
        assert_eq!(parse_span("90s"), Some(90));
        assert_eq!(parse_span("10m"), Some(600));
        assert_eq!(parse_span("2h"), Some(7200));
        assert_eq!(parse_span("1d"), Some(86_400));
        for wrong in [
            "",
            "m",
            "10",
            "-1m",
            "+1m",
            "1.5h",
            "1w",
            "9999999999999999d",
        ] {
            assert_eq!(parse_span(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a", "b", "c"], ["long", "x", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(columns(&rows), "a     b  c\nlong  x\n");
    }
}
