//! One large file over several connections: each takes the next range that
//! nobody has. Verified by the digest of the whole.

use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::Sha256;

use super::download::Download;
use super::download_alone::{arrived, check, open_part, stat_file};
use super::line::Line;
use super::local::Part;
use super::pump::{Source, digest_of_start, read_ahead};
use super::queue::Item;
use super::run::{Id, Run};
use super::threads::{joined, lock, on_each};
use super::upload::Upload;
use super::upload_alone::{begin_at, digests_at_once, drop_part, finish, length_of, told_of};
use crate::client::error::{ClientError, Result};
use crate::client::observe::Event;

/// The bytes of a range.
const RANGE: u64 = 32 * 1024 * 1024;

/// A file that may be moved by ranges.
pub(super) trait Ranged: Item {
    /// Moves it over all lines.
    ///
    /// # Errors
    /// Why it can't be moved, or a connection is lost for good.
    fn move_by_ranges(&self, run: &Run<'_>, lines: &mut [Line<'_>]) -> Result<()>;
}

/// Moves the large files, one after another by ranges, when there are fewer
/// of them than lines that the user asked for. Returns the files that are left.
///
/// # Errors
/// When a connection is lost for good, or `Interrupted`.
pub(super) fn move_ranged<T: Ranged>(
    run: &Run<'_>,
    lines: &mut [Line<'_>],
    files: Vec<T>,
) -> Result<Vec<T>> {
    let is_large = |item: &T| item.size() >= 2 * RANGE;
    let large = files.iter().filter(|item| is_large(item)).count();
    if run.options.streams.is_none() || large == 0 || large >= lines.len() {
        return Ok(files);
    }
    let (large, others): (Vec<T>, Vec<T>) = files.into_iter().partition(is_large);
    let left = others.len() + large.len();
    for (done, item) in large.iter().enumerate() {
        match item.move_by_ranges(run, lines) {
            Ok(()) => {}
            // Perhaps one connection can do it.
            Err(ClientError::Mismatch { .. } | ClientError::Changed { .. }) => {
                if let Err(e) = item.move_alone(run, &mut lines[0]) {
                    run.failed(item.id(), e);
                }
            }
            Err(e) if e.ends_a_run() => {
                run.sum(|summary| summary.left = (left - done) as u64);
                return Err(e);
            }
            Err(e) => run.failed(item.id(), e),
        }
    }
    Ok(others)
}

/// The ranges of a file, and how far it is.
struct Ranges<'r> {
    run: &'r Run<'r>,
    id: &'r Id,
    begin: u64,
    /// What nobody has taken.
    waiting: Mutex<Range<u64>>,
    /// Ranges that are taken and not done.
    begun: Mutex<Vec<Range<u64>>>,
    moved: AtomicU64,
}

impl<'r> Ranges<'r> {
    fn new(run: &'r Run<'r>, id: &'r Id, all: Range<u64>) -> Ranges<'r> {
        Ranges {
            run,
            id,
            begin: all.start,
            waiting: Mutex::new(all),
            begun: Mutex::default(),
            moved: AtomicU64::new(0),
        }
    }

    /// Lets each line move one range after another.
    ///
    /// # Errors
    /// Why not all could be moved.
    fn move_all(
        &self,
        lines: &mut [Line<'_>],
        one: impl Fn(&mut Line<'_>, Range<u64>) -> Result<()> + Sync,
    ) -> Result<()> {
        let work = |line: &mut Line<'_>| -> Result<()> {
            while let Some(range) = self.take() {
                self.run.go_on()?;
                one(line, range.clone())?;
                lock(&self.begun).retain(|begun| *begun != range);
            }
            Ok(())
        };
        let ends = on_each(lines, work);
        if lock(&self.begun).is_empty() && lock(&self.waiting).is_empty() {
            return Ok(());
        }
        ends.into_iter()
            .find(Result::is_err)
            .unwrap_or(Err(ClientError::Interrupted))
    }

    fn take(&self) -> Option<Range<u64>> {
        let mut waiting = lock(&self.waiting);
        let end = waiting.start.saturating_add(RANGE).min(waiting.end);
        let range = waiting.start..end;
        waiting.start = end;
        drop(waiting);
        if range.is_empty() {
            return None;
        }
        lock(&self.begun).push(range.clone());
        Some(range)
    }

    /// The first byte that is not there.
    fn frontier(&self, end: u64) -> u64 {
        let first = |ranges: &[Range<u64>]| ranges.iter().map(|range| range.start).min();
        let waiting = lock(&self.waiting).start;
        first(&lock(&self.begun)).unwrap_or(end).min(waiting)
    }

    fn moved(&self, bytes: u64) {
        let moved = self.moved.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let position = self.begin + moved;
        self.run.tell(&Event::At {
            file: self.id.number,
            position,
        });
    }
}

impl Ranged for Upload {
    fn move_by_ranges(&self, run: &Run<'_>, lines: &mut [Line<'_>]) -> Result<()> {
        self.send_by_ranges(run, lines).map_err(|e| {
            drop_part(run, self, &mut lines[0], &e);
            told_of(e, self)
        })
    }
}

impl Upload {
    fn send_by_ranges(&self, run: &Run<'_>, lines: &mut [Line<'_>]) -> Result<()> {
        let part = self.part(run);
        let (file, version) = self.open()?;
        let source = Source {
            file: &file,
            path: &self.local,
        };
        let length = length_of(source)?;
        let begin =
            lines[0].steadily(|connection, _| begin_at(run, connection, &part, source, length))?;
        let (number, name) = (self.id.number, self.id.name.as_slice());
        run.tell(&Event::Begun {
            file: number,
            name,
            size: length,
            from: begin.offset,
        });
        let ranges = Ranges::new(run, &self.id, begin.offset..length);
        let digest = std::thread::scope(|scope| -> Result<Sha256> {
            let digest = scope.spawn(|| digest_of_start(run, source, length));
            ranges.move_all(lines, |line, range| {
                send_range(run, line, &part, source, range, &ranges)
            })?;
            joined(digest)
        })?;
        self.is_still(&version)?;
        let digest = sha2::Digest::finalize(digest).into();
        lines[0].steadily(|connection, _| finish(run, connection, self, &part, digest, None))?;
        self.arrived(run, length);
        Ok(())
    }
}

fn send_range(
    run: &Run<'_>,
    line: &mut Line<'_>,
    part: &[u8],
    source: Source<'_>,
    range: Range<u64>,
    ranges: &Ranges<'_>,
) -> Result<()> {
    line.steadily(|connection, moved| {
        let size = connection.begin_put(part, range.start, run.frame())?;
        read_ahead(source, range.clone(), size, None, |frames| {
            connection.put_frames(part, &mut |spent| {
                run.go_on()?;
                frames(spent)
            })
        })?;
        ranges.moved(range.end - range.start);
        moved.fetch_add(range.end - range.start, Ordering::Relaxed);
        Ok(())
    })
}

impl Ranged for Download {
    fn move_by_ranges(&self, run: &Run<'_>, lines: &mut [Line<'_>]) -> Result<()> {
        let stat = lines[0].steadily(|connection, _| stat_file(connection, &self.id.name))?;
        let part = open_part(self, &stat)?;
        let told = |e| part.error(e);
        let from = part.file.metadata().map_err(told)?.len();
        let from = if from > stat.size { 0 } else { from };
        let (number, name) = (self.id.number, self.id.name.as_slice());
        run.tell(&Event::Begun {
            file: number,
            name,
            size: stat.size,
            from,
        });
        let ranges = Ranges::new(run, &self.id, from..stat.size);
        let received = ranges.move_all(lines, |line, range| {
            self.receive_range(run, line, &part, range, &ranges)
        });
        if received.is_err() {
            // What is behind the first gap can't be told from what is not there.
            part.file
                .set_len(ranges.frontier(stat.size))
                .map_err(told)?;
        }
        let checked = received.and_then(|()| {
            if !run.options.verify {
                return Ok(());
            }
            let source = Source {
                file: &part.file,
                path: &part.path,
            };
            lines[0].steadily(|connection, _| {
                let make = || digest_of_start(run, source, stat.size);
                let (digest, there) = digests_at_once(connection, &self.id.name, make)?;
                check(run, connection, &self.id.name, digest, Some(there?))
            })
        });
        match checked {
            Ok(()) => arrived(run, self, part, &stat),
            Err(e) => {
                if !e.ends_a_run() {
                    part.remove();
                }
                Err(e)
            }
        }
    }
}

impl Download {
    fn receive_range(
        &self,
        run: &Run<'_>,
        line: &mut Line<'_>,
        part: &Part,
        range: Range<u64>,
        ranges: &Ranges<'_>,
    ) -> Result<()> {
        let mut at = range.start;
        let received = line.steadily(|connection, moved| {
            while at < range.end {
                let frame = (run.frame() as u64).min(range.end - at);
                // Whole frames first; a rest goes by itself.
                let count = (range.end - at) / frame;
                let before = at;
                let take = &mut |data: Vec<u8>| {
                    run.go_on()?;
                    part.file
                        .write_all_at(&data, at)
                        .map_err(|e| part.error(e))?;
                    at += data.len() as u64;
                    ranges.moved(data.len() as u64);
                    moved.fetch_add(data.len() as u64, Ordering::Relaxed);
                    Ok(data)
                };
                let frame = frame as usize;
                connection.get_some_frames(&self.id.name, before, frame, count, take)?;
                if at == before {
                    return Err(ClientError::Changed {
                        path: String::from_utf8_lossy(&self.id.name).into(),
                    });
                }
            }
            Ok(())
        });
        if received.is_err() {
            // Frames may be on their way that nobody takes.
            line.close();
        }
        received
    }
}
