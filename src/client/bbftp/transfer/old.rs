//! Transfers of version 1: the server connects, and the request has the ports.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use super::carry::Freight;
use super::{How, Moved};
use crate::bbftp::stream::{Coding, Direction, partition};
use crate::bbftp::wire::{Code, OldTransfer, Options, Transfer};
use crate::client::bbftp::data::{Listeners, Manner};
use crate::client::bbftp::error::{Error, Fate, LENGTH, Result};
use crate::client::bbftp::local::{Landing, Source};
use crate::client::bbftp::observe::Observer;
use crate::client::bbftp::session::Session;

/// The length of RETR_OK.
const SIZE_BYTES: usize = 8;

impl Session {
    pub(super) fn put_old(
        &mut self,
        source: &Source,
        remote: &[u8],
        how: &How,
        observer: &dyn Observer,
    ) -> Result<Moved> {
        let manner = Manner::new(how, Direction::Send, observer);
        let listeners = Listeners::open(self, how.old_streams(), &manner)?;
        let code = match how.old_coding() {
            Coding::Plain => Code::Store,
            Coding::Gzip(_) => Code::StoreC,
        };
        self.request_old(code, remote, source.size, &listeners)?;
        let freight = Freight {
            file: Some(&source.file),
            direction: Direction::Send,
            size: source.size,
            ranges: partition(0..source.size, listeners.ports.len()),
            coding: how.old_coding(),
            observer,
        };
        self.carry_accepted(&listeners, &freight)
    }

    pub(super) fn get_old(
        &mut self,
        remote: &[u8],
        local: &Path,
        how: &How,
        observer: &dyn Observer,
    ) -> Result<Moved> {
        let manner = Manner::new(how, Direction::Receive, observer);
        let listeners = Listeners::open(self, how.old_streams(), &manner)?;
        let code = match how.old_coding() {
            Coding::Plain => Code::Retr,
            Coding::Gzip(_) => Code::RetrC,
        };
        self.request_old(code, remote, 0, &listeners)?;
        let size = self.expect(Code::RetrOk, SIZE_BYTES, observer)?;
        let size = <[u8; SIZE_BYTES]>::try_from(size).map(i64::from_be_bytes);
        let size = size.ok().and_then(|size| u64::try_from(size).ok());
        let Some(size) = size else {
            let text = "The server announces a file without a size";
            return Err(Error::new(LENGTH, Fate::FinalReconnect, text));
        };
        if how.simulate {
            self.abort();
            return Ok(Moved::nothing(false));
        }
        let created = Landing::create(local, how.options);
        let landing = created.inspect_err(|_| self.abort())?;
        let freight = Freight {
            file: Some(&landing.file),
            direction: Direction::Receive,
            size,
            ranges: partition(0..size, listeners.ports.len()),
            coding: how.old_coding(),
            observer,
        };
        let moved = if size == 0 {
            self.send(Code::CreateZero, &[])?;
            Moved::nothing(freight.coding != Coding::Plain)
        } else {
            self.send(Code::RetrStart, &[])?;
            self.carry_accepted(&listeners, &freight)?
        };
        // This version has neither modes nor times.
        let untold = Transfer {
            size,
            ..Transfer::default()
        };
        let options = how.options.without(Options::MODE);
        landing.settle(&untold, options)?;
        Ok(moved)
    }

    fn request_old(
        &mut self,
        code: Code,
        name: &[u8],
        size: u64,
        listeners: &Listeners,
    ) -> Result<()> {
        let address = match self.ends.ours.to_canonical() {
            IpAddr::V4(address) => address,
            IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
        };
        let request = OldTransfer {
            name: name.to_vec(),
            size,
            ports: listeners.ports.clone(),
        };
        let payload = request
            .encode(address)
            .map_err(|e| Error::new(LENGTH, Fate::Final, e.to_string()))?;
        self.send(code, &payload)
    }
}
