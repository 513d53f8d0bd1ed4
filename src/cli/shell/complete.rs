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

use super::line::commands;
use super::words::{Partial, partial, quoted};
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
