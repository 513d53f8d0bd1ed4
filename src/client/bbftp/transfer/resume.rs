//! Transfers that continue where an earlier one was cut, with tfd.

use std::ops::Range;
use std::os::fd::AsFd;

use super::carry::Freight;
use super::put::request;
use super::{Agreed, How, Moved};
use crate::bbftp::stream::{Direction, kept};
use crate::bbftp::wire::extension::{MAX_PAYLOAD, Missing, RetrFrom, StoreFrom, TransOkFrom};
use crate::bbftp::wire::{Code, Options, Transfer};
use crate::client::bbftp::error::{Error, Fate, OPEN, Result, UNKNOWN};
use crate::client::bbftp::local::{Landing, Source};
use crate::client::bbftp::observe::Observer;
use crate::client::bbftp::session::Session;

impl Session {
    /// Whether a transfer can be continued: what has come by two is compared with
    /// what the server has.
    pub(super) fn resumes(&self, how: &How) -> bool {
        let offer = self.offer();
        how.resume && !how.simulate && offer.resume && offer.sha256
    }

    /// Fetches what is missing of a file; none where the server has another file
    /// by now.
    pub(super) fn get_rest(
        &mut self,
        remote: &[u8],
        (landing, was): (Landing, Transfer),
        how: &How,
        observer: &dyn Observer,
    ) -> Result<Option<Moved>> {
        let wanted = how.request();
        let gaps = kept::missing(&landing.file, was.size);
        let missing = kept::divide(gaps, wanted.streams as usize);
        let request = RetrFrom {
            transfer: Transfer {
                size: was.size,
                modified: was.modified,
                ..wanted
            },
            missing: missing.clone(),
            name: remote,
        };
        self.send(Code::RetrFrom, &request.encode())?;
        let rest = match self.read_rest(how, observer) {
            Ok(rest) => rest,
            Err(e) if e.fate == Fate::Final => {
                landing.forget();
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        let agreed = rest.agreed;
        if rest.missing != missing || agreed.transfer.size != was.size {
            self.abort();
            landing.forget();
            return Ok(None);
        }
        let freight = Freight {
            file: Some(&landing.file),
            direction: Direction::Receive,
            size: was.size,
            ranges: rest.ranges,
            coding: agreed.coding,
            observer,
        };
        let moved = self.carry_agreed(&agreed, how, &freight)?;
        let checked = How {
            sha256: true,
            ..how.clone()
        };
        self.settle(remote, landing, &agreed.transfer, &checked)?;
        Ok(Some(moved))
    }

    /// Sends what the server lacks of a file, if what it has is of this one, and
    /// else all of it.
    pub(super) fn put_rest(
        &mut self,
        source: &Source,
        remote: &[u8],
        how: &How,
        observer: &dyn Observer,
    ) -> Result<Moved> {
        let mut request = StoreFrom {
            transfer: request(source, how),
            name: remote,
        };
        let mut rest = self.ask_rest(source, &request, how, observer)?;
        if !rest.is_of(source)? {
            self.abort();
            request.transfer.options = request.transfer.options | Options::AFRESH;
            rest = self.ask_rest(source, &request, how, observer)?;
            if rest.kept.is_some() || !rest.is_of(source)? {
                self.abort();
                let text = "The server keeps what it was to throw away";
                return Err(Error::new(UNKNOWN, Fate::FinalReconnect, text));
            }
        }
        let freight = Freight {
            file: Some(&source.file),
            direction: Direction::Send,
            size: source.size,
            ranges: rest.ranges,
            coding: rest.agreed.coding,
            observer,
        };
        let moved = self.carry_agreed(&rest.agreed, how, &freight)?;
        match source.is_unchanged() {
            true => Ok(moved),
            false => {
                let text = "The file was changed during the transfer";
                Err(Error::new(OPEN, Fate::Again, text))
            }
        }
    }

    /// Asks what the server lacks of a file.
    fn ask_rest(
        &mut self,
        source: &Source,
        request: &StoreFrom<'_>,
        how: &How,
        observer: &dyn Observer,
    ) -> Result<Rest> {
        self.send(Code::StoreFrom, &request.encode())?;
        self.ask_patiently(source.size, |session| session.read_rest(how, observer))
    }

    /// The server's consent, and what goes over which stream.
    fn read_rest(&mut self, how: &How, observer: &dyn Observer) -> Result<Rest> {
        let payload = self.expect(Code::TransOkFrom, MAX_PAYLOAD, observer)?;
        self.transfers = self.transfers.wrapping_add(1);
        let consent = TransOkFrom::decode(&payload).map_err(|e| self.reading(&e))?;
        let coding = self.coding(&consent.transfer, how, observer);
        let (ports, missing): (Vec<u16>, Vec<Missing>) = consent.streams.into_iter().unzip();
        Ok(Rest {
            agreed: Agreed {
                transfer: consent.transfer,
                ports,
                coding,
            },
            ranges: missing.iter().map(bounds).collect(),
            missing,
            kept: consent.kept,
        })
    }
}

/// What is left of a transfer, as the server has it.
struct Rest {
    agreed: Agreed,
    /// Which bytes go over which stream, in either form.
    ranges: Vec<Range<u64>>,
    missing: Vec<Missing>,
    /// The SHA-256 of what the server has.
    kept: Option<[u8; 32]>,
}

impl Rest {
    /// Whether what the server has is of this file.
    fn is_of(&self, source: &Source) -> Result<bool> {
        let there = kept::kept(&self.missing, source.size);
        let Some(theirs) = self.kept else {
            return Ok(there.is_empty());
        };
        let ours = kept::digest(source.file.as_fd(), &there);
        let ours = ours.map_err(|e| {
            let text = format!("Error reading the file ({})", std::io::Error::from(e));
            Error::new(OPEN, Fate::Final, text)
        })?;
        Ok(ours == theirs)
    }
}

fn bounds(missing: &Missing) -> Range<u64> {
    missing.begin..missing.begin + missing.len
}
