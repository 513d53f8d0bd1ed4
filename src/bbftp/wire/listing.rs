//! Answers to requests for listings.

use super::error::{Result, WireError};

/// Names as version 1 lists them, each with a NUL behind it.
pub fn encode_names<'a>(names: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut payload = Vec::new();
    for name in names {
        payload.extend_from_slice(name);
        payload.push(0);
    }
    payload
}

/// # Errors
/// `Field` for an empty name, or a last one without its NUL.
pub fn decode_names(payload: &[u8]) -> Result<Vec<Vec<u8>>> {
    strings(payload)?
        .map(|name| match name {
            [] => Err(WireError::Field("name")),
            name => Ok(name.to_vec()),
        })
        .collect()
}

/// What an entry of a listing is. A link counts as what it points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// Anything else.
    File,
    /// A link to nothing.
    Nothing,
}

/// An entry of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path, which begins as the pattern did.
    pub path: Vec<u8>,
    /// Whether it is a symbolic link.
    pub is_link: bool,
    /// What it is, or what the link points to.
    pub kind: Kind,
}

/// Entries as versions 2 and 3 list them: the path, two letters, a NUL behind
/// either.
pub fn encode_listing(entries: &[Entry]) -> Vec<u8> {
    let mut payload = Vec::new();
    for entry in entries {
        let kind = match entry.kind {
            Kind::Directory => b'd',
            Kind::File => b'f',
            Kind::Nothing => b'u',
        };
        let link = if entry.is_link { b'l' } else { b' ' };
        payload.extend_from_slice(&entry.path);
        payload.extend_from_slice(&[0, link, kind, 0]);
    }
    payload
}

/// # Errors
/// `Field` where a path or its letters are missing.
pub fn decode_listing(payload: &[u8]) -> Result<Vec<Entry>> {
    let mut strings = strings(payload)?;
    let mut entries = Vec::new();
    while let Some(path) = strings.next() {
        let (is_link, kind) = match (path, strings.next()) {
            (&[_, ..], Some(&[link @ (b'l' | b' '), kind])) => (link == b'l', kind),
            _ => return Err(WireError::Field("entry")),
        };
        entries.push(Entry {
            path: path.to_vec(),
            is_link,
            kind: match kind {
                b'd' => Kind::Directory,
                b'f' => Kind::File,
                b'u' => Kind::Nothing,
                _ => return Err(WireError::Field("entry")),
            },
        });
    }
    Ok(entries)
}

/// Strings with a NUL behind each.
fn strings(payload: &[u8]) -> Result<impl Iterator<Item = &[u8]>> {
    let strings = match payload {
        [] => None,
        [strings @ .., 0] => Some(strings),
        _ => return Err(WireError::Field("end of a string")),
    };
    Ok(strings
        .into_iter()
        .flat_map(|strings| strings.split(|byte| *byte == 0)))
}
