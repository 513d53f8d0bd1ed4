//! The users file on disk: who may write it, and changes that leave either the
//! old file or the new one.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};
use zeroize::Zeroizing;

use super::account::{self, Account};
use crate::replace::{Access, replace, sync_above};
use crate::trusted;

/// Reads the accounts of a users file that only its owner may write and only its
/// group may read.
///
/// # Errors
/// Every problem, each with its remedy.
pub fn read(path: &Path) -> Result<Vec<Account>, Vec<String>> {
    let shown = path.display();
    let text = open_checked(path)
        .and_then(|file| read_text(file, path))
        .map_err(|problem| vec![problem])?;
    account::parse(&text).map_err(|problems| {
        problems
            .into_iter()
            .map(|(line, text)| format!("{shown}:{line}: {text}"))
            .collect()
    })
}

/// Opens the file; refuses one that others than root and the calling user may
/// write or read.
fn open_checked(path: &Path) -> Result<File, String> {
    let shown = path.display();
    let file = trusted::open_to_read(path)
        .map_err(|e| format!("{shown}: {e}: add a user with tfd user add"))?;
    check_mode(&file, path)?;
    Ok(file)
}

fn check_mode(file: &File, path: &Path) -> Result<(), String> {
    let shown = path.display();
    let metadata = file.metadata().map_err(|e| format!("{shown}: {e}"))?;
    if !metadata.is_file() {
        return Err(format!("{shown} is not a file"));
    }
    if !trusted::is_ours(file).map_err(|e| format!("{shown}: {e}"))? {
        return Err(format!(
            "{shown} belongs to another user: chown root {shown}"
        ));
    }
    if metadata.mode() & 0o037 != 0 {
        return Err(format!(
            "{shown}: others may read or change it: chmod 600 {shown}"
        ));
    }
    Ok(())
}

/// The text of a file.
fn read_text(mut file: File, path: &Path) -> Result<Zeroizing<String>, String> {
    let shown = path.display();
    let mut bytes = Zeroizing::new(Vec::new());
    file.read_to_end(&mut bytes)
        .map_err(|e| format!("{shown}: {e}"))?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(e) => {
            let line = bytes[..e.valid_up_to()]
                .split(|byte| *byte == b'\n')
                .count();
            Err(format!("{shown}:{line}: not UTF-8: convert the file"))
        }
    }
}

/// Follows links to the file itself, so that a change does not replace a link.
/// Does not check whether the links can be trusted.
fn behind_links(path: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => {
            Ok(path.to_owned())
        }
        other => other,
    }
}

/// The file being changed: locked against other changes until it is dropped.
pub struct Edit {
    path: PathBuf,
    text: Zeroizing<String>,
    _lock: File,
}

impl Edit {
    /// Takes the lock and reads the file; one that is missing is empty.
    ///
    /// # Errors
    /// One line with the reason.
    pub fn begin(path: &Path) -> Result<Edit, String> {
        let shown = path.display();
        let in_file = |e: io::Error| format!("{shown}: {e}");
        let given = path;
        if let Some(e) = trusted::open_to_read(given).err()
            && e.kind() != io::ErrorKind::NotFound
        {
            return Err(in_file(e));
        }
        let path = &behind_links(given).map_err(in_file)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NONBLOCK;
        let lock = trusted::open(&beside(path, ".lock"), flags, Mode::RUSR | Mode::WUSR)
            .map_err(|e| format!("{}: {e}", beside(path, ".lock").display()))?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).map_err(|e| in_file(e.into()))?;
        let text = match trusted::open_to_read(given) {
            Ok(file) => {
                check_mode(&file, path)?;
                read_text(file, path)?
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Zeroizing::default(),
            Err(e) => return Err(in_file(e)),
        };
        Ok(Edit {
            path: path.to_owned(),
            text,
            _lock: lock,
        })
    }

    /// The accounts in the file.
    ///
    /// # Errors
    /// The first problem in it.
    pub fn accounts(&self) -> Result<Vec<Account>, String> {
        account::parse(&self.text).map_err(|problems| {
            let (line, text) = &problems[0];
            format!("{}:{line}: {text}", self.path.display())
        })
    }

    /// The one account of this name, whatever mistakes other lines have.
    ///
    /// # Errors
    /// That there is none, or the problem with its line.
    pub fn account(&self, name: &str) -> Result<Account, String> {
        let mut lines = self.text.lines().enumerate();
        let found = lines.find(|(_, line)| is_line_of(line, name));
        let (index, line) = found.ok_or_else(|| format!("no user {name}: see tfd user list"))?;
        line.parse()
            .map_err(|text| format!("{}:{}: {text}", self.path.display(), index + 1))
    }

    /// Locks the account of this name, or unlocks it, whatever mistakes its line has
    /// behind that.
    ///
    /// # Errors
    /// That there is none, or that it has no password to unlock.
    pub fn set_locked(&mut self, name: &str, locked: bool) -> Result<(), String> {
        let mut is_found = false;
        let mut lines = Vec::new();
        for line in self.text.lines() {
            if !is_line_of(line, name) {
                lines.push(Zeroizing::new(line.to_owned()));
                continue;
            }
            is_found = true;
            let (begin, rest) = line.split_at(name.len() + 1);
            let rest = rest.strip_prefix(account::LOCK).unwrap_or(rest);
            if !locked && rest.starts_with([':', ';']) {
                return Err(format!(
                    "{name} has no password: set one with tfd user passwd first"
                ));
            }
            let lock = if locked { "!" } else { "" };
            lines.push(Zeroizing::new(format!("{begin}{lock}{rest}")));
        }
        if !is_found {
            return Err(format!("no user {name}: see tfd user list"));
        }
        let lines: Vec<&str> = lines.iter().map(|line| line.as_str()).collect();
        self.text = Zeroizing::new(lines.join("\n") + "\n");
        Ok(())
    }

    /// What keeps tfd from reading the file as it is now.
    pub fn problem(&self) -> Option<String> {
        self.accounts().err()
    }

    /// Replaces the account of this name, or adds one at the end.
    pub fn put(&mut self, account: &Account) {
        let new = account.to_string();
        let mut found = false;
        let mut lines: Vec<&str> = Vec::new();
        for line in self.text.lines() {
            if is_line_of(line, &account.name) {
                found = true;
                lines.push(&new);
            } else {
                lines.push(line);
            }
        }
        if !found {
            lines.push(&new);
        }
        self.text = Zeroizing::new(lines.join("\n") + "\n");
    }

    /// Removes an account; whether it existed.
    pub fn remove(&mut self, name: &str) -> bool {
        let kept: Vec<&str> = self
            .text
            .lines()
            .filter(|line| !is_line_of(line, name))
            .collect();
        let removed = kept.len() < self.text.lines().count();
        let end = if kept.is_empty() { "" } else { "\n" };
        self.text = Zeroizing::new(kept.join("\n") + end);
        removed
    }

    /// Writes a new file and replaces the old one with it; after a failure the old
    /// file stays.
    ///
    /// # Errors
    /// One line that says what failed.
    pub fn commit(self) -> Result<(), String> {
        let shown = self.path.display();
        replace(&self.path, self.text.as_bytes(), Access::Kept)
            .map_err(|e| format!("{shown}: {e}: nothing was changed"))?;
        sync_above(&self.path)
            .map_err(|e| format!("{shown}: {e}: changed, but perhaps not on disk"))
    }
}

fn is_line_of(line: &str, name: &str) -> bool {
    line.strip_prefix(name)
        .is_some_and(|rest| rest.starts_with(':'))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn account(line: &str) -> Account {
        line.parse().expect("account")
    }

    #[test]
    fn changes_keep_comments_and_other_lines() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("users");
        let mut edit = Edit::begin(&path).expect("a new file");
        edit.put(&account("ann:!:ann:::"));
        edit.put(&account("annette:!:ann:::"));
        edit.commit().expect("commit");
        let text = fs::read_to_string(&path).expect("read");
        fs::write(&path, format!("# ours\n{text}")).expect("write");

        let mut edit = Edit::begin(&path).expect("edit");
        edit.put(&account("ann:!:bob:::"));
        assert!(edit.remove("annette") && !edit.remove("nobody"));
        edit.commit().expect("commit");
        assert_eq!(
            fs::read_to_string(&path).expect("read"),
            "# ours\nann:!:bob:::\n"
        );
        assert_eq!(
            fs::metadata(&path).expect("stat").permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(read(&path).expect("accounts").len(), 1);
    }

    #[test]
    fn a_change_goes_to_the_file_behind_a_link() {
        let dir = tempfile::tempdir().expect("directory");
        let (file, link) = (dir.path().join("shared"), dir.path().join("users"));
        fs::write(&file, "ann:!:ann:::\n").expect("write");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("mode");
        std::os::unix::fs::symlink("shared", &link).expect("link");
        let mut edit = Edit::begin(&link).expect("edit");
        edit.put(&account("bob:!:bob:::"));
        edit.commit().expect("commit");
        assert!(link.symlink_metadata().expect("stat").is_symlink());
        assert_eq!(read(&file).expect("accounts").len(), 2);

        fs::remove_file(&file).expect("remove");
        assert!(Edit::begin(&link).is_err(), "a link to nothing");
    }

    #[test]
    fn text_that_is_no_utf_8_is_told_with_its_line() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("users");
        fs::write(&path, b"ann:!:ann:::\n# J\xf6rg\n").expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("mode");
        assert!(read(&path).expect_err("refused")[0].contains("users:2: not UTF-8"));
        assert!(
            Edit::begin(&path)
                .err()
                .expect("refused")
                .contains("users:2: not UTF-8")
        );
    }

    #[test]
    fn a_file_that_others_may_change_or_read_is_refused() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("users");
        fs::write(&path, "ann:!:ann:::\n").expect("write");
        for (mode, fine) in [(0o600, true), (0o640, true), (0o660, false), (0o644, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
            assert_eq!(read(&path).is_ok(), fine, "{mode:o}");
            assert_eq!(Edit::begin(&path).is_ok(), fine, "{mode:o}");
        }
        assert!(read(&dir.path().join("none")).is_err());
        assert!(read(dir.path()).is_err());
    }
}
