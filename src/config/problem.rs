//! What is wrong with a configuration: file, line, key, and what to do.

use std::path::{Path, PathBuf};

/// One problem, shown on one line: control characters that it quotes are
/// escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    file: PathBuf,
    line: Option<usize>,
    text: String,
}

impl Problem {
    /// A problem of the whole file or of the world it names.
    pub fn new(file: &Path, text: impl Into<String>) -> Problem {
        Problem {
            file: file.to_owned(),
            line: None,
            text: text.into(),
        }
    }

    /// The order of problems: by line, those of the whole file last.
    pub(super) fn place(&self) -> (bool, Option<usize>) {
        (self.line.is_none(), self.line)
    }

    /// A problem on a line, the first being 1.
    pub fn on_line(file: &Path, line: usize, text: impl Into<String>) -> Problem {
        Problem {
            file: file.to_owned(),
            line: Some(line),
            text: text.into(),
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        f.write_str(" ")?;
        for c in self.text.chars() {
            if c.is_control() {
                write!(f, "{}", c.escape_default())?;
            } else {
                write!(f, "{c}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_stays_on_one_line_whatever_it_quotes() {
        let problem = Problem::on_line(Path::new("a"), 3, "\"x\n\u{1b}\u{e9}\" is none");
        assert_eq!(problem.to_string(), "a:3: \"x\\n\\u{1b}\u{e9}\" is none");
    }
}
