//! Text for people: sizes, and names that are safe to print. Control characters
//! and bytes that are not UTF-8 are escaped, so that a name can neither drive a
//! terminal nor forge a line.

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
