//! Tables as text (RFC 4180), wiped after use.

use zeroize::Zeroizing;

/// A row.
pub type Row = Vec<Zeroizing<String>>;

/// Reads all rows.
///
/// # Errors
/// One line: which quote is not closed.
pub fn parse(text: &str) -> Result<Vec<Row>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut rows = Vec::new();
    let (mut row, mut cell) = (Row::new(), Zeroizing::new(String::new()));
    let mut is_quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, is_quoted) {
            ('"', true) if chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            ('"', true) => is_quoted = false,
            (c, true) => cell.push(c),
            ('"', false) if cell.is_empty() => is_quoted = true,
            (',', false) => row.push(std::mem::take(&mut cell)),
            ('\r', false) if chars.peek() == Some(&'\n') => {}
            ('\n', false) => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            (c, false) => cell.push(c),
        }
    }
    if is_quoted {
        return Err(format!("row {}: a quote is not closed", rows.len() + 1));
    }
    if !cell.is_empty() || !row.is_empty() {
        row.push(cell);
        rows.push(row);
    }
    Ok(rows)
}

/// Appends a row.
pub fn write(out: &mut String, row: &[&str]) {
    for (at, cell) in row.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push('"');
        for c in cell.chars() {
            if c == '"' {
                out.push('"');
            }
            out.push(c);
        }
        out.push('"');
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(table in proptest::collection::vec(proptest::collection::vec("[a,\"\n\r \u{e4}]*", 1..4), 0..4)) {
            let mut text = String::new();
            for row in &table {
                let row: Vec<&str> = row.iter().map(String::as_str).collect();
                write(&mut text, &row);
            }
            let read = parse(&text).expect("read");
            let read: Vec<Vec<String>> = read.into_iter().map(|row| row.iter().map(|cell| cell.to_string()).collect()).collect();
            prop_assert_eq!(read, table);
        }
    }

    #[test]
    fn bare_cells_and_both_ends_of_lines_are_read() {
        let read = parse("\u{feff}a,b c,\"d\"\"e\"\r\n,\nx").expect("read");
        let read: Vec<Vec<&str>> = read
            .iter()
            .map(|row| row.iter().map(|cell| cell.as_str()).collect())
            .collect();
        assert_eq!(read, [vec!["a", "b c", "d\"e"], vec!["", ""], vec!["x"]]);
        assert!(parse("\"a").is_err());
    }
}
