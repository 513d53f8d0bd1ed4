//! Holders: what they share, from where, and how dependable they are.

use std::net::IpAddr;

use rusqlite::params;

use super::uptime::Uptime;
use super::{Book, Online, Result, Time, UserId, count, int};
use crate::hub::wire::{DEFAULT_PORT, Label, Reply};

/// The bytes of a share that count before any was tested.
const UNTESTED: u64 = 16 << 30;

/// What a holder shares.
#[derive(Clone, Debug)]
pub struct Share<'a> {
    /// In bytes.
    pub size: u64,
    /// The port it listens on.
    pub port: Option<u16>,
    /// A label of its own; copies avoid equal ones.
    pub site: Option<&'a Label>,
}

impl Book {
    /// Takes note of what a holder shares.
    ///
    /// # Errors
    /// `404` for less than others have there; the database's.
    pub fn share(&self, user: UserId, share: &Share<'_>, now: Time) -> Result<()> {
        let text = "SELECT held FROM holder WHERE user = ?1";
        let held = self.find(text, [user], |row| row.get(0))?;
        let used = held.map_or(0, count);
        if share.size < used {
            return Err(Reply::ShareTooSmall { used: Some(used) }.into());
        }
        let text = "INSERT INTO holder (user, share, proved, port, site, uptime, since,
                    latest, proved_since) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?7) ON CONFLICT (user) DO UPDATE
                    SET share = ?2, proved = max(proved, ?3), port = ?4, site = ?5, target = NULL,
                    reach = CASE WHEN port = ?4 THEN reach END";
        let proved = if share.size > 0 { UNTESTED } else { 0 };
        let with = params![
            user,
            int(share.size),
            int(proved),
            share.port.unwrap_or(DEFAULT_PORT),
            share.site.map(Label::as_str),
            Uptime::NONE.to_bytes(),
            now
        ];
        self.run(text, with).map(drop)
    }

    /// Takes note of the address that a holder's line comes from. Whether another one
    /// is reached has to be seen.
    ///
    /// # Errors
    /// The database's.
    pub fn arrived(&self, holder: UserId, address: IpAddr) -> Result<()> {
        let text = "UPDATE holder SET reach = CASE WHEN address = ?2 THEN reach END, address = ?2
                    WHERE user = ?1";
        self.run(text, params![holder, address.to_string()])?;
        Ok(())
    }

    /// Takes note of whether a holder is reached; whether it was not known, or otherwise.
    ///
    /// # Errors
    /// The database's.
    pub fn probed(&self, holder: UserId, is_reached: bool) -> Result<bool> {
        let text = "UPDATE holder SET reach = ?2 WHERE user = ?1 AND reach IS NOT ?2";
        Ok(self.run(text, params![holder, is_reached])? > 0)
    }

    /// Whether a holder is reached; `None` while that is not known.
    ///
    /// # Errors
    /// The database's.
    pub fn is_reached(&self, holder: UserId) -> Result<Option<bool>> {
        let text = "SELECT reach FROM holder WHERE user = ?1";
        Ok(self.find(text, [holder], |row| row.get(0))?.flatten())
    }

    /// The port that a holder listens on.
    ///
    /// # Errors
    /// The database's.
    pub fn port(&self, holder: UserId) -> Result<u16> {
        let text = "SELECT port FROM holder WHERE user = ?1";
        let port = self.find(text, [holder], |row| row.get(0))?;
        Ok(port.unwrap_or(DEFAULT_PORT))
    }

    /// Takes note that these holders are online now: to be called every hour, and for
    /// one that arrives.
    ///
    /// # Errors
    /// The database's.
    pub fn note_online(&self, online: &Online, now: Time) -> Result<()> {
        online
            .iter()
            .try_for_each(|holder| self.note_uptime(*holder, |uptime| uptime.note(now)))
    }

    /// Changes the hours of a holder.
    pub(super) fn note_uptime(
        &self,
        holder: UserId,
        change: impl FnOnce(&mut Uptime),
    ) -> Result<()> {
        let text = "SELECT uptime FROM holder WHERE user = ?1";
        let found: Option<Vec<u8>> = self.find(text, [holder], |row| row.get(0))?;
        if let Some(bytes) = found {
            let mut uptime = Uptime::of(&bytes);
            change(&mut uptime);
            let text = "UPDATE holder SET uptime = ?2 WHERE user = ?1";
            self.run(text, params![holder, uptime.to_bytes()])?;
        }
        Ok(())
    }
}
