//! Copies of a hub's database: written while the hub serves, and taken where there is
//! none.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::super::book::{Book, Rules};
use super::super::broker::process::FILE;

/// The copy on its way, beneath the store.
const PART: &str = "/copy.part";

/// Writes the database as it is now to a file.
pub(super) fn dump(book: &Book, mut to: &File) -> Result<String, String> {
    remove_part()?;
    let dumped = book.dump(Path::new(PART)).map_err(|e| e.to_string());
    let copied = dumped.and_then(|()| {
        let copied = File::open(PART).and_then(|mut part| {
            io::copy(&mut part, &mut to)?;
            to.sync_all()
        });
        copied.map_err(|e| format!("dump: {e}"))
    });
    remove_part()?;
    copied.map(|()| String::new())
}

/// Takes a copy as the database, if it is whole and of this hub.
pub(super) fn restore(rules: &Rules, mut from: &File, now: i64) -> Result<String, String> {
    let file = Path::new("/").join(FILE);
    if file.exists() {
        return Err(format!(
            "{FILE}: there is one: stop tfd, and move it and its -wal out of the way"
        ));
    }
    remove_part()?;
    let taken = (|| {
        let in_part = |e: io::Error| format!("restore: {e}");
        let mut part = File::create_new(PART).map_err(in_part)?;
        io::copy(&mut from, &mut part)
            .and_then(|_| part.sync_all())
            .map_err(in_part)?;
        let wrong = "restore: not a whole database of this hub";
        let book = Book::open(Path::new(PART), rules.clone(), now);
        let book = book.map_err(|e| format!("{wrong}: {e}"))?;
        let is_whole = book.is_whole().map_err(|e| format!("{wrong}: {e}"))?;
        if !is_whole {
            return Err(wrong.to_owned());
        }
        drop(book);
        fs::rename(PART, &file).map_err(in_part)?;
        let directory = File::open("/").and_then(|directory| directory.sync_all());
        directory.map_err(in_part)
    })();
    if taken.is_err() {
        remove_part()?;
    }
    taken.map(|()| String::new())
}

/// Removes what an earlier command has left.
fn remove_part() -> Result<(), String> {
    for end in ["", "-wal", "-shm", "-journal"] {
        match fs::remove_file(format!("{PART}{end}")) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(format!("{PART}: {e}")),
            _ => {}
        }
    }
    Ok(())
}
