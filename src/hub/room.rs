//! The disk that the hub's database is on, and what the hub keeps for itself there: on a
//! full disk logins, restores and deletions go on, and nothing new is taken.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD};

/// Beneath the store: a file that gives way when the disk is full.
const FILE: &str = "reserve";

/// Its bytes. Changes that are not in the database yet take half of that.
const RESERVE: usize = 16 << 20;

/// With less than this free it gives way.
const LEAST: u64 = 16 << 20;

/// With this free there is room for it again.
const ENOUGH: u64 = 48 << 20;

/// Bytes that are written at once.
const PIECE: usize = 1 << 20;

/// The room on the disk.
#[derive(Debug)]
pub struct Room {
    store: File,
    reserve: PathBuf,
    is_reserved: bool,
}

impl Room {
    /// That of a store. A full disk has room for its database afterwards.
    ///
    /// # Errors
    /// The system's, when it can't be told how full the disk is, or the file can't give way.
    pub fn of(store: &Path) -> io::Result<Room> {
        let reserve = store.join(FILE);
        let mut room = Room {
            is_reserved: reserve.exists(),
            store: File::open(store)?,
            reserve,
        };
        room.keep()?;
        room.is_left();
        Ok(room)
    }

    /// Sees to it that the next change has room, also on a full disk.
    ///
    /// # Errors
    /// As for [`Room::of`].
    pub fn keep(&mut self) -> io::Result<()> {
        if self.is_reserved {
            let free = self.free()?;
            if free < LEAST {
                log::error!(free; "the disk of the hub is full: it takes nothing new until there is room");
                self.give_way()?;
                self.is_reserved = false;
            }
        }
        Ok(())
    }

    /// Whether there is room for what is new.
    pub fn is_left(&mut self) -> bool {
        if !self.is_reserved
            && let Err(e) = self.look()
        {
            log::error!(error:% = e; "the hub can't make room on its disk");
        }
        self.is_reserved
    }

    fn look(&mut self) -> io::Result<()> {
        if self.free()? < ENOUGH {
            return Ok(());
        }
        if let Err(e) = self.take() {
            self.give_way()?;
            return Err(e);
        }
        self.is_reserved = true;
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        let found = rustix::fs::fstatfs(&self.store)?;
        let size = u64::try_from(found.f_bsize).unwrap_or(0);
        Ok(found.f_bavail.saturating_mul(size))
    }

    /// Random bytes: some file systems store no zeros.
    fn take(&self) -> io::Result<()> {
        let mut piece = vec![0; PIECE];
        getrandom::fill(&mut piece).map_err(io::Error::other)?;
        let mut file = File::create(&self.reserve)?;
        for _ in 0..RESERVE / PIECE {
            file.write_all(&piece)?;
        }
        file.sync_all()
    }

    fn give_way(&self) -> io::Result<()> {
        match rustix::fs::unlinkat(CWD, &self.reserve, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}
