//! Tab in a shell: the words of the line go to clap's engine, as those of
//! other shells do, and what it offers is quoted as the line needs it.

use std::ffi::OsString;
use std::sync::{Arc, Mutex};

use clap_complete::engine;
use rustyline::completion::{Completer, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context as LineContext, Helper};
use shlex::{Quoter, split};

use super::line::commands;
use crate::cli::complete::Source;
use crate::cli::context::Context;
use crate::text::shown;

/// Completes the lines of a shell.
pub(super) struct Completion(pub(super) Arc<Mutex<Context>>);

impl Completion {
    /// The words that may stand in the place of this one.
    fn words(&self, word: &Partial) -> Vec<String> {
        let is_path = |word: &&String| !word.starts_with('-');
        let source = Source {
            context: Arc::clone(&self.0),
            is_behind_path: word.before.iter().skip(1).any(|word| is_path(&word)),
            is_for_bash: false,
        };
        let words = word.before.iter().chain([&word.text]).map(OsString::from);
        let offered = engine::complete(
            &mut source.attach(commands()),
            words.collect(),
            word.before.len(),
            std::env::current_dir().ok().as_deref(),
        );
        let offered = offered.unwrap_or_default().into_iter();
        let mut offered: Vec<String> = offered
            .filter_map(|offer| offer.get_value().to_str().map(str::to_owned))
            .filter(|offer| is_path(&offer) || word.text.starts_with('-'))
            .filter(|offer| offer != "." && shown(offer.as_bytes()) == *offer)
            .collect();
        offered.sort();
        offered.dedup();
        offered
    }
}

impl Completer for Completion {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _: &LineContext<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let word = partial(&line[..pos]);
        let offered = self.words(&word);
        // In a directory its names are shown alone.
        let name = word.text.rfind(['/', ':']).map_or(0, |at| at + 1);
        let is_only = offered.len() == 1;
        let pair = |offer: String| {
            // A file or a word is complete; a directory or a server leads on.
            let is_complete = is_only && !offer.ends_with(['/', ':']);
            let end = if is_complete { " " } else { "" };
            Pair {
                replacement: quoted(&offer) + end,
                display: offer.get(name..).unwrap_or(&offer).to_owned(),
            }
        };
        Ok((word.start, offered.into_iter().map(pair).collect()))
    }
}

impl Hinter for Completion {
    type Hint = String;
}

impl Highlighter for Completion {}
impl Validator for Completion {}
impl Helper for Completion {}

/// The word a cursor stands in.
#[derive(Debug, PartialEq, Eq)]
struct Partial {
    /// The words before it.
    before: Vec<String>,
    /// Where it begins in the line, in bytes.
    start: usize,
    /// What of it is there, without quotes.
    text: String,
}

/// The word at the end of a line that is being written.
fn partial(line: &str) -> Partial {
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
fn quoted(word: &str) -> String {
    let quoted = Quoter::new().allow_nul(true).quote(word);
    quoted.map_or_else(|_| word.to_owned(), std::borrow::Cow::into_owned)
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
}
