//! Patterns of names as the shell has them: `*`, `?`, `[...]` and `\`. Each byte
//! is a character, as with the servers before this one.

use glob::{MatchOptions, Pattern};

/// A pattern of one name.
pub struct NamePattern {
    /// `None` where it is one name only.
    pattern: Option<Pattern>,
    text: Vec<u8>,
}

impl NamePattern {
    /// Reads a pattern without `/`. What does not have the form of one is a name.
    pub fn new(text: &[u8]) -> NamePattern {
        let has_wildcards = text.iter().any(|c| b"*?[\\".contains(c));
        let pattern = has_wildcards.then(|| Pattern::new(&translated(text)).ok());
        NamePattern {
            pattern: pattern.flatten(),
            text: text.to_vec(),
        }
    }

    /// Whether it is one name only.
    pub fn is_name(&self) -> bool {
        self.pattern.is_none()
    }

    /// Whether it takes in this name; with `dots_are_plain` also one that begins
    /// with a dot where the pattern does not.
    pub fn matches(&self, name: &[u8], dots_are_plain: bool) -> bool {
        let Some(pattern) = &self.pattern else {
            return self.text == name;
        };
        let options = MatchOptions {
            case_sensitive: true,
            require_literal_separator: false,
            require_literal_leading_dot: !dots_are_plain,
        };
        pattern.matches_with(&characters(name), options)
    }
}

/// Each byte as a character of its own.
fn characters(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// The same pattern in the words of the library, which has `[x]` for `\x`, `[!` for
/// `[^`, and another meaning for `**`.
fn translated(text: &[u8]) -> String {
    let mut out = String::new();
    let mut rest = text.iter().copied().map(char::from).peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' => {
                let literal = rest.next().unwrap_or('\\');
                out.push_str(&Pattern::escape(&literal.to_string()));
            }
            '*' if out.ends_with('*') => {}
            '[' => {
                out.push('[');
                if rest.next_if_eq(&'^').is_some() {
                    out.push('!');
                }
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_in_the_shell() {
        for (pattern, name, expected) in [
            ("*", "f", true),
            ("*", ".f", false),
            (".*", ".f", true),
            ("**", "f", true),
            ("f?", "f1", true),
            ("f?", "f", false),
            ("f[0-9]", "f7", true),
            ("f[!0-9]", "f7", false),
            ("f[^0-9]", "fx", true),
            ("f\\*", "f*", true),
            ("f\\*", "fx", false),
            ("f[", "f[", true),
            ("f", "f", true),
            ("f", "g", false),
            ("*a*a*a*a*a*a*a*a*b", &"a".repeat(200), false),
        ] {
            let is_match = NamePattern::new(pattern.as_bytes()).matches(name.as_bytes(), false);
            assert_eq!(is_match, expected, "{pattern} {name}");
        }
        assert!(NamePattern::new(b"*").matches(b".f", true));
        assert!(NamePattern::new(b"?\xff").matches(b"\xfe\xff", false));
        assert!(NamePattern::new(b"f").is_name() && !NamePattern::new(b"f*").is_name());
    }
}
