//! A line and its words, quoted as for sh: read whole, or up to a cursor.

use shlex::Quoter;

/// The word a cursor stands in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Partial {
    /// The words before it.
    pub(super) before: Vec<String>,
    /// Where it begins in the line, in bytes.
    pub(super) start: usize,
    /// What of it is there, without quotes.
    pub(super) text: String,
}

/// The words of a line; `None` when a quote is not closed.
pub(super) fn split(line: &str) -> Option<Vec<String>> {
    shlex::split(line)
}

/// The word at the end of a line that is being written.
pub(super) fn partial(line: &str) -> Partial {
    let begins_word = |at: usize| {
        let (before, blank) = line[..at].split_at(line[..at].len().saturating_sub(1));
        at == 0 || matches!(blank, " " | "\t") && split(before).is_some()
    };
    let start = (0..=line.len())
        .rev()
        .find(|at| {
            line.is_char_boundary(*at)
                && line.is_char_boundary(at.saturating_sub(1))
                && begins_word(*at)
        })
        .unwrap_or(0);
    let before = split(&line[..start]).unwrap_or_default();
    // Its quote may not be closed yet.
    let text = ["", "'", "\""]
        .iter()
        .find_map(|end| split(&format!("{}{end}", &line[start..])))
        .and_then(|mut words| words.pop());
    Partial {
        before,
        start,
        text: text.unwrap_or_default(),
    }
}

/// A word as it is written in a line.
pub(super) fn quoted(word: &str) -> String {
    let quoted = Quoter::new().allow_nul(true).quote(word);
    quoted.map_or_else(|_| word.to_owned(), std::borrow::Cow::into_owned)
}

/// Whether a line holds what only its writer should know.
pub(super) fn is_private(line: &str) -> bool {
    let line = line.to_ascii_uppercase();
    ["LOGIN ", "INJAIL ", "--HASH"]
        .iter()
        .any(|secret| line.contains(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_under_the_cursor_is_found_in_any_quotes() {
        for (line, before, start, text) in [
            ("", &[][..], 0, ""),
            ("ls", &[], 0, "ls"),
            ("ls ", &["ls"], 3, ""),
            ("ls a b", &["ls", "a"], 5, "b"),
            ("ls 'a b", &["ls"], 3, "a b"),
            ("ls \"a b", &["ls"], 3, "a b"),
            ("ls 'a b'", &["ls"], 3, "a b"),
            ("ls a\\ b", &["ls"], 3, "a b"),
            ("ls a\\ b c", &["ls", "a b"], 8, "c"),
            ("ls é ü", &["ls", "é"], 6, "ü"),
            ("ls é", &["ls"], 3, "é"),
        ] {
            let before = before
                .iter()
                .map(|word: &&str| (*word).to_owned())
                .collect();
            let expected = Partial {
                before,
                start,
                text: text.to_owned(),
            };
            assert_eq!(partial(line), expected, "{line}");
        }
    }

    #[test]
    fn a_quoted_word_is_read_as_it_was() {
        for word in ["a", "a b", "it's", "\"", "$x `y`", "", "a\\b", "#"] {
            assert_eq!(split(&quoted(word)), Some(vec![word.to_owned()]), "{word}");
        }
        assert_eq!(split("a 'b"), None);
    }

    #[test]
    fn what_only_its_writer_should_know_is_noticed() {
        for line in [
            "raw LOGIN ann secret",
            "raw 'login ann x'",
            "raw \"INJAIL t | d\"",
            "ls --hash x",
            "raw 'LOGIN x",
        ] {
            assert!(is_private(line), "{line}");
        }
        for line in ["ls logs", "get a.hash", "put 'in jail'"] {
            assert!(!is_private(line), "{line}");
        }
    }
}
