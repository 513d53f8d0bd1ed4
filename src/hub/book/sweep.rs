//! What time ends: runs without a line, files and copies that never came, deleted files
//! that nobody asks for again.

use rusqlite::params;

use super::{Book, Result, Time, UserId};
use crate::hub::wire::{Kind, Name, RunId};

/// How long a run is kept without its line, in seconds.
const RUN: Time = 3600;

/// How long a copy may be asked for, or is remembered as lost.
const DAY: Time = 86_400;

/// How long a deleted file is remembered.
const DYING: Time = 7 * DAY;

/// How many rows are ended at once.
const MOST: u32 = 1000;

impl Book {
    /// Ends what is over by now; whether there is more of it.
    ///
    /// # Errors
    /// The database's.
    pub fn sweep(&self, now: Time) -> Result<bool> {
        let text = "SELECT id FROM run WHERE touched <= ?1 LIMIT ?2";
        let runs = self.all(text, params![now - RUN, MOST], |row| row.get(0))?;
        for run in &runs {
            self.end_run(RunId(*run))?;
        }
        let asked = self.sweep_asked(now)?;
        let text = "DELETE FROM copy WHERE (owner, name, holder) IN (SELECT owner, name, holder
                    FROM copy WHERE state = 3 AND state <> 2 AND since <= ?1 LIMIT ?2)";
        let lost = self.run(text, params![now - DAY, MOST])?;
        let files = self.sweep_files(now)?;
        let most = usize::try_from(MOST).unwrap_or(usize::MAX);
        Ok([runs.len(), asked, lost, files].contains(&most))
    }

    /// Forgets copies that never came, but those of open runs.
    fn sweep_asked(&self, now: Time) -> Result<usize> {
        let text = "SELECT c.owner, c.name, c.holder, f.size FROM copy c
                    JOIN file f ON f.owner = c.owner AND f.name = c.name
                    WHERE c.state = 1 AND c.state <> 2 AND c.since <= ?1 AND c.run IS NULL LIMIT ?2";
        let read =
            |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
        let rows: Vec<(UserId, [u8; 32], UserId, i64)> =
            self.all(text, params![now - DAY, MOST], read)?;
        for (owner, name, holder, size) in &rows {
            let text = "DELETE FROM copy WHERE owner = ?1 AND name = ?2 AND holder = ?3";
            self.run(text, params![owner, name, holder])?;
            self.count_copy(*owner, *holder, -size)?;
        }
        Ok(rows.len())
    }

    /// Forgets files without copies that were asked for or deleted long ago.
    fn sweep_files(&self, now: Time) -> Result<usize> {
        let text = "SELECT owner, name, kind, state FROM file f
                    WHERE state <> 2 AND (state = 1 AND time <= ?1 OR state = 3 AND time <= ?2)
                    AND NOT EXISTS (SELECT 1 FROM copy c
                                    WHERE c.owner = f.owner AND c.name = f.name AND c.state <> 3)
                    AND NOT EXISTS (SELECT 1 FROM orders o
                                    WHERE o.owner = f.owner AND o.name = f.name)
                    LIMIT ?3";
        let read = |row: &rusqlite::Row<'_>| {
            let name = Name(row.get(1)?);
            Ok((row.get(0)?, name, row.get(2)?, row.get(3)?))
        };
        let with = params![now - DAY, now - DYING, MOST];
        let rows: Vec<(UserId, Name, u8, i64)> = self.all(text, with, read)?;
        for (owner, name, kind, state) in &rows {
            for table in ["copy", "heal", "file"] {
                let text = format!("DELETE FROM {table} WHERE owner = ?1 AND name = ?2");
                self.run(&text, params![owner, name.0])?;
            }
            if *state == 1 && Kind::of(*kind) != Some(Kind::Data) {
                self.count_listed(*owner, -1)?;
            }
        }
        Ok(rows.len())
    }
}
