//! The directories of accounts, which are the roots of their sessions.

use std::path::Path;

use super::book::{Book, Trouble};
use super::import::make_directory;

impl Book {
    pub(super) fn remove_root(&self, account: i64) {
        let root = self.users.join(account.to_string());
        if let Err(e) = std::fs::remove_dir_all(&root)
            && e.kind() != std::io::ErrorKind::NotFound
        {
            log::error!(account, error:% = e; "entries of a deleted account stay");
        }
    }

    /// Moves the entries of an import that was cut to their places, and removes those
    /// of accounts whose deletion was.
    ///
    /// # Errors
    /// The database's.
    pub fn sweep(&mut self) -> Result<(), Trouble> {
        self.settle(None)?;
        self.clear_unlocked_staging().map_err(Trouble::Place)?;
        let Ok(entries) = std::fs::read_dir(&self.users) else {
            return Ok(());
        };
        for entry in entries.flatten() {
            let Some(account) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            let text = "SELECT count(*) FROM accounts WHERE id = ?1";
            let is_there: i64 = self.db.query_row(text, [account], |row| row.get(0))?;
            if is_there == 0 {
                self.remove_root(account);
            }
        }
        Ok(())
    }
}

/// The root of an account's sessions. Without it its login fails, and the log
/// says why.
pub(super) fn make_root(root: &Path) {
    if let Err(e) = make_directory(root) {
        log::error!(error:% = e; "no directory for an account");
    }
}
