//! What of a part on the server can be kept: all of it when its digest is that
//! of the file's beginning; or, when several connections wrote it and were cut
//! off, the ranges whose ends are those of the file. Each range is written from
//! its beginning to its end, so that one whose end is there is there. The
//! digest of the whole decides in the end.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::pump::{Source, digests_at_once, extend_digest};
use super::queue::RANGE;
use super::requests::request;
use super::run::Run;
use super::upload::Sending;
use crate::client::commands::Stat;
use crate::client::connect::Connection;
use crate::client::error::{Class, Result};
use crate::client::listing::Kind;
use crate::sys::number::at_most;
use crate::tf::status::Status;

/// The bytes at the end of a range that are compared.
const SAMPLE: u64 = 4096;

/// How long a part may rest before its size is asked for again.
const SETTLING_TIME: Duration = Duration::from_millis(100);

/// How often its size is asked for, as long as it grows.
const MOST_LOOKS: u32 = 100;

/// What a file still lacks on the server, in order.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) ranges: Vec<Range<u64>>,
}

impl Rest {
    /// All from this byte on.
    pub(super) fn from(begin: u64, length: u64) -> Rest {
        let all = Some(begin..length).filter(|range| !range.is_empty());
        Rest {
            ranges: all.into_iter().collect(),
        }
    }

    /// The first byte that is missing.
    pub(super) fn begin(&self, length: u64) -> u64 {
        self.ranges.first().map_or(length, |range| range.start)
    }

    /// How many bytes are missing.
    pub(super) fn bytes(&self) -> u64 {
        self.ranges
            .iter()
            .map(|range| range.end - range.start)
            .sum()
    }
}

/// A digest of so many bytes at the beginning of a file.
#[derive(Default)]
pub(super) struct Begun {
    pub(super) bytes: u64,
    pub(super) digest: Sha256,
}

impl Sending<'_> {
    /// The digest of the file up to this byte.
    pub(super) fn up_to(&self, begun: Begun, end: u64) -> Result<Sha256> {
        extend_digest(
            self.run,
            self.source(),
            begun.digest,
            begun.bytes..end,
            |_| {},
        )
    }

    /// A part with other bytes is deleted.
    pub(super) fn find_part(&self, connection: &mut Connection) -> Result<(Rest, Begun)> {
        let length = self.opened.version.size;
        let (mut exists, mut last) = (false, None);
        for _ in 0..MOST_LOOKS {
            // What is wrong with the place, PUT will report.
            let Ok(Stat {
                kind: Kind::File,
                size,
                ..
            }) = connection.stat_there(self.part)?
            else {
                break;
            };
            exists = true;
            // It grows while the server stores what an earlier connection left.
            if last.is_some_and(|last| size <= last) || size > self.opened.version.size {
                break;
            }
            last = Some(size);
            let sizes = (size, length);
            let ranges = missing_ranges(self.run, connection, self.part, self.source(), sizes)?;
            if let Some(rest) = ranges {
                self.is_of_ranges.store(true, Ordering::Relaxed);
                return Ok((rest, Begun::default()));
            }
            let (digest, there) = digests_at_once(connection, self.part, || {
                let checking = |position| self.checking(Some(position));
                extend_digest(self.run, self.source(), Sha256::new(), 0..size, checking)
            })?;
            let here: [u8; 32] = digest.clone().finalize().into();
            if size > 0 && there.is_ok_and(|there| there == here) {
                let bytes = size;
                return Ok((Rest::from(size, length), Begun { bytes, digest }));
            }
            std::thread::sleep(SETTLING_TIME);
        }
        if exists {
            match connection.ask(&request("DEL", self.part)) {
                // Another tf that sends the same file was faster.
                Err(e) if e.status() == Some(Status::FileMissing) => {}
                other => drop(other?),
            }
        }
        self.make_narrow(connection)?;
        Ok((Rest::from(0, length), Begun::default()))
    }
}

/// Compares the ends of the ranges of a part of `size` bytes with those of the
/// file, of `length` bytes. `None` if no range differs, or all do.
///
/// # Errors
/// A local failure, or the connection is lost.
fn missing_ranges(
    run: &Run<'_>,
    connection: &mut Connection,
    part: &[u8],
    source: Source<'_>,
    (size, length): (u64, u64),
) -> Result<Option<Rest>> {
    let mut missing: Vec<Range<u64>> = Vec::new();
    let (mut kept, mut differ) = (0, 0);
    let mut begin = 0;
    while begin < size {
        run.go_on()?;
        let end = begin.saturating_add(RANGE).min(size);
        match is_there(connection, part, source, end - SAMPLE.min(end - begin)..end)? {
            Some(true) => kept += 1,
            there => {
                differ += u32::from(there == Some(false));
                missing.push(begin..end);
            }
        }
        begin = end;
    }
    if kept == 0 || differ == 0 {
        return Ok(None);
    }
    if size < length {
        missing.push(size..length);
    }
    Ok(Some(Rest { ranges: missing }))
}

/// Whether a piece of the part is that of the file; `None` if that can't be
/// known: zeros are equal, which a hole has, too.
fn is_there(
    connection: &mut Connection,
    part: &[u8],
    source: Source<'_>,
    piece: Range<u64>,
) -> Result<Option<bool>> {
    let length = at_most(piece.end - piece.start, usize::MAX);
    let mut here = vec![0; length];
    source.read(&mut here, piece.start)?;
    let mut there = Vec::with_capacity(length);
    let got = connection.get_some_frames(part, piece.start, length, 1, &mut |data| {
        there.extend_from_slice(&data);
        Ok(data)
    });
    match got {
        Err(e) if e.class() == Class::Refused => return Ok(None),
        other => other?,
    }
    let is_same = here == there;
    let is_zero = is_same && here.iter().all(|byte| *byte == 0);
    Ok((!is_zero).then_some(is_same))
}
