//! One file over one connection, whole or not at all, and not resumed: the
//! library's own calls, and what can't be read or written twice, as standard
//! input and output.

use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::Ordering;

use sha2::{Digest, Sha256};

use super::local::{Part, Target};
use super::pump::{compare, digest_there};
use super::requests::{directory, join, part_name, sendable, stays};
use super::trees::is_remote_directory;
use super::{Summary, Transfers};
use crate::client::connect::Connection;
use crate::client::error::{ClientError, Result};
use crate::client::extension::Attributes;
use crate::client::observe::Note;
use crate::tf::status::Status;

/// Called with the bytes moved so far.
pub type Progress<'a> = &'a mut dyn FnMut(u64);

impl Connection {
    /// Receives a file into a local one, which is replaced when all bytes have
    /// come and their SHA-256 is the server's.
    ///
    /// # Errors
    /// The server's refusal, a local failure, `Mismatch`, or the connection
    /// is lost. The old local file is untouched then.
    pub fn download(&mut self, remote: &str, local: &Path, progress: Progress<'_>) -> Result<()> {
        let part = self.download_part(remote, local, u64::MAX, progress)?;
        part.publish()
    }

    /// Like [`Connection::download`], for a file of at most `size` bytes; an
    /// existing local file stays.
    ///
    /// # Errors
    /// Those of [`Connection::download`]; `Changed` for a longer file; `Local`
    /// with `AlreadyExists`.
    pub fn download_new(
        &mut self,
        remote: &str,
        local: &Path,
        size: u64,
        progress: Progress<'_>,
    ) -> Result<()> {
        self.download_part(remote, local, size, progress)?
            .publish_new()
    }

    fn download_part(
        &mut self,
        remote: &str,
        local: &Path,
        size: u64,
        progress: Progress<'_>,
    ) -> Result<Part> {
        let name = local
            .file_name()
            .map(OsStrExt::as_bytes)
            .ok_or_else(|| ClientError::local(local, io::ErrorKind::IsADirectory.into()))?;
        let target = Target::open(local.parent().unwrap_or(Path::new("")))?;
        let part = target.new_part(name, &new_part_name()?, false)?;
        let (mut file, mut left) = (&part.file, size);
        let received = self.receive_checked(remote, progress, &mut |data| {
            let after = left.checked_sub(data.len() as u64);
            left = after.ok_or_else(|| ClientError::Changed {
                path: remote.to_owned(),
            })?;
            file.write_all(data).map_err(|e| part.error(e))
        });
        match received.and_then(|()| part.sync()) {
            Ok(()) => Ok(part),
            Err(e) => {
                part.remove();
                Err(e)
            }
        }
    }

    /// Receives a file into a writer and compares the SHA-256 at the end.
    ///
    /// # Errors
    /// Those of [`Connection::download`]; what was written stays written.
    pub fn download_to(
        &mut self,
        remote: &str,
        writer: &mut dyn Write,
        progress: Progress<'_>,
    ) -> Result<()> {
        self.receive_checked(remote, progress, &mut |data| {
            writer.write_all(data).map_err(standard_output)
        })
    }

    fn receive_checked(
        &mut self,
        remote: &str,
        progress: Progress<'_>,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let (mut digest, mut moved) = (Sha256::new(), 0);
        self.get(remote, 0, &mut |data| {
            digest.update(data);
            sink(data)?;
            moved += data.len() as u64;
            progress(moved);
            Ok(())
        })?;
        compare(self, remote.as_bytes(), digest, None)
    }

    /// Copies a file on the server over another one: next to it first, and
    /// renamed when it is whole, so that readers see the old file or the new.
    ///
    /// # Errors
    /// The server's refusal, `NoWord`, or the connection is lost. The old file
    /// is untouched then.
    pub fn copy_over(&mut self, from: &str, to: &str) -> Result<()> {
        let part = new_remote_part(to)?;
        self.copy(from, &part)?;
        let renamed = self.rename(&part, to);
        if renamed.as_ref().is_err_and(|e| e.status().is_some()) {
            let _ = self.delete(&part);
        }
        renamed
    }

    /// Sends a reader's bytes as a file, which is replaced when all bytes have
    /// arrived and their SHA-256 is the one of those sent. `local` names the
    /// reader in errors.
    ///
    /// # Errors
    /// The server's refusal, a local failure, `Mismatch`, or the connection
    /// is lost. The old remote file is untouched then.
    pub fn upload(
        &mut self,
        local: &Path,
        reader: &mut dyn Read,
        remote: &str,
        progress: Progress<'_>,
    ) -> Result<()> {
        self.upload_with((local, reader), remote, None, progress)
            .map(drop)
    }

    /// The same with a mode; what that could not be kept for.
    fn upload_with(
        &mut self,
        (local, reader): (&Path, &mut dyn Read),
        remote: &str,
        mode: Option<u32>,
        progress: Progress<'_>,
    ) -> Result<Option<Note>> {
        let part = new_remote_part(remote)?;
        if let Some(mode) = mode {
            self.make_narrow(part.as_bytes(), mode)?;
        }
        let mut content = Content::new(local, reader, progress);
        let names = (part.as_bytes(), remote.as_bytes());
        let sent = self.put_part(names, &mut |buffer| content.next(buffer));
        // An error about the part is one about the file.
        let path = remote.to_owned();
        let sent = sent.map_err(|e| match e {
            ClientError::Cancelled { .. } => ClientError::Cancelled { path },
            ClientError::NoRoom { why, .. } => ClientError::NoRoom { path, why },
            error => error,
        });
        let placed = sent.and_then(|()| {
            if digest_there(self, part.as_bytes())? != content.digest() {
                return Err(ClientError::Mismatch {
                    path: remote.to_owned(),
                });
            }
            let lost = match mode {
                Some(mode) => self.set_mode_of_part(part.as_bytes(), mode)?,
                None => None,
            };
            self.rename(&part, remote).map(|()| lost)
        });
        if placed.is_err() && !matches!(placed, Err(ClientError::Lost(_))) {
            let _ = self.delete(&part);
        }
        placed
    }

    /// As [`Connection::upload_with`], for an account that may only add: under the
    /// file's own name, which must be free.
    fn upload_new(
        &mut self,
        (local, reader): (&Path, &mut dyn Read),
        remote: &str,
        mode: Option<u32>,
        progress: Progress<'_>,
    ) -> Result<Option<Note>> {
        let mut content = Content::new(local, reader, progress);
        let mut next = |buffer: &mut [u8]| content.next(buffer);
        if self.features()?.store {
            let wanted = Attributes {
                mode,
                ..Attributes::default()
            };
            return self
                .store(&wanted, remote.as_bytes(), &mut next)
                .map(|()| None);
        }
        self.send_file(remote, false, &mut next)?;
        if digest_there(self, remote.as_bytes())? != content.digest() {
            return Err(stays(remote.as_bytes()));
        }
        Ok(mode.map(|_| Note::ModeNotKept))
    }
}

/// The bytes of a reader on their way to the server, and their digest.
struct Content<'a> {
    /// What errors call the reader.
    local: &'a Path,
    reader: &'a mut dyn Read,
    progress: Progress<'a>,
    digest: Sha256,
    moved: u64,
}

impl<'a> Content<'a> {
    fn new(local: &'a Path, reader: &'a mut dyn Read, progress: Progress<'a>) -> Content<'a> {
        Content {
            local,
            reader,
            progress,
            digest: Sha256::new(),
            moved: 0,
        }
    }

    /// Fills the buffer as far as there are bytes; how many there were.
    fn next(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let read = read_full(self.reader, buffer);
        let len = read.map_err(|e| ClientError::local(self.local, e))?;
        self.digest.update(&buffer[..len]);
        self.moved += len as u64;
        (self.progress)(self.moved);
        Ok(len)
    }

    /// The SHA-256 of all bytes.
    fn digest(self) -> [u8; 32] {
        self.digest.finalize().into()
    }
}

impl Transfers<'_> {
    /// Sends a reader's bytes as a file, with this mode or that of the file it
    /// replaces. They can't be read twice, so a lost connection ends it; the old file
    /// is untouched then. What can be known to fail is refused before the first byte
    /// is read.
    ///
    /// # Errors
    /// The server's refusal, a local failure, `Mismatch`, or the connection
    /// is lost.
    pub fn put_from(
        &self,
        reader: &mut dyn Read,
        remote: &str,
        mode: Option<u32>,
    ) -> Result<Summary> {
        self.run(|run, lines| {
            let path = remote.as_bytes();
            sendable(path)?;
            run.find_rights(&mut lines[0], directory(path))?;
            if is_remote_directory(&mut lines[0], remote)? {
                return Err(ClientError::Refused {
                    request: format!("put {remote}"),
                    status: Status::IsDirectory,
                });
            }
            let id = run.id(remote.into());
            run.planned(1, 0);
            let mut size = 0;
            let progress = &mut |position| {
                size = position;
                run.at(&id, position);
            };
            let connection = lines[0].open()?;
            let from = (Path::new("standard input"), reader);
            let lost = if run.direct() {
                connection.upload_new(from, remote, mode, progress)?
            } else {
                let old = connection.find_each(&[path], false)?.pop();
                let old = old.and_then(Result::ok).and_then(|(_, old)| old.mode);
                connection.upload_with(from, remote, mode.or(old), progress)?
            };
            lost.into_iter().for_each(|lost| run.note(&id.name, lost));
            run.done(&id, size);
            Ok(())
        })
    }

    /// Receives a file into a writer. When the connection is lost, the
    /// transfer resumes at the next byte; the digest of the whole is compared
    /// at the end.
    ///
    /// # Errors
    /// The server's refusal, a local failure, `Mismatch`, or the connection
    /// is lost for good; what was written stays written.
    pub fn get_to(&self, remote: &str, writer: &mut dyn Write) -> Result<Summary> {
        self.run(|run, lines| {
            let id = run.id(remote.into());
            let (mut digest, mut position) = (Sha256::new(), 0);
            lines[0].steadily(|connection, moved| {
                connection.get_frames(&id.name, position, run.frame(), &mut |data| {
                    run.go_on()?;
                    writer.write_all(&data).map_err(standard_output)?;
                    digest.update(&data);
                    position += data.len() as u64;
                    moved.fetch_add(data.len() as u64, Ordering::Relaxed);
                    run.at(&id, position);
                    Ok(data)
                })
            })?;
            if run.options.verify {
                lines[0].steadily(|connection, _| {
                    compare(connection, &id.name, digest.clone(), None)
                })?;
            }
            run.done(&id, position);
            Ok(())
        })
    }
}

/// A part's name that nobody else has.
pub(super) fn new_part_name() -> Result<Vec<u8>> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .map_err(|e| ClientError::local(Path::new("random bytes"), io::Error::other(e)))?;
    Ok(part_name(&[&random], b""))
}

/// The path of a part next to a remote path.
fn new_remote_part(remote: &str) -> Result<String> {
    let part = join(directory(remote.as_bytes()), &new_part_name()?);
    Ok(String::from_utf8_lossy(&part).into_owned())
}

fn standard_output(error: io::Error) -> ClientError {
    ClientError::local(Path::new("standard output"), error)
}

/// Reads until the buffer is full or the end has come.
fn read_full(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match reader.read(&mut buffer[done..]) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}
