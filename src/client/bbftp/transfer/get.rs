//! Files from the server.

use std::path::Path;

use super::carry::Freight;
use super::put::differs;
use super::{How, Moved};
use crate::bbftp::stream::Direction;
use crate::bbftp::wire::{Code, Options};
use crate::client::bbftp::error::{Error, Result, WRITE};
use crate::client::bbftp::local::{Landing, sha256};
use crate::client::bbftp::observe::Observer;
use crate::client::bbftp::session::Session;

impl Session {
    /// Fetches a file, which appears here whole or not at all, unless
    /// [`Options::TMP`] is off.
    ///
    /// # Errors
    /// What failed, and what may be tried next.
    pub fn get(
        &mut self,
        remote: &[u8],
        local: &Path,
        how: &How,
        observer: &dyn Observer,
    ) -> Result<Moved> {
        match self.version {
            1 => self.get_old(remote, local, how, observer),
            _ => self.get_new(remote, local, how, observer),
        }
    }

    fn get_new(
        &mut self,
        remote: &[u8],
        local: &Path,
        how: &How,
        observer: &dyn Observer,
    ) -> Result<Moved> {
        self.request_transfer(Code::RetrV2, &how.request(), remote)?;
        let agreed = self.read_consent(how, observer)?;
        let landing = match how.simulate {
            true => None,
            false => {
                let created = Landing::create(local, how.options);
                Some(created.inspect_err(|_| self.abort())?)
            }
        };
        let size = agreed.transfer.size;
        let moved = if size == 0 {
            self.send(Code::CreateZero, &[])?;
            Moved::nothing(how.options.has(Options::GZIP))
        } else {
            let freight = Freight {
                file: landing.as_ref().map(|landing| &landing.file),
                direction: Direction::Receive,
                size,
                coding: agreed.coding,
                observer,
            };
            self.carry_agreed(&agreed, how, &freight)?
        };
        if let Some(landing) = landing {
            self.compare(remote, &landing, how)?;
            landing.settle(&agreed.transfer, how.options)?;
        }
        Ok(moved)
    }

    /// Compares what has arrived with the file of the server.
    pub(super) fn compare(&mut self, remote: &[u8], landing: &Landing, how: &How) -> Result<()> {
        if !how.sha256 || !self.offer().sha256 {
            return Ok(());
        }
        let theirs = self.sha256(remote)?;
        let ours = sha256(&landing.file);
        match ours.map_err(|e| Error::reading(&e.into()).with_code(WRITE))? == theirs {
            true => Ok(()),
            false => Err(differs()),
        }
    }
}
