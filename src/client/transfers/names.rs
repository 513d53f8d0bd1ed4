//! Names that cross from one side to the other: what a server may make us
//! write, what the protocol can say, and the names of parts.

use openssl::sha::sha256;

use crate::client::error::{ClientError, Result};
use crate::hex;

/// How the name of a part begins and ends, on either side.
const PART_PREFIX: &[u8] = b".tf-";
pub(super) const PART_SUFFIX: &[u8] = b".part";

/// What stands between the two paths of a request.
const BAR: &[u8] = b" | ";

/// A path that a server named, beneath the directory it was asked for.
///
/// # Errors
/// `BadName` for one that leads anywhere else: absolute, with `..`, with an
/// empty component or a NUL.
pub(super) fn beneath(path: &[u8]) -> Result<&[u8]> {
    let fine = !path.is_empty()
        && !path.contains(&0)
        && path
            .split(|c| *c == b'/')
            .all(|name| !matches!(name, b"" | b"." | b".."));
    if fine {
        Ok(path)
    } else {
        Err(bad(path, "the server named a path outside the directory"))
    }
}

/// A remote path that can be stored by way of a part beside it.
///
/// # Errors
/// `BadName` for one that RENAM can't name.
pub(super) fn sendable(path: &[u8]) -> Result<()> {
    if directory(path)
        .windows(BAR.len())
        .any(|window| window == BAR)
    {
        return Err(bad(
            path,
            "RENAM takes no path with \" | \" in a directory's name",
        ));
    }
    Ok(())
}

fn bad(path: &[u8], why: &'static str) -> ClientError {
    ClientError::BadName {
        name: path.to_vec(),
        why,
    }
}

/// Whether CHMOD can name it: it splits at the first space.
pub(super) fn can_change_mode(path: &[u8]) -> bool {
    !path.contains(&b' ')
}

/// The name of a part, the same for the same way from source to target. With
/// `version`, parts of one way and different versions differ in their end.
pub(super) fn part_name(way: &[&[u8]], version: &[u8]) -> Vec<u8> {
    let digits = |parts: &[&[u8]]| -> String {
        // Each part's length before it, so that no two lists read alike.
        let bytes: Vec<u8> = parts
            .iter()
            .flat_map(|p| [&p.len().to_be_bytes()[..], p].concat())
            .collect();
        hex::digits(&sha256(&bytes)[..8])
    };
    let mut name = [PART_PREFIX, digits(way).as_bytes()].concat();
    if !version.is_empty() {
        name.extend_from_slice(b"-");
        name.extend_from_slice(&digits(&[version]).as_bytes()[..8]);
    }
    name.extend_from_slice(PART_SUFFIX);
    name
}

/// Whether a name is that of a part.
pub(super) fn is_part(name: &[u8]) -> bool {
    name.strip_prefix(PART_PREFIX)
        .and_then(|rest| rest.strip_suffix(PART_SUFFIX))
        .is_some_and(|digits| digits.len() >= 16 && !digits.contains(&b'.'))
}

/// A name in a directory; `directory` is empty for where one is.
pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() || directory.ends_with(b"/") {
        [directory, name].concat()
    } else {
        [directory, b"/", name].concat()
    }
}

/// The last component of a path, trailing slashes aside.
pub(super) fn last(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|c| *c != b'/').map_or(0, |at| at + 1);
    path[..end]
        .rsplit(|c| *c == b'/')
        .next()
        .unwrap_or_default()
}

/// The directory a path lies in, its slash included; empty for where one is.
pub(super) fn directory(path: &[u8]) -> &[u8] {
    path.iter()
        .rposition(|c| *c == b'/')
        .map_or(&b""[..], |at| &path[..=at])
}

/// The directories a path leads through, the outermost first, and itself.
pub(super) fn levels(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = path
        .iter()
        .enumerate()
        .filter(|(_, c)| **c == b'/')
        .map(|(at, _)| at);
    ends.chain([path.len()]).map(|end| &path[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_can_not_name_a_path_outside() {
        for path in ["a", "a/b", "..a", "a/...", " ", "a\nb"] {
            assert!(beneath(path.as_bytes()).is_ok(), "{path:?}");
        }
        for path in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../a",
            "a/../b",
            "a/..",
            ".",
            "a//b",
            "a\0",
        ] {
            assert!(beneath(path.as_bytes()).is_err(), "{path:?}");
        }
    }

    #[test]
    fn a_part_is_known_by_its_name_and_belongs_to_one_way() {
        let name = part_name(&[b"a", b"bc"], b"");
        assert_eq!(name, part_name(&[b"a", b"bc"], b""));
        assert_ne!(name, part_name(&[b"ab", b"c"], b""));
        assert!(is_part(&name) && is_part(&part_name(&[b"a"], b"version")));
        for other in [
            ".tf-.part",
            ".tf-x.part",
            "tf-0123456789abcdef.part",
            ".tf-0123456789abcdef",
        ] {
            assert!(!is_part(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn paths_come_apart_and_together() {
        assert_eq!(last(b"a/b//"), b"b");
        assert_eq!(last(b"/"), b"");
        assert_eq!(directory(b"a/b"), b"a/");
        assert_eq!(directory(b"b"), b"");
        assert_eq!(join(b"a", b"b"), b"a/b");
        assert_eq!(join(b"", b"b"), b"b");
        assert!(sendable(b"a/b | c").is_ok() && sendable(b"a | b/c").is_err());
    }
}
