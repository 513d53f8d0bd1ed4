//! Lines of the hub's protocol: what can be read is printed and read again as the same,
//! within the limit, and in whatever pieces the bytes come. In version 1.0, which has no
//! numbers and no named parameters, what can be read is what version 1.1 reads, too.

use tfd::hub::base::{self, Heard};
use tfd::hub::wire::{Bad, Line, Lines, MAX_LINE, Message, Token};

/// Takes one input.
pub fn run(data: &[u8]) {
    let [piece, bytes @ ..] = data else {
        return;
    };
    let piece = usize::from(*piece).max(1);
    let whole = lines(bytes, bytes.len().max(1), Line::parse);
    assert_eq!(lines(bytes, piece, Line::parse), whole);
    for line in whole.into_iter().flatten().flatten() {
        let printed = line.print();
        assert!(printed.len() <= MAX_LINE && printed.is_ascii());
        let again = Line::parse(printed.trim_end().as_bytes());
        assert_eq!(again.as_ref(), Ok(&line));
        is_bare(&line);
    }
    let whole = lines(bytes, bytes.len().max(1), base::read);
    assert_eq!(lines(bytes, piece, base::read), whole);
    for heard in whole.into_iter().flatten() {
        let message = match heard {
            Heard::Request(request) => Message::Request(request),
            Heard::Answer(message) => message,
            Heard::BadAnswer | Heard::Bad => continue,
        };
        let line = Line { id: None, message };
        let printed = line.print();
        assert_eq!(Line::parse(printed.trim_end().as_bytes()), Ok(line));
    }
    if let Some(token) = Token::of_relay_line(bytes) {
        assert_eq!(token.relay_line(), bytes);
    }
}

/// In version 1.0 a line is printed without anything that has a name.
fn is_bare(line: &Line) {
    let printed = base::print(line);
    let has_name = matches!(&line.message, Message::Reply(_)) && printed.contains(';');
    assert!(!has_name && printed.len() <= MAX_LINE && printed.ends_with("\r\n"));
    if let Message::Request(request) = &line.message {
        let words = printed.trim_end().split(' ').count();
        assert_eq!(words, 1 + request.values().len());
    }
}

/// The lines in these bytes, which come in pieces of a size.
fn lines<T>(bytes: &[u8], piece: usize, read: fn(&[u8]) -> T) -> Vec<Result<T, Bad>> {
    let mut lines = Lines::default();
    let mut all = Vec::new();
    for piece in bytes.chunks(piece) {
        lines.add(piece);
        while let Some(line) = lines.line_by(read) {
            all.push(line);
        }
    }
    all
}
