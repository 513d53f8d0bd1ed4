//! PUT, GET and GETCAN: files in frames with 8-byte headers, from any offset.
//! SNDFILE, and the streams of messages that listings come in (document, same
//! names). Inside this library frames change hands without being copied.

use super::connect::{Connection, ok_data, refusal};
use super::error::{ClientError, Result};
use crate::tf::wire::{MAX_MESSAGE, WireError, message_header};

const END: i64 = 0;
const STOP: i64 = -1;
const CANCEL: i64 = -2;
const FIN: i64 = -127;

/// The most codes that are on their way when a transfer ends.
const MOST_CODES: usize = 16;

/// The most bytes of frames that may come when we have cancelled: more than a
/// network holds.
const MOST_LATE_BYTES: u64 = 1 << 30;

const BAD_FRAME: WireError = WireError::Broken("a frame of a length nobody agreed on");

/// The bytes before the data of a frame.
pub(super) const HEADER: usize = 8;

/// The buffer proposed to the server, in bytes.
pub(super) const BUFFER: usize = 256 * 1024;

/// Gives the next frame, room for its header before its data; `None` at the
/// end. It gets the last frame back, to use its memory again.
pub(super) type Frames<'a> = &'a mut dyn FnMut(Vec<u8>) -> Result<Option<Vec<u8>>>;

/// Takes the data of a frame in a buffer and gives back a buffer for the next.
pub(super) type Taker<'a> = &'a mut dyn FnMut(Vec<u8>) -> Result<Vec<u8>>;

impl Connection {
    /// Receives a file from an offset on (document, "GET").
    ///
    /// # Errors
    /// The server's refusal, `Cancelled` when it can't read on, the sink's
    /// failure (the transfer is cancelled), or the connection is lost.
    pub fn get(&mut self, path: impl AsRef<[u8]>, offset: u64, sink: Sink<'_>) -> Result<()> {
        self.get_frames(path.as_ref(), offset, BUFFER, &mut |data| {
            sink(&data).map(|()| data)
        })
    }

    /// As [`Connection::get`], with frames of at most `buffer` bytes.
    pub(super) fn get_frames(
        &mut self,
        path: &[u8],
        offset: u64,
        buffer: usize,
        take: Taker<'_>,
    ) -> Result<()> {
        self.agree("GET", path, &[offset, buffer as u64])?;
        let mut data = Vec::new();
        let mut result = Ok(());
        // Whether we have cancelled it: once, and no more.
        let mut over = false;
        let mut late = MOST_LATE_BYTES;
        loop {
            match self.read_frame(&mut data, buffer)? {
                END => break,
                CANCEL => {
                    result = result.and(Err(cancelled(path)));
                    break;
                }
                FIN if over => return result,
                1.. if over => late = late.checked_sub(data.len() as u64).ok_or(BAD_FRAME)?,
                1.. => match take(std::mem::take(&mut data)) {
                    Ok(next) => data = next,
                    Err(e) => {
                        let mut codes = [CANCEL.to_be_bytes(), FIN.to_be_bytes()].concat();
                        self.wire().write_units(&mut codes, &[8, 8])?;
                        (result, over) = (Err(e), true);
                    }
                },
                _ => return Err(BAD_FRAME.into()),
            }
        }
        if !over {
            self.wire().write_i64(FIN)?;
        }
        self.await_fin()?;
        result
    }

    /// Receives `count` frames of at most `buffer` bytes from an offset on, or
    /// fewer at the end of the file (document, "GETCAN").
    ///
    /// # Errors
    /// The server's refusal, `Cancelled` when it can't read on, or the
    /// connection is lost. A taker's failure costs the connection.
    pub(super) fn get_some_frames(
        &mut self,
        path: &[u8],
        offset: u64,
        buffer: usize,
        count: u64,
        take: Taker<'_>,
    ) -> Result<()> {
        self.agree("GETCAN", path, &[offset, buffer as u64, count])?;
        let mut data = Vec::new();
        for _ in 0..count {
            match self.read_frame(&mut data, buffer)? {
                END => return Ok(()),
                CANCEL => return Err(cancelled(path)),
                1.. => data = take(data)?,
                _ => return Err(BAD_FRAME.into()),
            }
        }
        Ok(self.wire().write_i64(CANCEL)?)
    }

    /// Reads a code, or the length of a frame and its data.
    fn read_frame(&mut self, data: &mut Vec<u8>, buffer: usize) -> Result<i64> {
        let header = self.wire().read_i64()?;
        if let Ok(len @ 1..) = usize::try_from(header) {
            if len > buffer {
                return Err(BAD_FRAME.into());
            }
            data.resize(len, 0);
            self.wire().read_raw(data)?;
        }
        Ok(header)
    }

    /// Sends a file to be written from an offset on (document, "PUT"). What
    /// is stored behind the last byte sent stays.
    ///
    /// # Errors
    /// The server's refusal, `Cancelled` when it can't store on, the source's
    /// failure (what was sent stays), or the connection is lost.
    pub fn put(&mut self, path: impl AsRef<[u8]>, offset: u64, source: Source<'_>) -> Result<()> {
        let path = path.as_ref();
        let size = self.begin_put(path, offset, BUFFER)?;
        self.put_all(path, size, source)
    }

    /// The same for a whole part, see [`Connection::begin_put_of`].
    pub(super) fn put_part(&mut self, names: (&[u8], &[u8]), source: Source<'_>) -> Result<()> {
        let size = self.begin_put_of(names, 0, BUFFER)?;
        self.put_all(names.0, size, source)
    }

    /// Sends the frames of a PUT that has begun, each of up to `size` bytes.
    fn put_all(&mut self, path: &[u8], size: usize, source: Source<'_>) -> Result<()> {
        self.put_frames(path, &mut |mut frame| {
            frame.resize(HEADER + size, 0);
            let len = source(&mut frame[HEADER..])?;
            frame.truncate(HEADER + len);
            Ok((len > 0).then_some(frame))
        })
    }

    /// Asks for a PUT and returns the most bytes of a frame's data.
    pub(super) fn begin_put(&mut self, path: &[u8], offset: u64, buffer: usize) -> Result<usize> {
        self.agree("PUT", path, &[offset, buffer as u64])
    }

    /// The same for a part. The server gets the name of its target (TFD_TARGET), for
    /// operators; one without the extension answers that it does not know the word.
    pub(super) fn begin_put_of(
        &mut self,
        (part, target): (&[u8], &[u8]),
        offset: u64,
        buffer: usize,
    ) -> Result<usize> {
        let told = [b"TFD_TARGET ", target].concat();
        self.wire().write_message_later(&told);
        let numbers = [offset, buffer as u64];
        let (shown, request) = agreement("PUT", part, &numbers);
        // The reply to the first is of no interest.
        self.request(&request)?;
        let mut reply = Vec::new();
        self.wire().read_message(&mut reply)?;
        agreed(&shown, &reply, &numbers)
    }

    /// Sends the frames of a PUT that has begun.
    pub(super) fn put_frames(&mut self, path: &[u8], next: Frames<'_>) -> Result<()> {
        let mut failed = None;
        let mut spent = Vec::new();
        let last = loop {
            if self.wire().has_input() {
                break None;
            }
            match next(spent) {
                Ok(None) => break Some(END),
                Ok(Some(mut frame)) => {
                    let len = frame.len() - HEADER;
                    frame[..HEADER].copy_from_slice(&(len as u64).to_be_bytes());
                    self.wire().write_units(&mut frame, &[HEADER, len])?;
                    spent = frame;
                }
                Err(e) => {
                    failed = Some(e);
                    break Some(STOP);
                }
            }
        };
        if let Some(code) = last {
            self.wire().write_i64(code)?;
        }
        let first = self.wire().read_i64()?;
        if first != FIN {
            self.await_fin()?;
        }
        self.wire().write_i64(FIN)?;
        match failed {
            Some(e) => Err(e),
            None if first == FIN => Ok(()),
            None => Err(self.explained(cancelled(path))?),
        }
    }

    /// Reads to the end of a transfer.
    fn await_fin(&mut self) -> Result<()> {
        for _ in 0..MOST_CODES {
            if self.wire().read_i64()? == FIN {
                return Ok(());
            }
        }
        Err(BAD_FRAME.into())
    }

    /// Sends a request whose last number but those behind it is the buffer,
    /// and returns the agreed one.
    fn agree(&mut self, word: &str, path: &[u8], numbers: &[u64]) -> Result<usize> {
        let (shown, request) = agreement(word, path, numbers);
        let reply = self.request(&request)?;
        agreed(&shown, &reply, numbers)
    }
}

/// A request whose last number but those behind it is the buffer: as errors show
/// it, and its bytes.
fn agreement(word: &str, path: &[u8], numbers: &[u64]) -> (String, Vec<u8>) {
    let shown = format!("{word} {}", String::from_utf8_lossy(path));
    let mut request = [word.as_bytes(), b" ", path, b" "].concat();
    for number in numbers {
        request.extend_from_slice(&number.to_be_bytes());
    }
    (shown, request)
}

/// The buffer that is agreed by the reply to it.
fn agreed(shown: &str, reply: &[u8], numbers: &[u64]) -> Result<usize> {
    let data = ok_data(shown, reply)?;
    let size = data.try_into().map_or(0, u64::from_be_bytes);
    match usize::try_from(size) {
        Ok(size) if size > 0 && size as u64 <= numbers[1] => Ok(size),
        _ => Err(refusal(shown, reply)),
    }
}

fn cancelled(path: &[u8]) -> ClientError {
    ClientError::Cancelled {
        path: String::from_utf8_lossy(path).into_owned(),
    }
}

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

    /// Sends a file in acknowledged messages (document, "SNDFILE"). One of a single short
    /// part takes one round trip.
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
        let begin = format!("SNDFILE {} ", u8::from(overwrite));
        let request = [begin.as_bytes(), path.as_ref()].concat();
        let (mut part, mut next) = (Vec::new(), Vec::new());
        let len = load(&mut part, source)?;
        let mut second = None;
        if len < SMALL_PART {
            let more = if len > 0 { load(&mut next, source)? } else { 0 };
            if more == 0 {
                return self.send_at_once(&request, &part[BEFORE..BEFORE + len]);
            }
            second = Some(Ok(more));
        }
        let mut reply = self.request(&request)?;
        let text = String::from_utf8_lossy(&request);
        if reply != b"CONT" {
            return Err(refusal(&text, &reply));
        }
        let mut loaded = Ok(len);
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
            loaded = second.take().unwrap_or_else(|| load(&mut next, source));
            self.wire().read_message(&mut reply)?;
            if reply != b"CONT" {
                return Err(self.explained(refusal(&text, &reply))?);
            }
            std::mem::swap(&mut part, &mut next);
        }
        let reply = self.request(b"OK")?;
        let ended = ok_data(&text, &reply).map(drop);
        ended.or_else(|e| Err(self.explained(e)?))
    }

    /// Sends the request, all data and the end of SNDFILE without waiting in between. A
    /// server that refuses takes what follows for commands that it does not know.
    fn send_at_once(&mut self, request: &[u8], data: &[u8]) -> Result<()> {
        self.wire().write_message_later(request);
        let mut left = 1;
        if !data.is_empty() {
            self.wire().write_message_later(&[b"CONT ", data].concat());
            left = 2;
        }
        self.wire().write_message(b"OK")?;
        let text = String::from_utf8_lossy(request);
        let mut reply = Vec::new();
        self.wire().read_message(&mut reply)?;
        while left > 0 && reply == b"CONT" {
            self.wire().read_message(&mut reply)?;
            left -= 1;
        }
        let ended = match left {
            0 => ok_data(&text, &reply).map(drop),
            _ => Err(refusal(&text, &reply)),
        };
        for _ in 0..left {
            self.wire().read_message(&mut reply)?;
        }
        ended.or_else(|e| Err(self.explained(e)?))
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
