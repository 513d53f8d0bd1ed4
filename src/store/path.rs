//! Paths as clients send them, checked once and for all: relative to the
//! root, without `..`, without names that are the server's own. Where a path
//! leads is decided by the kernel, see [`super::Root`].

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// How the name of an upload in progress begins and ends: hidden from clients.
pub const PART_PREFIX: &[u8] = b".tfd-";
/// See [`PART_PREFIX`].
pub const PART_SUFFIX: &[u8] = b".part";
/// How many digits stand between the two.
pub const PART_DIGITS: usize = 32;

/// Whether this is the name under which `tf` sends a file until it is whole: the
/// client's own, which it may see and resume.
pub fn is_upload_part(name: &[u8]) -> bool {
    let middle = name.strip_prefix(b".tf-");
    let middle = middle.and_then(|rest| rest.strip_suffix(PART_SUFFIX));
    let is_hex = |digit: &u8| digit.is_ascii_hexdigit() || *digit == b'-';
    middle.is_some_and(|digits| digits.len() >= 16 && digits.iter().all(is_hex))
}

/// How the name of one begins that stays when its upload is cut.
pub const LASTING_PREFIX: &[u8] = b".tfd-kept-";

/// The longest path the system takes, its final NUL included.
pub const PATH_MAX: usize = 4096;

/// A protocol's rules on names beneath a root. Uploads in progress are hidden by
/// every policy.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Names that no client may use or see, and that no removal takes.
    pub hidden: &'static [&'static [u8]],
    /// The beginning of more such names.
    pub hidden_beginning: Option<&'static [u8]>,
    /// The ending of the names of directories that stay when a directory around
    /// them is removed.
    pub kept_ending: Option<&'static [u8]>,
}

impl Policy {
    /// No rules.
    pub const NONE: Policy = Policy {
        hidden: &[],
        hidden_beginning: None,
        kept_ending: None,
    };

    /// Whether an entry of this name is hidden from clients.
    pub fn hides(&self, name: &[u8]) -> bool {
        self.guards(name) || is_part(name)
    }

    /// Whether no client may use or see this name, and no removal takes it.
    pub fn guards(&self, name: &[u8]) -> bool {
        let begins = |beginning| name.starts_with(beginning);
        self.hidden.contains(&name) || self.hidden_beginning.is_some_and(begins)
    }

    /// Whether a directory of this name stays when one around it is removed.
    pub fn keeps(&self, name: &[u8]) -> bool {
        self.kept_ending
            .is_some_and(|ending| name.ends_with(ending))
    }

    /// The same names hidden, and no directory kept.
    pub fn removing_all(self) -> Policy {
        Policy {
            kept_ending: None,
            ..self
        }
    }
}

/// A path that no client may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("path not allowed")]
pub struct Forbidden;

/// A path beneath the root: names joined by `/`, no empty ones, no `.` and no
/// `..`. The empty path is the root itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RootPath {
    text: Vec<u8>,
    directory: bool,
}

impl RootPath {
    /// The root itself.
    pub fn root() -> RootPath {
        RootPath {
            text: Vec::new(),
            directory: true,
        }
    }

    /// Reads a path as a client sends it: `/a/b`, `a/b` and `//a/./b` are one.
    ///
    /// # Errors
    /// `Forbidden` for a `..`, a NUL byte, a name of the server's own, or a
    /// path longer than the system takes.
    pub fn parse(raw: &[u8], policy: &Policy) -> Result<RootPath, Forbidden> {
        if raw.contains(&0) {
            return Err(Forbidden);
        }
        let mut text = Vec::with_capacity(raw.len());
        for name in raw
            .split(|c| *c == b'/')
            .filter(|n| !n.is_empty() && *n != b".")
        {
            if name == b".." || policy.hides(name) {
                return Err(Forbidden);
            }
            if !text.is_empty() {
                text.push(b'/');
            }
            text.extend_from_slice(name);
        }
        if text.len() >= PATH_MAX {
            return Err(Forbidden);
        }
        let directory = text.is_empty() || raw.ends_with(b"/") || raw.ends_with(b"/.");
        Ok(RootPath { text, directory })
    }

    /// Whether this is the root itself.
    pub fn is_root(&self) -> bool {
        self.text.is_empty()
    }

    /// Whether it was written as a directory's path (`a/`).
    pub fn names_directory(&self) -> bool {
        self.directory
    }

    /// The bytes, without a leading or trailing `/`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// What to hand to the system: `.` for the root.
    pub fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(if self.text.is_empty() {
            b"."
        } else {
            &self.text
        })
    }

    /// The last name; `None` for the root.
    pub fn name(&self) -> Option<&[u8]> {
        self.text
            .rsplit(|c| *c == b'/')
            .next()
            .filter(|n| !n.is_empty())
    }

    /// The directory this lives in; the root for the root.
    pub fn parent(&self) -> RootPath {
        let end = self.text.iter().rposition(|c| *c == b'/').unwrap_or(0);
        RootPath {
            text: self.text[..end].to_vec(),
            directory: true,
        }
    }

    /// The entry of this name in this directory. `name` is one component.
    pub fn join(&self, name: &[u8]) -> RootPath {
        debug_assert!(!name.is_empty() && !name.contains(&b'/'));
        let mut text = self.text.clone();
        if !text.is_empty() {
            text.push(b'/');
        }
        text.extend_from_slice(name);
        RootPath {
            text,
            directory: false,
        }
    }

    /// This path joined with another.
    pub fn joined(&self, rest: &RootPath) -> RootPath {
        if self.is_root() || rest.is_root() {
            return if self.is_root() {
                rest.clone()
            } else {
                self.clone()
            };
        }
        RootPath {
            text: [&self.text, b"/".as_slice(), &rest.text].concat(),
            directory: false,
        }
    }

    /// The names on the way, first to last.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.text.split(|c| *c == b'/').filter(|n| !n.is_empty())
    }

    /// Whether the path ends in these names (the pattern of XCOPY, XCPDIR,
    /// XDEL, XRMDIR). An empty pattern matches nothing.
    pub fn ends_with(&self, pattern: &RootPath) -> bool {
        !pattern.is_root()
            && self
                .text
                .strip_suffix(pattern.text.as_slice())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with(b"/"))
    }
}

impl std::fmt::Display for RootPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "/{}", self.text.escape_ascii())
    }
}

/// Whether this may be the name of an upload in progress.
fn is_part(name: &[u8]) -> bool {
    name.starts_with(PART_PREFIX) && name.ends_with(PART_SUFFIX)
}

/// Whether this is exactly such a name, with [`PART_DIGITS`] hexadecimal digits,
/// which nobody would choose for a file.
pub fn is_own_part(name: &[u8]) -> bool {
    is_part_of(name, PART_PREFIX)
}

/// Whether this is exactly the name of one that stays when its upload is cut.
pub fn is_lasting_part(name: &[u8]) -> bool {
    is_part_of(name, LASTING_PREFIX)
}

fn is_part_of(name: &[u8], prefix: &[u8]) -> bool {
    let middle = name
        .strip_prefix(prefix)
        .and_then(|name| name.strip_suffix(PART_SUFFIX));
    middle.is_some_and(|middle| {
        let digit = |c: &u8| c.is_ascii_digit() || (b'a'..=b'f').contains(c);
        middle.len() == PART_DIGITS && middle.iter().all(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const POLICY: Policy = Policy {
        hidden: &[b"jail.key"],
        hidden_beginning: None,
        kept_ending: None,
    };

    fn path(text: &str) -> RootPath {
        RootPath::parse(text.as_bytes(), &POLICY).expect("allowed")
    }

    #[test]
    fn spellings_of_one_path_are_one() {
        for text in ["a/b", "/a/b", "//a//b", "./a/./b", "a/b/"] {
            assert_eq!(path(text).as_bytes(), b"a/b", "{text}");
        }
        assert!(path("").is_root() && path("/").is_root() && path("./").is_root());
        assert!(path("a/").names_directory() && !path("a").names_directory());
    }

    #[test]
    fn no_path_leads_up_or_to_the_servers_own_files() {
        for text in [
            "..",
            "../x",
            "a/..",
            "a/../b",
            "/..",
            "jail.key",
            "a/jail.key/b",
            "a\0b",
        ] {
            assert_eq!(
                RootPath::parse(text.as_bytes(), &POLICY),
                Err(Forbidden),
                "{text:?}"
            );
        }
        assert_eq!(
            RootPath::parse(b"d/.tfd-00ff.part", &POLICY),
            Err(Forbidden)
        );
        assert_eq!(RootPath::parse(&[b'a'; 4096], &POLICY), Err(Forbidden));
        assert!(RootPath::parse(b"..a/b..", &POLICY).is_ok());
    }

    #[test]
    fn a_pattern_is_whole_names() {
        assert!(path("d1/sub").ends_with(&path("sub")));
        assert!(path("sub").ends_with(&path("/sub/")));
        assert!(path("d4/d2/d2").ends_with(&path("d2/d2")));
        assert!(!path("d1/sub").ends_with(&path("ub")));
        assert!(!path("d1/sub").ends_with(&path("")));
    }

    proptest! {
        #[test]
        fn what_is_allowed_stays_beneath_the_root(raw in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(path) = RootPath::parse(&raw, &POLICY) {
                prop_assert!(path.names().all(|n| n != b".." && n != b"." && !n.contains(&0)));
                prop_assert_eq!(RootPath::parse(path.as_bytes(), &POLICY).map(|p| p.as_bytes().to_vec()),
                    Ok(path.as_bytes().to_vec()));
                if let Some(name) = path.name() {
                    let rejoined = path.parent().join(name);
                    prop_assert_eq!(rejoined.as_bytes(), path.as_bytes());
                }
            }
        }
    }
}
