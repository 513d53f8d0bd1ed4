//! Which entries of a tree are transferred: rules by name, of which the first
//! that matches decides, and sizes. In the form that rsync and rclone have made
//! known: `*` ends at a slash, `**` does not, a slash at the beginning means
//! the top of the tree, one at the end a directory.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use globset::{GlobBuilder, GlobMatcher};

/// What is transferred of trees.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The first rule that matches an entry decides. An entry without one is
    /// included, unless it is a file and all rules include.
    pub rules: Vec<Rule>,
    /// Smaller files are left as they are.
    pub min_size: Option<u64>,
    /// Larger files are left as they are.
    pub max_size: Option<u64>,
    /// Whether directories are uploaded that listings then hide, as their names
    /// end in `.sd`.
    pub include_secure: bool,
}

/// A pattern, and whether what matches it is included.
#[derive(Clone, Debug)]
pub struct Rule {
    glob: GlobMatcher,
    include: bool,
    is_for_directories: bool,
}

impl Rule {
    /// A rule that includes what matches, or excludes it.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    pub fn new(pattern: &str, include: bool) -> Result<Rule, String> {
        let (body, is_for_directories) = match pattern.strip_suffix('/') {
            Some(body) => (body, true),
            None => (pattern, false),
        };
        if body.is_empty() {
            return Err("an empty pattern".to_owned());
        }
        let whole = match body.strip_prefix('/') {
            Some(from_top) => from_top.to_owned(),
            None => format!("**/{body}"),
        };
        let glob = GlobBuilder::new(&whole)
            .literal_separator(true)
            .backslash_escape(true)
            .build()
            .map_err(|e| format!("{pattern}: {}", e.kind()))?;
        Ok(Rule {
            glob: glob.compile_matcher(),
            include,
            is_for_directories,
        })
    }

    fn matches(&self, path: &[u8], is_directory: bool) -> bool {
        (is_directory || !self.is_for_directories) && self.glob.is_match(OsStr::from_bytes(path))
    }
}

impl Filter {
    /// Whether an entry is excluded by its own path; those of the directories
    /// that it is in are asked for by themselves.
    pub(in crate::client::transfers) fn excludes(&self, path: &[u8], is_directory: bool) -> bool {
        let rule = self
            .rules
            .iter()
            .find(|rule| rule.matches(path, is_directory));
        match rule {
            Some(rule) => !rule.include,
            None => {
                !is_directory
                    && !self.rules.is_empty()
                    && self.rules.iter().all(|rule| rule.include)
            }
        }
    }

    /// Whether a file has another size than those that are transferred.
    pub(in crate::client::transfers) fn excludes_size(&self, size: u64) -> bool {
        self.min_size.is_some_and(|min| size < min) || self.max_size.is_some_and(|max| size > max)
    }
}

/// What becomes of a file that exists at the target.
#[derive(Clone, Debug, Default)]
pub struct Existing {
    /// It stays as it is.
    pub skip: bool,
    /// It stays if it is newer than the source.
    pub update: bool,
    /// It is kept under another name before it is replaced.
    pub backup: Option<Backup>,
}

/// Where an old file is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backup {
    /// Next to the new one, with this at the end of its name.
    Suffix(String),
    /// Under its path in this directory at the target.
    Directory(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(rules: &[&str]) -> Filter {
        let rule = |text: &&str| {
            let (sign, pattern) = text.split_at(1);
            Rule::new(pattern, sign == "+").expect("pattern")
        };
        Filter {
            rules: rules.iter().map(rule).collect(),
            ..Filter::default()
        }
    }

    /// Each row: rules, what they exclude, what not; a directory ends in `/`.
    type Row = (
        &'static [&'static str],
        &'static [&'static str],
        &'static [&'static str],
    );

    const ROWS: &[Row] = &[
        (&[], &[], &["a", "d/", "d/a"]),
        (
            &["-*.tmp"],
            &["x.tmp", "d/e/x.tmp", "tmp.tmp/"],
            &["x", "x.tmpx"],
        ),
        (&["-/a"], &["a", "a/"], &["d/a"]),
        (&["-cache/"], &["cache/", "d/cache/"], &["cache", "caches/"]),
        (
            &["-a/b*"],
            &["a/b", "a/bc", "d/a/b"],
            &["a/c", "b", "a/d/b"],
        ),
        (&["-/a/**"], &["a/b", "a/b/c"], &["a/", "b/a/c"]),
        (&["-d/**/x"], &["d/x", "d/e/x", "d/e/f/x"], &["x", "e/x"]),
        (&["-[ab].txt"], &["a.txt", "d/b.txt"], &["c.txt"]),
        (&["-*.{o,a}"], &["x.o", "lib.a"], &["x.c"]),
        (&["-x?z"], &["xyz"], &["x/z", "xz"]),
        // The first that matches decides.
        (
            &["+keep.log", "-*.log"],
            &["a.log", "d/b.log"],
            &["keep.log", "d/keep.log"],
        ),
        (&["-*.log", "+keep.log"], &["keep.log"], &["a"]),
        (
            &["+*/", "+*.txt", "-*"],
            &["a", "d/a.c"],
            &["d/", "d/a.txt"],
        ),
        // Nothing but what is included; directories are searched.
        (&["+*.txt"], &["a.c", "d/a.c"], &["a.txt", "d/", "d/a.txt"]),
    ];

    #[test]
    fn the_first_rule_that_matches_decides() {
        for (rules, excluded, included) in ROWS {
            let filter = filter(rules);
            let excludes = |path: &str| {
                filter.excludes(path.trim_end_matches('/').as_bytes(), path.ends_with('/'))
            };
            for path in *excluded {
                assert!(excludes(path), "{rules:?}: {path}");
            }
            for path in *included {
                assert!(!excludes(path), "{rules:?}: {path}");
            }
        }
        assert!(filter(&["-\u{fffd}*"]).rules.len() == 1);
        assert!(filter(&["-*"]).excludes(b"\xff", false));
        for odd in ["", "/", "[a", "{a"] {
            assert!(Rule::new(odd, true).is_err(), "{odd}");
        }
    }

    #[test]
    fn sizes_are_limits_that_still_count() {
        let filter = Filter {
            min_size: Some(10),
            max_size: Some(20),
            ..Filter::default()
        };
        let excluded: Vec<u64> = (8..23).filter(|size| filter.excludes_size(*size)).collect();
        assert_eq!(excluded, [8, 9, 21, 22]);
    }
}
