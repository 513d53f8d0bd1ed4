//! Numbers of bytes as people write them: 500000, 500K, 20M, 3G, 1T.

/// The bytes that a text means; K, M, G and T are powers of 1024.
pub fn parse(text: &str) -> Option<u64> {
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

#[cfg(test)]
mod tests {
    use super::parse;

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
}
