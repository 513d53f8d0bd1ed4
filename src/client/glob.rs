//! Shell patterns of paths, matched against a server's listings.

use glob::{MatchOptions, Pattern};

use super::connect::Connection;
use super::error::Result;
use super::listing::Kind;
use crate::tf::status::Status;

/// Only a pattern that begins with a dot matches a name that does.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// Whether a text contains a special character: `*`, `?`, `[`.
#[must_use]
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Whether a name matches a pattern; an invalid pattern matches only itself.
#[must_use]
pub fn fits(pattern: &str, name: &str) -> bool {
    match Pattern::new(pattern) {
        Ok(pattern) => pattern.matches_with(name, OPTIONS),
        Err(_) => pattern == name,
    }
}

impl Connection {
    /// The paths that match a pattern, sorted. A text without `*`, `?` and `[` is
    /// a path itself, even if it does not exist. Bytes of a name that are not
    /// UTF-8 become U+FFFD: the server then reports that path as missing, so the
    /// name is not skipped silently.
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
                    // A directory that another pattern matched may be gone or closed.
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
