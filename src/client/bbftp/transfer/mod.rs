//! Files to the server and from it.

mod carry;
mod get;
mod old;
mod put;
mod resume;

use std::time::Duration;

use super::error::{Error, Fate, PORTS, Result, UNKNOWN};
use super::observe::{Event, Observer, WARN_NO_GZIP};
use super::session::Session;
use crate::bbftp::stream::Coding;
use crate::bbftp::wire::{
    Code, MAX_OLD_STREAMS, MAX_STREAMS, Options, TRANSFER_BYTES, Transfer, decode_ports,
};

/// The most KiB of a buffer or a window that are asked for.
const MAX_KIB: u32 = 16 * 1024;

/// The longest chunk of version 1.
const OLD_CHUNK: usize = 256_000;

/// How a file is transferred.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct How {
    /// What is kept, made and compressed.
    pub options: Options,
    /// The most streams, 1 to 32; version 1 has at most 10.
    pub streams: u32,
    /// The buffer of a stream in KiB; a file gets no more streams than it has
    /// buffers.
    pub buffer: u32,
    /// The server's window for sending in KiB; 256 leaves it to the system here.
    pub send_window: u32,
    /// The server's window for receiving in KiB; the same.
    pub receive_window: u32,
    /// Whether all is tried without a byte of the file, and nothing is touched.
    pub simulate: bool,
    /// Whether what arrived of a transfer that was cut is used, where
    /// [`Session::offer`] has it.
    pub resume: bool,
    /// Whether SHA-256 of both files is compared, where [`Session::offer`] has it.
    pub sha256: bool,
}

impl Default for How {
    fn default() -> How {
        How {
            options: Options::USUAL,
            streams: 1,
            buffer: 256,
            send_window: 256,
            receive_window: 256,
            simulate: false,
            resume: false,
            sha256: false,
        }
    }
}

impl How {
    /// What a request says of it.
    pub(super) fn request(&self) -> Transfer {
        Transfer {
            options: self.options,
            send_window: self.send_window.clamp(1, MAX_KIB),
            receive_window: self.receive_window.clamp(1, MAX_KIB),
            buffer: self.buffer.clamp(1, MAX_KIB),
            streams: self.streams.clamp(1, MAX_STREAMS),
            ..Transfer::default()
        }
    }

    fn old_streams(&self) -> u32 {
        self.streams.clamp(1, MAX_OLD_STREAMS)
    }

    fn old_coding(&self) -> Coding {
        match self.options.has(Options::GZIP) {
            true => Coding::Gzip(OLD_CHUNK),
            false => Coding::Plain,
        }
    }
}

/// What a transfer was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Bytes of the file.
    pub bytes: u64,
    /// From the start of the streams to the server's last word.
    pub time: Duration,
    /// How many streams there were.
    pub streams: u32,
    /// Whether they were compressed.
    pub gzip: bool,
}

impl Moved {
    fn nothing(gzip: bool) -> Moved {
        Moved {
            bytes: 0,
            time: Duration::ZERO,
            streams: 1,
            gzip,
        }
    }
}

/// A transfer as the server has it.
struct Agreed {
    transfer: Transfer,
    /// The server's ports in version 3.
    ports: Vec<u16>,
    coding: Coding,
}

impl Session {
    /// Waits for the server's consent to a transfer of versions 2 or 3.
    fn read_consent(&mut self, how: &How, observer: &dyn Observer) -> Result<Agreed> {
        let code = match self.version {
            2 => Code::TransOkV2,
            _ => Code::TransOkV3,
        };
        let payload = self.expect(code, TRANSFER_BYTES, observer)?;
        self.transfers = self.transfers.wrapping_add(1);
        let transfer = Transfer::decode(&payload).map_err(|e| self.reading(&e))?;
        if transfer.streams > how.request().streams {
            let text = "The server wants more streams than it was asked for";
            return Err(Error::new(UNKNOWN, Fate::FinalReconnect, text));
        }
        let mut ports = Vec::new();
        if self.version == 3 && transfer.size > 0 {
            let len = transfer.streams as usize * 4;
            let bytes = self
                .control
                .read_bytes(len)
                .and_then(|bytes| decode_ports(&bytes));
            ports = bytes.map_err(|e| self.reading(&e).with_code(PORTS))?;
        }
        let coding = self.coding(&transfer, how, observer);
        Ok(Agreed {
            transfer,
            ports,
            coding,
        })
    }

    fn coding(&self, transfer: &Transfer, how: &How, observer: &dyn Observer) -> Coding {
        if transfer.options.has(Options::GZIP) {
            let buffer = transfer.buffer.clamp(1, MAX_KIB) as usize;
            return Coding::Gzip(buffer * 1024);
        }
        if how.options.has(Options::GZIP) {
            observer.notify(&Event::Warning {
                code: WARN_NO_GZIP,
                text: "The server cannot compress",
            });
        }
        Coding::Plain
    }
}
