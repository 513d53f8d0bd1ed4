//! The names of the system's users and groups, read before the root changes:
//! an empty root has no files to look them up in.

use std::collections::HashMap;
use std::io;
use std::path::Path;

/// Names and their numbers as they were when they were read.
#[derive(Clone, Debug, Default)]
pub struct Names {
    users: HashMap<String, u32>,
    groups: HashMap<String, u32>,
}

impl Names {
    /// Reads `/etc/passwd` and `/etc/group`.
    pub fn read() -> io::Result<Names> {
        let table = |path: &str| std::fs::read(Path::new(path)).map(|text| parse(&text));
        Ok(Names {
            users: table("/etc/passwd")?,
            groups: table("/etc/group")?,
        })
    }

    /// The uid of a user by name or number.
    pub fn user(&self, name: &[u8]) -> Option<u32> {
        id(&self.users, name)
    }

    /// The gid of a group by name or number.
    pub fn group(&self, name: &[u8]) -> Option<u32> {
        id(&self.groups, name)
    }
}

/// Lines of `name:password:number:...`; others are ignored.
fn parse(text: &[u8]) -> HashMap<String, u32> {
    let text = String::from_utf8_lossy(text);
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        Some((name.to_owned(), fields.nth(1)?.parse().ok()?))
    };
    text.lines().filter_map(entry).collect()
}

/// The number of a name. A number that isn't also a name stands for itself,
/// except the one that means "unchanged" to the system.
fn id(table: &HashMap<String, u32>, name: &[u8]) -> Option<u32> {
    let name = std::str::from_utf8(name)
        .ok()
        .filter(|name| !name.is_empty())?;
    let number = || {
        let digits = name.bytes().all(|c| c.is_ascii_digit());
        name.parse().ok().filter(|id| digits && *id != u32::MAX)
    };
    table.get(name).copied().or_else(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_found_and_nothing_else() {
        let users = parse(b"root:x:0:0::/:/bin/sh\n# note\n:x:7:\nweb:x:33:\nbad:x:-1:\n");
        let names = Names {
            users,
            ..Names::default()
        };
        assert_eq!(names.user(b"web"), Some(33));
        assert_eq!(names.user(b"1234"), Some(1234));
        for none in ["", "nobody", "bad", "-1", "+5", "4294967295", "4294967296"] {
            assert_eq!(names.user(none.as_bytes()), None, "{none}");
        }
    }
}
