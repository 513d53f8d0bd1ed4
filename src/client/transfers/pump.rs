//! Threads beside the one that enciphers and sends: reading a file and making
//! its digest, each in a thread of its own, cost the transfer no time while
//! there is a core for them. Buffers go round; no byte is copied.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::{channel, sync_channel};

use sha2::{Digest, Sha256};

use super::run::Run;
use super::threads::joined;
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
        self.file
            .read_exact_at(buffer, offset)
            .map_err(|e| match e.kind() {
                std::io::ErrorKind::UnexpectedEof => ClientError::Changed {
                    path: self.path.display().to_string(),
                },
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
        let (full, mut frames) = sync_channel(BUFFERS);
        let (empty, spent) = channel::<Vec<u8>>();
        scope.spawn(move || {
            let mut at = range.start;
            while at < range.end {
                let mut frame = spent.try_recv().unwrap_or_default();
                let len = (range.end - at).min(size as u64) as usize;
                frame.resize(HEADER + len, 0);
                let read = source.read(&mut frame[HEADER..], at);
                let failed = read.is_err();
                // The other side has given up when nobody takes it.
                if full.send(read.map(|()| frame)).is_err() || failed {
                    return;
                }
                at += len as u64;
            }
        });
        let digester = digest.map(|mut digest| {
            let (full, read) = sync_channel(BUFFERS);
            let read = std::mem::replace(&mut frames, read);
            scope.spawn(move || {
                for frame in read {
                    if let Ok(frame) = &frame {
                        digest.update(&frame[HEADER..]);
                    }
                    if full.send(frame).is_err() {
                        break;
                    }
                }
                digest
            })
        });
        let sent = send(&mut |frame| {
            if frame.capacity() > 0 {
                let _ = empty.send(frame);
            }
            frames.recv().ok().transpose()
        });
        drop(frames);
        let digest = digester.map(joined);
        sent.map(|()| digest)
    })
}

/// Takes data on to a digest and to `write`, each in a thread, while `receive`
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
        let (digested, known) = sync_channel::<Vec<u8>>(BUFFERS);
        let (empty, spent) = channel();
        let digester = scope.spawn(move || {
            let mut digest = digest;
            for data in filled {
                digest.update(&data);
                // The writer has failed when it takes no more.
                if digested.send(data).is_err() {
                    break;
                }
            }
            digest
        });
        let writer = scope.spawn(move || {
            for data in known {
                write(&data)?;
                // Nobody takes it at the end.
                let _ = empty.send(data);
            }
            Ok(())
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
        let digest = joined(digester);
        let written = joined(writer);
        match written {
            Ok(()) if refused => Err(ClientError::Interrupted),
            Ok(()) => received.map(|()| digest),
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
