//! PUT and GET: files in frames with 8-byte headers, from any offset
//! (document, "PUT" and "GET").

use super::connect::{Connection, ok_data, refusal};
use super::error::{ClientError, Result};
use super::streams::{Sink, Source};

const END: i64 = 0;
const STOP: i64 = -1;
const CANCEL: i64 = -2;
const FIN: i64 = -127;

/// The buffer proposed to the server, in bytes.
const BUFFER: usize = 256 * 1024;

impl Connection {
    /// Receives a file from an offset on (document, "GET").
    ///
    /// # Errors
    /// The server's refusal, `Cancelled` when it can't read on, the sink's
    /// failure (the transfer is cancelled), or the connection is lost.
    pub fn get(&mut self, path: &str, offset: u64, sink: Sink<'_>) -> Result<()> {
        self.agree("GET", path, offset)?;
        let mut buffer = Vec::new();
        let mut result = Ok(());
        // Whether we have said that it is over: once, and no more.
        let mut over = false;
        loop {
            let header = self.wire().read_i64()?;
            match header {
                END => break,
                CANCEL => {
                    result = result.and(Err(ClientError::Cancelled { path: path.to_owned() }));
                    break;
                }
                FIN if over => return result,
                1.. if header as u64 <= BUFFER as u64 => {
                    buffer.resize(header as usize, 0);
                    self.wire().read_raw(&mut buffer)?;
                    if result.is_ok() {
                        result = sink(&buffer);
                        if result.is_err() {
                            let mut codes = [CANCEL.to_be_bytes(), FIN.to_be_bytes()].concat();
                            self.wire().write_units(&mut codes, &[8, 8])?;
                            over = true;
                        }
                    }
                }
                _ => return Err(refusal("GET", header.to_string().as_bytes())),
            }
        }
        if !over {
            self.wire().write_i64(FIN)?;
        }
        while self.wire().read_i64()? != FIN {}
        result
    }

    /// Sends a file to be written from an offset on (document, "PUT"). What
    /// is stored behind the last byte sent stays.
    ///
    /// # Errors
    /// The server's refusal, `Cancelled` when it can't store on, the source's
    /// failure (what was sent stays), or the connection is lost.
    pub fn put(&mut self, path: &str, offset: u64, source: Source<'_>) -> Result<()> {
        let size = self.agree("PUT", path, offset)?;
        let mut frame = vec![0; 8 + size];
        let mut failed = None;
        let last = loop {
            if self.wire().has_input() {
                break None;
            }
            match source(&mut frame[8..]) {
                Ok(0) => break Some(END),
                Ok(len) => {
                    frame[..8].copy_from_slice(&(len as i64).to_be_bytes());
                    self.wire().write_units(&mut frame[..8 + len], &[8, len])?;
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
            while self.wire().read_i64()? != FIN {}
        }
        self.wire().write_i64(FIN)?;
        match failed {
            Some(e) => Err(e),
            None if first == FIN => Ok(()),
            None => Err(ClientError::Cancelled { path: path.to_owned() }),
        }
    }

    /// Sends the request and returns the agreed buffer.
    fn agree(&mut self, word: &str, path: &str, offset: u64) -> Result<usize> {
        let shown = format!("{word} {path}");
        let mut request = format!("{word} {path} ").into_bytes();
        request.extend_from_slice(&offset.to_be_bytes());
        request.extend_from_slice(&(BUFFER as u64).to_be_bytes());
        let reply = self.request(&request)?;
        let data = ok_data(&shown, &reply)?;
        let size = data.try_into().map(u64::from_be_bytes).unwrap_or(0);
        match usize::try_from(size) {
            Ok(size @ 1..=BUFFER) => Ok(size),
            _ => Err(refusal(&shown, &reply)),
        }
    }
}
