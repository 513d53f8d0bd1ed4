//! Threads beside the one that enciphers and sends: reading a file and making
//! its digest cost the transfer no time while there is a core for it. Buffers
//! go round; no byte is copied.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::{channel, sync_channel};

use sha2::{Digest, Sha256};

use super::run::Run;
use crate::client::error::{ClientError, Result};
use crate::client::transfer::{Frames, HEADER};

/// The most buffers between two threads.
const BUFFERS: usize = 4;

/// Bytes read at once for a digest alone.
const PIECE: usize = 256 * 1024;

/// A local file as it is read.
#[derive(Clone, Copy)]
pub(super) struct Source<'s> {
    pub(super) file: &'s File,
    pub(super) path: &'s Path,
}

impl Source<'_> {
    /// Fills the buffer from this offset.
    ///
    /// # Errors
    /// The system's, or `Changed` when the file ends before.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.file.read_exact_at(buffer, offset).map_err(|e| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                ClientError::Changed { path: self.path.display().to_string() }
            }
            _ => ClientError::local(self.path, e),
        })
    }
}

/// Reads a range in frames of `size` bytes of data, while `send` sends them.
/// The digest, if there is one, goes on over the range.
///
/// # Errors
/// Those of `send`; those of reading reach it by its frames.
pub(super) fn read_ahead(
    source: Source<'_>,
    range: Range<u64>,
    size: usize,
    digest: Option<Sha256>,
    send: impl FnOnce(Frames<'_>) -> Result<()>,
) -> Result<Option<Sha256>> {
    std::thread::scope(|scope| {
        let (full, frames) = sync_channel(BUFFERS);
        let (empty, spent) = channel::<Vec<u8>>();
        let reader = scope.spawn(move || {
            let mut digest = digest;
            let mut at = range.start;
            while at < range.end {
                let mut frame = spent.try_recv().unwrap_or_default();
                let len = (range.end - at).min(size as u64) as usize;
                frame.resize(HEADER + len, 0);
                let read = source.read(&mut frame[HEADER..], at);
                if let (Ok(()), Some(digest)) = (&read, &mut digest) {
                    digest.update(&frame[HEADER..]);
                }
                let failed = read.is_err();
                // The other side has given up when nobody takes it.
                if full.send(read.map(|()| frame)).is_err() || failed {
                    return digest;
                }
                at += len as u64;
            }
            digest
        });
        let sent = send(&mut |frame| {
            if frame.capacity() > 0 {
                let _ = empty.send(frame);
            }
            frames.recv().ok().transpose()
        });
        drop(frames);
        let digest = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        sent.map(|()| digest)
    })
}

/// Takes data on to a digest and to `write`, in a thread, while `receive`
/// receives it. Returns the digest.
///
/// # Errors
/// Those of `receive` and of `write`.
pub(super) fn write_behind(
    digest: Sha256,
    mut write: impl FnMut(&[u8]) -> Result<()> + Send,
    receive: impl FnOnce(&mut dyn FnMut(Vec<u8>) -> Result<Vec<u8>>) -> Result<()>,
) -> Result<Sha256> {
    std::thread::scope(|scope| {
        let (full, filled) = sync_channel::<Vec<u8>>(BUFFERS);
        let (empty, spent) = channel();
        let writer = scope.spawn(move || {
            let mut digest = digest;
            for data in filled {
                digest.update(&data);
                write(&data)?;
                // Nobody takes it at the end.
                let _ = empty.send(data);
            }
            Ok(digest)
        });
        let mut refused = false;
        let received = receive(&mut |data| match full.send(data) {
            Ok(()) => Ok(spent.try_recv().unwrap_or_default()),
            Err(_) => {
                refused = true;
                // Its place is taken by the writer's own error.
                Err(ClientError::Interrupted)
            }
        });
        drop(full);
        let written = writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match written {
            Ok(_) if refused => Err(ClientError::Interrupted),
            Ok(digest) => received.map(|()| digest),
            Err(e) => Err(e),
        }
    })
}

/// The digest of a file's first bytes, to go on from.
///
/// # Errors
/// The system's, `Changed` when the file is shorter, or `Interrupted`.
pub(super) fn digest_of_start(run: &Run<'_>, source: Source<'_>, length: u64) -> Result<Sha256> {
    let mut digest = Sha256::new();
    let mut buffer = vec![0; PIECE.min(length as usize)];
    let mut at = 0;
    while at < length {
        run.go_on()?;
        let piece = &mut buffer[..(length - at).min(PIECE as u64) as usize];
        source.read(piece, at)?;
        digest.update(&*piece);
        at += piece.len() as u64;
    }
    Ok(digest)
}
