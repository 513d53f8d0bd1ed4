//! SNDFILE, and the messages that listings come in.

use super::connect::{Connection, ok_data, refusal};
use super::error::Result;
use crate::tf::wire::{MAX_MESSAGE, message_header};

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

impl Connection {
    /// Hands the parts of a stream of `CONT` messages to `sink`, up to its
    /// `OK`. A failure of `sink` breaks the stream off.
    pub(super) fn take_stream(&mut self, request: &str, sink: Sink<'_>) -> Result<()> {
        let mut body = std::mem::take(&mut self.body);
        loop {
            self.wire().read_message(&mut body)?;
            let Some(part) = body.strip_prefix(b"CONT") else {
                return ok_data(request, &body).map(drop);
            };
            let taken = sink(part.strip_prefix(b" ").unwrap_or(part));
            if taken.is_err() {
                self.request(b"BREAK")?;
                return taken;
            }
            self.wire().write_message(b"CONT")?;
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
            part[..4].copy_from_slice(&message_header(body));
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
