//! Patterns of paths, as shells have them, on what a server lists.

use glob::{MatchOptions, Pattern};

use super::connect::Connection;
use super::error::Result;
use super::listing::Kind;
use crate::tf::status::Status;

/// A name that begins with a dot is fitted only by a pattern that does.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// Whether a text has a character that means more than itself: `*`, `?`, `[`.
#[must_use]
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Whether a name fits a pattern; a pattern that is none fits itself alone.
#[must_use]
pub fn fits(pattern: &str, name: &str) -> bool {
    match Pattern::new(pattern) {
        Ok(pattern) => pattern.matches_with(name, OPTIONS),
        Err(_) => pattern == name,
    }
}

impl Connection {
    /// The paths that fit a pattern, sorted. A text without `*`, `?` and `[`
    /// is a path itself, whether it is there or not. What is no UTF-8 in a name
    /// is U+FFFD: the server then says that the path is missing, and nobody
    /// believes that all was dealt with.
    ///
    /// # Errors
    /// The server's refusal of a directory the pattern names, or the
    /// connection is lost.
    pub fn expand(&mut self, pattern: &str) -> Result<Vec<String>> {
        let mut found = vec![String::new()];
        let parts: Vec<&str> = pattern.split('/').collect();
        for (at, part) in parts.iter().enumerate() {
            let last = at + 1 == parts.len();
            let joint = if at == 0 { "" } else { "/" };
            if !is_pattern(part) {
                found
                    .iter_mut()
                    .for_each(|path| *path = format!("{path}{joint}{part}"));
                continue;
            }
            let mut next = Vec::new();
            for directory in &found {
                let entries = match self.list(directory) {
                    // One that another pattern gave may be gone or closed.
                    Err(e) if e.status().is_some_and(is_passed_over) && at > 0 => continue,
                    other => other?,
                };
                for entry in entries.into_iter().filter(|entry| entry.untold().is_none()) {
                    let name = String::from_utf8_lossy(&entry.path);
                    if fits(part, &name) && (last || entry.kind != Kind::File) {
                        next.push(format!("{directory}{joint}{name}"));
                    }
                }
            }
            next.sort();
            found = next;
        }
        Ok(found)
    }
}

fn is_passed_over(status: Status) -> bool {
    matches!(
        status,
        Status::DirectoryMissing | Status::AccessDenied | Status::DirectoryLocked
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_as_in_a_shell() {
        for (pattern, name, fitting) in [
            ("*.pdf", "a.pdf", true),
            ("*", ".hidden", false),
            (".*", ".hidden", true),
            ("[ab]?", "bx", true),
            ("[ab]?", "cx", false),
            ("a[", "a[", true),
            ("A", "a", false),
        ] {
            assert_eq!(fits(pattern, name), fitting, "{pattern} {name}");
        }
        assert!(is_pattern("a*") && !is_pattern("a"));
    }
}
