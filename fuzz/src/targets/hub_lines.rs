//! Lines of the hub's protocol: what can be read is printed and read again as the same,
//! within the limit, and in whatever pieces the bytes come.

use tfd::hub::wire::{Bad, Line, Lines, MAX_LINE, Token};

/// Takes one input.
pub fn run(data: &[u8]) {
    let [piece, bytes @ ..] = data else {
        return;
    };
    let whole = lines(bytes, bytes.len().max(1));
    assert_eq!(lines(bytes, usize::from(*piece).max(1)), whole);
    for line in whole.into_iter().flatten() {
        let printed = line.print();
        assert!(printed.len() <= MAX_LINE && printed.is_ascii());
        let again = Line::parse(printed.trim_end().as_bytes());
        assert_eq!(again, Ok(line));
    }
    if let Some(token) = Token::of_relay_line(bytes) {
        assert_eq!(token.relay_line(), bytes);
    }
}

/// The lines in these bytes, which come in pieces of a size.
fn lines(bytes: &[u8], piece: usize) -> Vec<Result<Line, Bad>> {
    let mut lines = Lines::default();
    let mut read = Vec::new();
    for piece in bytes.chunks(piece) {
        lines.add(piece);
        while let Some(line) = lines.line() {
            read.push(line);
        }
    }
    read
}
