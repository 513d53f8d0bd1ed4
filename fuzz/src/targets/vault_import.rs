//! A database of an original vault server: whatever a file holds, it is read as one,
//! and nothing of it is taken for right that no client could have sent.

use std::io::{Seek, Write};

/// Takes one input.
pub fn run(data: &[u8]) {
    let mut file = tempfile::NamedTempFile::new().expect("file");
    file.write_all(data).expect("write");
    file.rewind().expect("rewind");
    let rows = tfd::vault::read_any_database(file.path());
    assert!(rows <= data.len());
}
