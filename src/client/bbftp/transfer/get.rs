//! Files from the server.

use std::path::Path;

use super::carry::Freight;
use super::put::differs;
use super::{How, Moved};
use crate::bbftp::stream::{Direction, partition};
use crate::bbftp::wire::{Code, Options, Transfer};
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
        if self.resumes(how)
            && let Some(begun) = Landing::find(local, how.options)?
            && let Some(moved) = self.get_rest(remote, begun, how, observer)?
        {
            return Ok(moved);
        }
        self.request_transfer(Code::RetrV2, &how.request(), remote)?;
        let agreed = self.read_consent(how, observer)?;
        let landing = match how.simulate {
            true => None,
            false => {
                let created = match self.resumes(how) {
                    true => Landing::begin(local, how.options, &agreed.transfer),
                    false => Landing::create(local, how.options),
                };
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
                ranges: partition(0..size, agreed.transfer.streams as usize),
                coding: agreed.coding,
                observer,
            };
            self.carry_agreed(&agreed, how, &freight)?
        };
        if let Some(landing) = landing {
            self.settle(remote, landing, &agreed.transfer, how)?;
        }
        Ok(moved)
    }

    /// Gives a whole file its name, if it is the server's.
    pub(super) fn settle(
        &mut self,
        remote: &[u8],
        landing: Landing,
        transfer: &Transfer,
        how: &How,
    ) -> Result<()> {
        if how.sha256 && self.offer().sha256 {
            self.compare(remote, &landing, transfer.size)?;
        }
        landing.settle(transfer, how.options)
    }

    fn compare(&mut self, remote: &[u8], landing: &Landing, size: u64) -> Result<()> {
        let theirs = self.ask_patiently(size, |session| session.sha256(remote))?;
        let ours = sha256(&landing.file);
        match ours.map_err(|e| Error::reading(&e.into()).with_code(WRITE))? == theirs {
            true => Ok(()),
            false => {
                landing.forget();
                Err(differs())
            }
        }
    }
}
