//! Small files to tfd and from it: one message each, of which many are under way
//! at the same time.

use std::collections::VecDeque;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::error::{Error, OPEN, Result, WRITE};
use super::local::{Landing, Source};
use super::session::Session;
use super::transfer::{How, Moved};
use crate::bbftp::wire::extension::{MAX_PAYLOAD, MAX_SMALL_FILE, SmallFile, SmallStore};
use crate::bbftp::wire::{Code, MAX_TEXT, encode_with_options};

/// The most requests whose answers are not read yet.
const MAX_REQUESTS: usize = 64;

/// The most bytes of files under way to the server.
const MAX_BYTES: usize = 1 << 20;

/// Hears how each file went, by its place in the list.
pub type Done<'a> = &'a mut dyn FnMut(usize, Result<Moved>);

/// A file on its way to the server.
struct Sent {
    place: usize,
    bytes: usize,
    begun: Instant,
}

impl Session {
    /// Sends files, each of which is read whole before; one that is too large for
    /// a message goes by [`Session::put`].
    ///
    /// # Errors
    /// When the connection is over. Files that `done` was not called for may or
    /// may not be there.
    pub fn put_small(
        &mut self,
        files: &[(PathBuf, Vec<u8>)],
        how: &How,
        done: Done<'_>,
    ) -> Result<()> {
        let mut sent: VecDeque<Sent> = VecDeque::new();
        let mut bytes = 0;
        for (place, (local, remote)) in files.iter().enumerate() {
            let content = match read_small(local) {
                Ok(content) => content,
                Err(e) => {
                    done(place, Err(e));
                    continue;
                }
            };
            let len = content
                .as_ref()
                .map_or(MAX_BYTES, |(_, content)| content.len());
            while sent.len() >= MAX_REQUESTS || (!sent.is_empty() && bytes + len > MAX_BYTES) {
                bytes -= self.read_stored(&mut sent, done)?;
            }
            match content {
                Some((source, content)) => {
                    let request = SmallStore {
                        transfer: source.describe(how.request()),
                        name: remote,
                        content: &content,
                    };
                    self.hold(Code::SmallStore, &request.encode())?;
                    bytes += len;
                    sent.push_back(Sent {
                        place,
                        bytes: len,
                        begun: Instant::now(),
                    });
                }
                None => {
                    let moved = self.put(local, remote, how, &());
                    report(place, moved, done)?;
                }
            }
        }
        while !sent.is_empty() {
            self.read_stored(&mut sent, done)?;
        }
        Ok(())
    }

    /// Reads the answer to the oldest request; its bytes.
    fn read_stored(&mut self, sent: &mut VecDeque<Sent>, done: Done<'_>) -> Result<usize> {
        self.flush()?;
        let Some(oldest) = sent.pop_front() else {
            return Ok(0);
        };
        let stored = self.expect(Code::Ok, MAX_TEXT, &());
        let moved = stored.map(|_| Moved::small(oldest.bytes, oldest.begun));
        report(oldest.place, moved, done)?;
        Ok(oldest.bytes)
    }

    /// Fetches files; the places of those that are to be had by [`Session::get`],
    /// since no message may be large enough.
    ///
    /// # Errors
    /// When the connection is over. Files that `done` was not called for are not
    /// there.
    pub fn get_small(
        &mut self,
        files: &[(Vec<u8>, PathBuf)],
        how: &How,
        done: Done<'_>,
    ) -> Result<Vec<usize>> {
        let mut asked = 0;
        let mut refused = Vec::new();
        for (place, (_, local)) in files.iter().enumerate() {
            while asked < files.len() && asked < place + MAX_REQUESTS {
                let request = encode_with_options(how.options, &files[asked].0);
                self.hold(Code::SmallRetr, &request)?;
                asked += 1;
            }
            self.flush()?;
            let begun = Instant::now();
            match self.expect(Code::SmallFile, MAX_PAYLOAD, &()) {
                Ok(payload) => {
                    let file = SmallFile::decode(&payload).map_err(|e| self.reading(&e))?;
                    let landed = land(&file, local, how);
                    let moved = landed.map(|()| Moved::small(file.content.len(), begun));
                    report(place, moved, done)?;
                }
                Err(e) if e.ends_connection() => return Err(e),
                // Whether it is too large, its transfer shows.
                Err(_) => refused.push(place),
            }
        }
        Ok(refused)
    }

    fn hold(&mut self, code: Code, payload: &[u8]) -> Result<()> {
        self.control
            .hold(code, payload)
            .map_err(|e| Error::sending(&e))?;
        match self.control.link().held() > MAX_BYTES / 4 {
            true => self.flush(),
            false => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<()> {
        let flushed = self.control.link().flush();
        flushed.map_err(|e| self.or_interrupted(Error::sending(&e.into())))
    }
}

impl Moved {
    fn small(bytes: usize, begun: Instant) -> Moved {
        Moved {
            bytes: bytes as u64,
            time: begun.elapsed(),
            streams: 1,
            gzip: false,
        }
    }
}

/// Reports how a file went, unless the connection has ended.
fn report(place: usize, moved: Result<Moved>, done: Done<'_>) -> Result<()> {
    match moved {
        Err(e) if e.ends_connection() => Err(e),
        moved => {
            done(place, moved);
            Ok(())
        }
    }
}

/// A file and all its bytes; none where these are too many.
fn read_small(local: &Path) -> Result<Option<(Source, Vec<u8>)>> {
    let source = Source::open(local)?;
    if source.size > MAX_SMALL_FILE as u64 {
        return Ok(None);
    }
    let mut content = vec![0; usize::try_from(source.size).unwrap_or_default()];
    source
        .file
        .read_exact_at(&mut content, 0)
        .map_err(|e| Error::local(OPEN, "reading", local, &e))?;
    Ok(Some((source, content)))
}

fn land(file: &SmallFile<'_>, local: &Path, how: &How) -> Result<()> {
    let landing = Landing::create(local, how.options)?;
    landing
        .file
        .write_all_at(file.content, 0)
        .map_err(|e| Error::local(WRITE, "writing", local, &e))?;
    landing.settle(&file.transfer, how.options)
}
