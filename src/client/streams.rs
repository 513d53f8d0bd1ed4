//! SNDFILE and RCVFILE, SDOWN and SUP: files in messages or in 4-byte frames.

use std::io;

use super::connect::{Connection, ok_data, refusal};
use super::error::{ClientError, Result};
use crate::tf::wire::MAX_MESSAGE;

/// What takes the parts of a file as they come.
pub(super) type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> Result<()>;

/// What gives the parts of a file; 0 bytes at its end.
pub(super) type Source<'a> = &'a mut dyn FnMut(&mut [u8]) -> Result<usize>;

/// What stands before each part of SNDFILE: the header of the message, and the
/// word.
const BEFORE: usize = 4 + 5;

/// The most bytes of one part, and of one when little is to be sent.
const PART: usize = MAX_MESSAGE - 5;
const SMALL_PART: usize = 64 * 1024;

/// When a part of a stream is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acknowledge {
    /// As soon as it has come; it is stored while the next is on its way.
    Received,
    /// When it is stored.
    Stored,
}

impl Connection {
    /// Receives a file in acknowledged messages (document, "RCVFILE"). With
    /// `delete` the server deletes it afterwards.
    ///
    /// # Errors
    /// The server's refusal, the sink's failure (the transfer is broken off),
    /// or the connection is lost.
    pub fn receive_file(&mut self, path: &str, delete: bool, sink: Sink<'_>) -> Result<()> {
        let request = format!("RCVFILE {} {path}", u8::from(delete));
        self.wire().write_message(request.as_bytes())?;
        // With the last acknowledgement the server's file may go.
        let when = if delete {
            Acknowledge::Stored
        } else {
            Acknowledge::Received
        };
        self.take_stream(&request, when, sink)
    }

    /// Takes a stream of `CONT` messages to its `OK`.
    pub(super) fn take_stream(
        &mut self,
        request: &str,
        when: Acknowledge,
        sink: Sink<'_>,
    ) -> Result<()> {
        let mut body = std::mem::take(&mut self.body);
        let mut stored = Ok(());
        loop {
            self.wire().read_message(&mut body)?;
            let Some(part) = body.strip_prefix(b"CONT") else {
                return stored.and(ok_data(request, &body).map(drop));
            };
            let part = part.strip_prefix(b" ").unwrap_or(part);
            if stored.is_ok() && when == Acknowledge::Stored {
                stored = sink(part);
            }
            if stored.is_err() {
                self.request(b"BREAK")?;
                return stored;
            }
            self.wire().write_message(b"CONT")?;
            if when == Acknowledge::Received {
                stored = sink(part);
            }
        }
    }

    /// Sends a file in acknowledged messages (document, "SNDFILE").
    ///
    /// # Errors
    /// The server's refusal, the source's failure (the transfer is broken
    /// off), or the connection is lost.
    pub fn send_file(
        &mut self,
        path: impl AsRef<[u8]>,
        overwrite: bool,
        source: Source<'_>,
    ) -> Result<()> {
        let path = path.as_ref();
        let begin = format!("SNDFILE {} ", u8::from(overwrite));
        let mut reply = self.request(&[begin.as_bytes(), path].concat())?;
        let request = format!("{begin}{}", String::from_utf8_lossy(path));
        if reply != b"CONT" {
            return Err(refusal(&request, &reply));
        }
        let (mut part, mut next) = (Vec::new(), Vec::new());
        let mut loaded = load(&mut part, source);
        loop {
            let body = match loaded {
                Ok(0) => break,
                Ok(len) => len + 5,
                Err(e) => {
                    self.request(b"BREAK")?;
                    return Err(e);
                }
            };
            part[..4].copy_from_slice(&(body as i32).to_be_bytes());
            part[4..BEFORE].copy_from_slice(b"CONT ");
            self.wire().write_units(&mut part[..4 + body], &[4, body])?;
            // The next part is read while the server has this one.
            loaded = load(&mut next, source);
            self.wire().read_message(&mut reply)?;
            if reply != b"CONT" {
                return Err(refusal(&request, &reply));
            }
            std::mem::swap(&mut part, &mut next);
        }
        let reply = self.request(b"OK")?;
        ok_data(&request, &reply).map(drop)
    }

    /// Receives a file in frames (document, "SDOWN").
    ///
    /// # Errors
    /// `Cancelled` when the server can't read it, the sink's failure once all
    /// has come, or the connection is lost.
    pub fn stream_down(&mut self, path: &str, sink: Sink<'_>) -> Result<()> {
        self.wire()
            .write_message(format!("SDOWN {path}").as_bytes())?;
        let mut buffer = Vec::new();
        let mut result = Ok(());
        loop {
            let header = self.wire().read_i32()?;
            match usize::try_from(header) {
                Ok(0) => return result,
                Ok(len) if len <= MAX_MESSAGE => {
                    buffer.resize(len, 0);
                    self.wire().read_raw(&mut buffer)?;
                    result = result.and_then(|()| sink(&buffer));
                }
                Ok(_) => return Err(ClientError::Lost(too_long(header))),
                Err(_) => {
                    return Err(ClientError::Cancelled {
                        path: path.to_owned(),
                    });
                }
            }
        }
    }

    /// Sends a file in frames (document, "SUP"), replacing what is there.
    ///
    /// # Errors
    /// `Cancelled` when the server can't store it, the source's failure (the
    /// transfer is broken off), or the connection is lost.
    pub fn stream_up(&mut self, path: &str, source: Source<'_>) -> Result<()> {
        const FRAME: usize = 256 * 1024;
        self.wire()
            .write_message(format!("SUP {path}").as_bytes())?;
        let mut frame = vec![0; 4 + FRAME];
        loop {
            let len = match source(&mut frame[4..]) {
                Ok(0) => break,
                Ok(len) => len,
                Err(e) => {
                    self.wire().write_i32(-1)?;
                    return Err(e);
                }
            };
            frame[..4].copy_from_slice(&(len as i32).to_be_bytes());
            self.wire().write_units(&mut frame[..4 + len], &[4, len])?;
        }
        self.wire().write_i32(0)?;
        match self.wire().read_i32()? {
            0 => Ok(()),
            _ => Err(ClientError::Cancelled {
                path: path.to_owned(),
            }),
        }
    }
}

/// Lets the source fill the next part; the buffer is a long one only when a
/// short one was too small.
fn load(part: &mut Vec<u8>, source: Source<'_>) -> Result<usize> {
    if part.is_empty() {
        part.resize(BEFORE + SMALL_PART, 0);
    }
    let mut len = source(&mut part[BEFORE..])?;
    if len == SMALL_PART {
        part.resize(BEFORE + PART, 0);
        len += source(&mut part[BEFORE + SMALL_PART..])?;
    }
    Ok(len)
}

fn too_long(header: i32) -> crate::tf::wire::WireError {
    crate::tf::wire::WireError::Io(io::Error::new(
        io::ErrorKind::InvalidData,
        format!("frame of {header} bytes announced"),
    ))
}
