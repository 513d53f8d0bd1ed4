//! RCVFILE, SDOWN and SUP of one file, and FSIZE: requests that a server has
//! to answer and the client library does not send one at a time.

use tfd::client::{ClientError, Connection, Result, refusal};
use tfd::tf::wire::{MAX_MESSAGE, WireError};

/// Takes the parts of a file as they come.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> Result<()>;

/// Gives the parts of a file; 0 bytes at its end.
pub(crate) type Source<'a> = &'a mut dyn FnMut(&mut [u8]) -> Result<usize>;

pub(crate) trait Flows {
    /// Receives a file in acknowledged messages (document, "RCVFILE"). With
    /// `delete` the server deletes it afterwards.
    fn receive_file(&mut self, path: &str, delete: bool, sink: Sink<'_>) -> Result<()>;

    /// Receives a file in frames (document, "SDOWN"). A sink's failure is
    /// returned when all has come.
    fn stream_down(&mut self, path: &str, sink: Sink<'_>) -> Result<()>;

    /// Sends a file in frames (document, "SUP"), replacing an existing one.
    fn stream_up(&mut self, path: &str, source: Source<'_>) -> Result<()>;

    /// The size of a file in bytes; negative for anything else (document,
    /// "FSIZE").
    fn file_size(&mut self, path: &str) -> Result<i64>;
}

impl Flows for Connection {
    fn receive_file(&mut self, path: &str, delete: bool, sink: Sink<'_>) -> Result<()> {
        let request = format!("RCVFILE {} {path}", u8::from(delete));
        self.wire().write_message(request.as_bytes())?;
        let (mut body, mut stored) = (Vec::new(), Ok(()));
        loop {
            self.wire().read_message(&mut body)?;
            let Some(part) = body.strip_prefix(b"CONT") else {
                return match body.as_slice() {
                    b"OK" => stored,
                    other => Err(refusal(&request, other)),
                };
            };
            let part = part.strip_prefix(b" ").unwrap_or(part);
            // With the last acknowledgement the server's file may go.
            if delete && stored.is_ok() {
                stored = sink(part);
            }
            if stored.is_err() {
                self.request(b"BREAK")?;
                return stored;
            }
            self.wire().write_message(b"CONT")?;
            if !delete {
                stored = sink(part);
            }
        }
    }

    fn stream_down(&mut self, path: &str, sink: Sink<'_>) -> Result<()> {
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
                Ok(_) => return Err(WireError::Length(header).into()),
                Err(_) => return Err(cancelled(path)),
            }
        }
    }

    fn stream_up(&mut self, path: &str, source: Source<'_>) -> Result<()> {
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
            _ => Err(cancelled(path)),
        }
    }

    fn file_size(&mut self, path: &str) -> Result<i64> {
        self.wire()
            .write_message(format!("FSIZE {path}").as_bytes())?;
        Ok(self.wire().read_i64()?)
    }
}

fn cancelled(path: &str) -> ClientError {
    ClientError::Cancelled {
        path: path.to_owned(),
    }
}
