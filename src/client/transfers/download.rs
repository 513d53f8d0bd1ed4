//! One file on its way from the server, over one connection or several. Its
//! part is resumed as long as the server's file has the same size and time;
//! the digest of the whole decides.

use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use super::keep::holes::write_sparse;
use super::local::{Part, Target};
use super::pump::{
    Source, Start, compare, digest_concurrently, digests_at_once, extend_digest, write_behind,
};
use super::queue::{Item, Ranges};
use super::requests::part_name;
use super::resume::Rest;
use super::run::{Id, Line, Run};
use super::scan::Found;
use crate::client::connect::Connection;
use crate::client::error::{ClientError, Result};
use crate::client::extension::Time;
use crate::client::observe::Note;
use crate::sys::number::at_most;

/// How many versions of a file count as progress when they are begun.
const MOST_VERSIONS: u32 = 8;

/// A remote file, by its `id`, and where it goes.
pub(super) struct Download {
    pub(super) id: Id,
    pub(super) target: Arc<Target>,
    /// Its path in the target.
    pub(super) relative: Vec<u8>,
    /// What was found there.
    pub(super) found: Found,
    /// Where the file that it replaces is kept, in the target.
    pub(super) backup: Option<Vec<u8>>,
}

impl Download {
    /// The name of its part, or of the part of a version.
    pub(super) fn part_name(&self, version: &str) -> Vec<u8> {
        part_name(&[&self.id.name, &self.relative], version.as_bytes())
    }

    /// Notes that its mode is not kept, if the server did not say it.
    pub(super) fn note_lost(&self, run: &Run<'_>) {
        if run.options.keep.attributes && self.found.mode.is_none() {
            run.note(&self.id.name, Note::ModeNotKept);
        }
    }

    /// Receives it once, over all of the lines.
    fn receive(&self, run: &Run<'_>, lines: &mut [Line<'_>]) -> Result<()> {
        match lines {
            [line] => self.receive_whole(run, line),
            lines => self.receive_by_ranges(run, lines),
        }
    }

    /// Each try begins with what the file is then.
    fn receive_whole(&self, run: &Run<'_>, line: &mut Line<'_>) -> Result<()> {
        let (mut version, mut versions) = (None, 0);
        line.steadily(|connection, moved| {
            let receiving = Receiving::begin(run, self, connection)?;
            let now = (receiving.found.size, receiving.found.modified);
            if version.replace(now) != Some(now) {
                versions += 1;
            }
            let received = receiving.get(connection, &mut |bytes| {
                // A file that is another one at each try has no end.
                if versions <= MOST_VERSIONS {
                    moved.fetch_add(bytes, Ordering::Relaxed);
                }
            });
            receiving.end(received)
        })
    }

    fn receive_by_ranges(&self, run: &Run<'_>, lines: &mut [Line<'_>]) -> Result<()> {
        let receiving =
            lines[0].steadily(|connection, _| Receiving::begin(run, self, connection))?;
        let size = receiving.found.size;
        let ranges = Ranges::new(run, &self.id, &Rest::from(receiving.from, size), size);
        let received = ranges.move_all(lines, |line, range| {
            let received = receiving.get_range(line, range, &ranges);
            if received.is_err() {
                // Frames may be on their way that nobody takes.
                line.close();
            }
            received
        });
        if received.is_err() {
            // Bytes behind the first gap can't be resumed.
            let file = &receiving.part.file;
            file.set_len(ranges.frontier())
                .map_err(|e| receiving.part.error(e))?;
        }
        let received = received.and_then(|()| receiving.set_size());
        let checked = received.and_then(|()| match run.options.verify {
            true => lines[0].steadily(|connection, _| receiving.check(connection)),
            false => Ok(()),
        });
        receiving.end(checked)
    }
}

impl Item for Download {
    const IN_TWO: bool = false;

    fn id(&self) -> &Id {
        &self.id
    }

    fn size(&self) -> u64 {
        self.found.size
    }

    fn goes_alone(&self) -> bool {
        self.backup.is_some()
    }

    fn move_large(&self, run: &Run<'_>, lines: &mut [Line<'_>]) -> Result<()> {
        self.receive(run, lines).or_else(|e| match e {
            // It has changed, or the part was another file's: once more.
            ClientError::Mismatch { .. } | ClientError::Changed { .. } => {
                self.receive(run, &mut lines[..1])
            }
            e => Err(e),
        })
    }
}

/// What tells versions of a remote file apart.
fn version(found: &Found) -> String {
    match found.modified {
        Time {
            seconds,
            nanoseconds: 0,
        } => format!("{} {seconds}", found.size),
        Time {
            seconds,
            nanoseconds,
        } => format!("{} {seconds}.{nanoseconds:09}", found.size),
    }
}

/// A version of a remote file, and its part.
struct Receiving<'r> {
    run: &'r Run<'r>,
    item: &'r Download,
    found: Found,
    part: Part,
    /// How many bytes the part has already.
    from: u64,
}

impl<'r> Receiving<'r> {
    /// Opens the part of the file's version; those of others are removed.
    ///
    /// # Errors
    /// The server's refusal, that it is not a file, a local failure, or the
    /// connection is lost.
    fn begin(
        run: &'r Run<'r>,
        item: &'r Download,
        connection: &mut Connection,
    ) -> Result<Receiving<'r>> {
        let found = connection.find_file(&item.id.name, run.options.keep.xattrs)?;
        let name = item.part_name(&version(&found));
        let target = &item.target;
        let narrow = run.options.keep.of(&found).mode.is_some();
        target.remove_parts_but(&item.relative, &item.part_name(""), &name)?;
        let part = target.resumed_part(&item.relative, &name, narrow)?;
        let mut from = part.file.metadata().map_err(|e| part.error(e))?.len();
        if from > found.size {
            part.file.set_len(0).map_err(|e| part.error(e))?;
            from = 0;
        }
        run.begun(&item.id, found.size, from);
        Ok(Receiving {
            run,
            item,
            found,
            part,
            from,
        })
    }

    fn source(&self) -> Source<'_> {
        Source {
            file: &self.part.file,
            path: &self.part.path,
        }
    }

    fn changed(&self) -> ClientError {
        ClientError::Changed {
            path: String::from_utf8_lossy(&self.item.id.name).into(),
        }
    }

    /// Receives the rest and compares the digest of the whole.
    ///
    /// # Errors
    /// `Changed`, `Mismatch`, a local failure, the server's refusal, or the
    /// connection is lost.
    fn get(&self, connection: &mut Connection, moved: &mut dyn FnMut(u64)) -> Result<()> {
        let (run, id, size) = (self.run, &self.item.id, self.found.size);
        let checking = |position| run.checking(id, size, position);
        // The server has it, if it makes digests while it sends all of a file.
        let has_digest = self.from == 0 && connection.features()?.digest;
        let digested = if has_digest { 0 } else { size };
        let receive = |start: &Start| {
            start.now();
            let at = |position| checking(Some(position));
            let begun = extend_digest(run, self.source(), Sha256::new(), 0..self.from, at)?;
            if self.from == size {
                return Ok(begun);
            }
            let (mut position, mut at) = (self.from, self.from);
            let write = |data: &[u8]| {
                let written = self.write(data, at);
                at += data.len() as u64;
                written
            };
            let digest = write_behind(begun, write, |take| {
                connection.get_frames(&id.name, self.from, run.frame(), &mut |data| {
                    run.go_on()?;
                    position += data.len() as u64;
                    if position > size {
                        return Err(self.changed());
                    }
                    moved(data.len() as u64);
                    run.at(id, position);
                    take(data)
                })
            })?;
            match position < size {
                true => Err(self.changed()),
                false => Ok(digest),
            }
        };
        let waiting = || checking(None);
        let (digest, there) = digest_concurrently(run, &id.name, digested, receive, waiting)?;
        if there.is_none() && run.options.verify {
            checking(None);
        }
        match run.options.verify {
            true => compare(connection, &id.name, digest, there),
            false => Ok(()),
        }
    }

    /// Receives a range.
    fn get_range(&self, line: &mut Line<'_>, range: Range<u64>, ranges: &Ranges<'_>) -> Result<()> {
        let mut at = range.start;
        line.steadily(|connection, moved| {
            while at < range.end {
                let before = at;
                self.get_some(connection, &mut at, range.end, ranges, moved)?;
                if at == before {
                    return Err(self.changed());
                }
            }
            Ok(())
        })
    }

    /// Receives as many whole frames as there are; a rest goes by itself.
    fn get_some(
        &self,
        connection: &mut Connection,
        at: &mut u64,
        end: u64,
        ranges: &Ranges<'_>,
        moved: &AtomicU64,
    ) -> Result<()> {
        let frame = at_most(end - *at, self.run.frame());
        let (offset, count) = (*at, (end - *at) / frame as u64);
        let name = &self.item.id.name;
        connection.get_some_frames(name, offset, frame, count, &mut |data| {
            self.run.go_on()?;
            self.write(&data, *at)?;
            *at += data.len() as u64;
            ranges.moved(data.len() as u64, moved);
            Ok(data)
        })
    }

    /// Writes data into the part.
    fn write(&self, data: &[u8], at: u64) -> Result<()> {
        let file = &self.part.file;
        let written = match self.run.options.keep.sparse {
            true => write_sparse(file, data, at),
            false => file.write_all_at(data, at),
        };
        written.map_err(|e| self.part.error(e))
    }

    /// Gives a part that ends in a hole its size.
    fn set_size(&self) -> Result<()> {
        match self.run.options.keep.sparse {
            true => self.part.file.set_len(self.found.size),
            false => Ok(()),
        }
        .map_err(|e| self.part.error(e))
    }

    /// Compares the digest of the whole part.
    fn check(&self, connection: &mut Connection) -> Result<()> {
        let name = &self.item.id.name;
        self.run.checking(&self.item.id, self.found.size, None);
        let (digest, there) = digests_at_once(connection, name, || {
            let all = 0..self.found.size;
            extend_digest(self.run, self.source(), Sha256::new(), all, |_| {})
        })?;
        compare(connection, name, digest, Some(there?))
    }

    /// Puts a part that is whole and checked on disk and into its place. It
    /// is removed after a failure unless it can be resumed.
    fn end(self, received: Result<()>) -> Result<()> {
        match received {
            Ok(()) => {
                self.set_size()?;
                let wanted = self.run.options.keep.of(&self.found);
                self.part.set_attributes(&wanted)?;
                self.item.note_lost(self.run);
                self.part.sync()?;
                if let Some(backup) = &self.item.backup {
                    self.item.target.keep_old(&self.item.relative, backup)?;
                }
                self.part.publish()?;
                self.run.done(&self.item.id, self.found.size);
                Ok(())
            }
            Err(e) => {
                if !e.ends_a_run() || self.part.file.metadata().is_ok_and(|m| m.len() == 0) {
                    self.part.remove();
                }
                Err(e)
            }
        }
    }
}
