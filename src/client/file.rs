//! Whole files, there and back: checked by SHA-256 at the end, and on either
//! side in place only when they are whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::connect::Connection;
use super::error::{ClientError, Result};
use crate::hex;

/// Told the bytes moved so far.
pub type Progress<'a> = &'a mut dyn FnMut(u64);

impl Connection {
    /// Receives a file into a local one. It takes its place when all bytes
    /// have come and their SHA-256 is the server's.
    ///
    /// # Errors
    /// The server's refusal, a local failure, `Mismatch`, or the connection
    /// is lost. The old local file is untouched then.
    pub fn download(&mut self, remote: &str, local: &Path, progress: Progress<'_>) -> Result<()> {
        let part = self.download_part(remote, local, u64::MAX, progress)?;
        part.publish(local)
    }

    /// As [`Connection::download`], of a file of at most `size` bytes, and what
    /// has the local name at the end stays.
    ///
    /// # Errors
    /// As [`Connection::download`]; `Changed` for a longer file; `Local` with
    /// `AlreadyExists`.
    pub fn download_new(
        &mut self,
        remote: &str,
        local: &Path,
        size: u64,
        progress: Progress<'_>,
    ) -> Result<()> {
        self.download_part(remote, local, size, progress)?
            .publish_new(local)
    }

    fn download_part(
        &mut self,
        remote: &str,
        local: &Path,
        size: u64,
        progress: Progress<'_>,
    ) -> Result<PartFile> {
        let part = PartFile::create(local)?;
        let told = |e| ClientError::local(&part.path, e);
        let mut file = &part.file;
        let mut left = size;
        let store = &mut |data: &[u8]| {
            let after = left.checked_sub(data.len() as u64);
            left = after.ok_or_else(|| ClientError::Changed {
                path: remote.to_owned(),
            })?;
            file.write_all(data).map_err(told)
        };
        self.receive_checked(remote, store, progress)?;
        Ok(part)
    }

    /// Receives a file into a writer, such as standard output, and compares
    /// the SHA-256 at the end.
    ///
    /// # Errors
    /// As [`Connection::download`]; what was written before stays written.
    pub fn download_to(
        &mut self,
        remote: &str,
        writer: &mut dyn Write,
        progress: Progress<'_>,
    ) -> Result<()> {
        let told = |e| ClientError::local(Path::new("standard output"), e);
        self.receive_checked(
            remote,
            &mut |data| writer.write_all(data).map_err(told),
            progress,
        )
    }

    fn receive_checked(
        &mut self,
        remote: &str,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
        progress: Progress<'_>,
    ) -> Result<()> {
        let mut digest = Sha256::new();
        let mut moved = 0;
        self.get(remote, 0, &mut |data| {
            digest.update(data);
            sink(data)?;
            moved += data.len() as u64;
            progress(moved);
            Ok(())
        })?;
        if self.sha256(remote)? == hex::digits(&digest.finalize()) {
            return Ok(());
        }
        Err(ClientError::Mismatch {
            path: remote.to_owned(),
        })
    }

    /// Sends a reader's bytes as a file. They arrive under another name
    /// beside it and take its place when their SHA-256 is the one sent.
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
        let part = part_name(remote)?;
        let mut digest = Sha256::new();
        let mut moved = 0;
        let sent = self.put(&part, 0, &mut |buffer| {
            let len = read_full(reader, buffer).map_err(|e| ClientError::local(local, e))?;
            digest.update(&buffer[..len]);
            moved += len as u64;
            progress(moved);
            Ok(len)
        });
        let checked = sent.and_then(|()| {
            if self.sha256(&part)? != hex::digits(&digest.finalize()) {
                return Err(ClientError::Mismatch {
                    path: remote.to_owned(),
                });
            }
            self.rename(&part, remote)
        });
        if checked.is_err() && !matches!(checked, Err(ClientError::Lost(_))) {
            let _ = self.delete(&part);
        }
        checked
    }
}

/// A name beside a remote one that nobody else has.
fn part_name(remote: &str) -> Result<String> {
    let directory = remote.rfind('/').map_or("", |at| &remote[..=at]);
    Ok(format!("{directory}.tf-{}.upload", random_digits()?))
}

fn random_digits() -> Result<String> {
    let mut random = [0; 8];
    getrandom::fill(&mut random)
        .map_err(|e| ClientError::local(Path::new("random bytes"), io::Error::other(e)))?;
    Ok(hex::digits(&random))
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

/// A local file being written beside its place; dropped, it vanishes.
struct PartFile {
    file: File,
    path: PathBuf,
    published: bool,
}

impl PartFile {
    fn create(local: &Path) -> Result<PartFile> {
        let path = local.with_file_name(format!(".tf-{}.part", random_digits()?));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|e| ClientError::local(&path, e))?;
        Ok(PartFile {
            file,
            path,
            published: false,
        })
    }

    /// Lets it take its place, unless something has it.
    fn publish_new(mut self, local: &Path) -> Result<()> {
        let told = |e| ClientError::local(local, e);
        self.file.sync_all().map_err(told)?;
        match renameat_with(CWD, &self.path, CWD, local, RenameFlags::NOREPLACE) {
            // A file system that can't do it; the part's own name goes then.
            Err(Errno::INVAL | Errno::NOSYS) => fs::hard_link(&self.path, local).map_err(told),
            renamed => {
                renamed.map_err(|e| told(e.into()))?;
                self.published = true;
                Ok(())
            }
        }
    }

    fn publish(mut self, local: &Path) -> Result<()> {
        if let Ok(old) = fs::metadata(local) {
            self.file
                .set_permissions(old.permissions())
                .map_err(|e| ClientError::local(&self.path, e))?;
        }
        self.file
            .sync_all()
            .and_then(|()| fs::rename(&self.path, local))
            .map_err(|e| ClientError::local(local, e))?;
        self.published = true;
        Ok(())
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.published {
            let _ = fs::remove_file(&self.path);
        }
    }
}
