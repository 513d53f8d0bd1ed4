//! Transfers that continue where an earlier one was cut, with tfd.

use std::ops::Range;

use super::carry::Freight;
use super::put::request;
use super::{Agreed, How, Moved};
use crate::bbftp::stream::Direction;
use crate::bbftp::wire::extension::{MAX_PAYLOAD, Missing, RetrFrom, StoreFrom, TransOkFrom};
use crate::bbftp::wire::{Code, MAX_STREAMS, Transfer};
use crate::client::bbftp::error::{Fate, Result};
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
        let missing = divide(landing.missing(was.size), wanted.streams as usize);
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
        let (agreed, ranges) = match self.read_rest(how, observer) {
            Ok(consent) => consent,
            Err(e) if e.fate == Fate::Final => {
                landing.forget();
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        let are_asked_for = ranges.len() == missing.len()
            && (ranges.iter().zip(&missing)).all(|(range, missing)| *range == bounds(missing));
        if !are_asked_for || agreed.transfer.size != was.size {
            self.abort();
            landing.forget();
            return Ok(None);
        }
        let freight = Freight {
            file: Some(&landing.file),
            direction: Direction::Receive,
            size: was.size,
            ranges,
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

    /// Sends what the server lacks of a file.
    pub(super) fn put_rest(
        &mut self,
        source: &Source,
        remote: &[u8],
        how: &How,
        observer: &dyn Observer,
    ) -> Result<Moved> {
        let request = StoreFrom {
            transfer: request(source, how),
            name: remote,
        };
        self.send(Code::StoreFrom, &request.encode())?;
        let (agreed, ranges) = self.read_rest(how, observer)?;
        let freight = Freight {
            file: Some(&source.file),
            direction: Direction::Send,
            size: source.size,
            ranges,
            coding: agreed.coding,
            observer,
        };
        self.carry_agreed(&agreed, how, &freight)
    }

    /// The server's consent, and what goes over which stream.
    fn read_rest(
        &mut self,
        how: &How,
        observer: &dyn Observer,
    ) -> Result<(Agreed, Vec<Range<u64>>)> {
        let payload = self.expect(Code::TransOkFrom, MAX_PAYLOAD, observer)?;
        self.transfers = self.transfers.wrapping_add(1);
        let consent = TransOkFrom::decode(&payload).map_err(|e| self.reading(&e))?;
        let coding = self.coding(&consent.transfer, how, observer);
        let (ports, missing): (Vec<u16>, Vec<Missing>) = consent.streams.into_iter().unzip();
        let agreed = Agreed {
            transfer: consent.transfer,
            ports,
            coding,
        };
        Ok((agreed, missing.iter().map(bounds).collect()))
    }
}

fn bounds(missing: &Missing) -> Range<u64> {
    missing.begin..missing.begin + missing.len
}

/// As many ranges as there are to be streams, or as there are gaps; never more
/// than a request can have. Gaps that are too many are taken together.
fn divide(gaps: Vec<Range<u64>>, streams: usize) -> Vec<Missing> {
    let most = MAX_STREAMS as usize;
    let mut ranges = gaps;
    while ranges.len() > most {
        let nearest = (1..ranges.len()).min_by_key(|at| ranges[*at].start - ranges[at - 1].end);
        let at = nearest.unwrap_or(1);
        ranges[at - 1].end = ranges[at].end;
        ranges.remove(at);
    }
    while ranges.len() < streams.min(most) {
        let longest = (0..ranges.len()).max_by_key(|at| ranges[*at].end - ranges[*at].start);
        let Some(at) = longest.filter(|at| ranges[*at].end - ranges[*at].start > 1) else {
            break;
        };
        let Range { start, end } = ranges[at].clone();
        let middle = start + (end - start) / 2;
        ranges[at].end = middle;
        ranges.insert(at + 1, middle..end);
    }
    let missing = |range: Range<u64>| Missing {
        begin: range.start,
        len: range.end - range.start,
    };
    ranges.into_iter().map(missing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_become_as_many_ranges_as_there_are_streams() {
        let divided = |gaps: &[Range<u64>], streams| {
            let missing = divide(gaps.to_vec(), streams);
            missing.iter().map(bounds).collect::<Vec<_>>()
        };
        let whole = |gap| std::iter::once(gap).collect::<Vec<_>>();
        assert_eq!(divided(&whole(10..20), 1), whole(10..20));
        assert_eq!(divided(&whole(10..20), 3), [10..15, 15..17, 17..20]);
        assert_eq!(divided(&[0..1, 10..20], 1), [0..1, 10..20]);
        assert_eq!(divided(&whole(0..2), 32), [0..1, 1..2]);
        let many: Vec<_> = (0..40).map(|at| at * 10..at * 10 + 5).collect();
        let divided = divided(&many, 1);
        assert_eq!(divided.len(), 32);
        let covers = |gap: &Range<u64>| {
            let holds = |range: &Range<u64>| range.start <= gap.start && gap.end <= range.end;
            divided.iter().any(holds)
        };
        assert!(many.iter().all(covers));
    }
}
