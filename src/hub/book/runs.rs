//! Runs: one backup or prune of an owner's machine, from `BCK` to `DBU`. A run that has
//! lost its line can be resumed for an hour.

use rusqlite::params;

use super::{Book, Online, Result, Time, UserId, count, int};
use crate::hub::wire::{Factor, Kind, Reply, RunId};

/// The most open runs of an owner.
const MOST: i64 = 8;

/// The most bytes and files of a run.
const MAX_SIZE: u64 = 1 << 50;
const MAX_FILES: u64 = 1 << 32;

/// After how many seconds a client may ask again.
const LATER: u64 = 60;

/// A run to be, or to be resumed.
#[derive(Clone, Copy, Debug)]
pub struct NewRun {
    /// Its number.
    pub id: RunId,
    /// Whose it is.
    pub owner: UserId,
    /// Bytes of its files, each counted once.
    pub size: u64,
    /// How many files it is to have.
    pub files: u64,
    /// How many copies of each.
    pub factor: Factor,
    /// Whether holders pass copies on.
    pub is_chain: bool,
    /// Whether it stands no other run beside it.
    pub is_exclusive: bool,
}

impl Book {
    /// Begins a run, or resumes it; how many other runs of the owner are open.
    ///
    /// # Errors
    /// `403` without space, `406` without holders, `407` beside others, `504` for the
    /// run of another owner; the database's.
    pub fn begin(&self, new: &NewRun, online: &Online, now: Time) -> Result<u64> {
        let text = "SELECT owner FROM run WHERE id = ?1";
        let owner: Option<UserId> = self.find(text, [new.id.0], |row| row.get(0))?;
        if owner.is_some_and(|owner| owner != new.owner) {
            return Err(Reply::NotAllowed.into());
        }
        let text = "SELECT count(*) FROM run WHERE owner = ?1 AND id <> ?2";
        let others = self.number(text, params![new.owner, new.id.0])?;
        if owner.is_some() {
            self.touch(new.id, now)?;
            return Ok(count(others));
        }
        let text = "SELECT count(*) FROM run WHERE owner = ?1 AND exclusive";
        let is_closed = self.number(text, [new.owner])? > 0;
        if is_closed || others >= MOST || new.is_exclusive && others > 0 {
            return Err(Reply::Later { after: Some(LATER) }.into());
        }
        let bytes = new.size.saturating_mul(u64::from(new.factor.get()));
        let is_too_large = new.size > MAX_SIZE || new.files > MAX_FILES;
        if is_too_large || !self.has_space(new.owner, 0, bytes)? {
            return Err(Reply::NoSpace { hub: None }.into());
        }
        let room = new.size.min(Kind::Data.max_size());
        let holders = self.candidates(new.owner, online, now)?;
        let fitting = holders.iter().filter(|it| it.is_good && it.free >= room);
        if fitting.count() < usize::from(new.factor.get()) {
            return Err(Reply::NoHolder { missing: None }.into());
        }
        let text =
            "INSERT INTO run (id, owner, factor, reserved, chain, exclusive, opened, touched)
                    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)";
        let factor = new.factor.get();
        let (chain, exclusive) = (new.is_chain, new.is_exclusive);
        let with = params![
            new.id.0,
            new.owner,
            factor,
            int(bytes),
            chain,
            exclusive,
            now
        ];
        self.run(text, with)?;
        Ok(count(others))
    }

    /// Takes note that a run has a line: to be called for each from time to time, and
    /// when the line ends.
    ///
    /// # Errors
    /// The database's.
    pub fn touch(&self, run: RunId, now: Time) -> Result<()> {
        let text = "UPDATE run SET touched = ?2 WHERE id = ?1";
        self.run(text, params![run.0, now]).map(drop)
    }

    /// What an open run of this owner has reserved, in bytes, and its factor.
    ///
    /// # Errors
    /// `504` if it is not open; the database's.
    pub(super) fn open_run(&self, run: RunId, owner: UserId) -> Result<(u64, Factor)> {
        let text = "SELECT reserved, factor FROM run WHERE id = ?1 AND owner = ?2";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let found = self.find(text, params![run.0, owner], read)?;
        let (reserved, factor) = found.ok_or(Reply::NotAllowed)?;
        Ok((count(reserved), Factor::new(factor).unwrap_or(Factor::ONE)))
    }

    /// Ends a run whose copies are all there.
    ///
    /// # Errors
    /// `406` with how many are missing, `504` if it is not open; the database's.
    pub fn finish(&self, run: RunId, owner: UserId) -> Result<()> {
        self.open_run(run, owner)?;
        let missing = self.number("SELECT count(*) FROM copy WHERE run = ?1", [run.0])?;
        if missing > 0 {
            let missing = Some(count(missing));
            return Err(Reply::NoHolder { missing }.into());
        }
        self.end_run(run)
    }

    /// Gives a run up. What it has reserved is free; its files stay.
    ///
    /// # Errors
    /// The database's.
    pub fn abort(&self, run: RunId, owner: UserId) -> Result<()> {
        match self.open_run(run, owner) {
            Ok(_) => self.end_run(run),
            Err(trouble) if trouble.code().is_some() => Ok(()),
            Err(trouble) => Err(trouble),
        }
    }

    /// Gives up all runs of an owner whose line, which they end with, is a new one.
    ///
    /// # Errors
    /// The database's.
    pub fn abort_all(&self, owner: UserId) -> Result<()> {
        let text = "SELECT id FROM run WHERE owner = ?1";
        let runs: Vec<[u8; 16]> = self.all(text, [owner], |row| row.get(0))?;
        runs.into_iter()
            .try_for_each(|run| self.end_run(RunId(run)))
    }

    /// Forgets a run.
    pub(super) fn end_run(&self, run: RunId) -> Result<()> {
        self.run("UPDATE copy SET run = NULL WHERE run = ?1", [run.0])?;
        self.run("DELETE FROM run WHERE id = ?1", [run.0]).map(drop)
    }
}
