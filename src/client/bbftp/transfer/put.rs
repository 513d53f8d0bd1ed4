//! Files to the server.

use std::path::Path;

use super::carry::Freight;
use super::{How, Moved};
use crate::bbftp::stream::{Direction, partition};
use crate::bbftp::wire::{Code, Options, Transfer};
use crate::client::bbftp::error::{Error, Fate, OPEN, Result, SERVER, UNKNOWN};
use crate::client::bbftp::local::{Source, sha256, temporary_suffix};
use crate::client::bbftp::observe::Observer;
use crate::client::bbftp::session::Session;

impl Session {
    /// Sends a file.
    ///
    /// # Errors
    /// What failed, and what may be tried next.
    pub fn put(
        &mut self,
        local: &Path,
        remote: &[u8],
        how: &How,
        observer: &dyn Observer,
    ) -> Result<Moved> {
        let source = Source::open(local)?;
        if how.simulate && (source.size == 0 || self.version == 1) {
            // An empty file would be made at once, and version 1 can't simulate.
            return Ok(Moved::nothing(false));
        }
        let moved = match self.version {
            1 => self.put_old(&source, remote, how, observer)?,
            _ if self.resumes(how) && source.size > 0 => {
                self.put_rest(&source, remote, how, observer)?
            }
            _ => self.put_new(&source, remote, how, observer)?,
        };
        if how.sha256 && self.offer().sha256 && !how.simulate {
            let ours = sha256(&source.file);
            let ours = ours.map_err(|e| Error::local(OPEN, "reading", local, &e))?;
            let theirs = self.ask_patiently(source.size, |session| session.sha256(remote))?;
            if theirs != ours {
                return Err(differs());
            }
        }
        Ok(moved)
    }

    fn put_new(
        &mut self,
        source: &Source,
        remote: &[u8],
        how: &How,
        observer: &dyn Observer,
    ) -> Result<Moved> {
        let request = request(source, how);
        let simulated = [remote, temporary_suffix().as_encoded_bytes()].concat();
        let name = match how.simulate && !self.is_tfd() {
            // The public servers delete the file of a simulation.
            true => &simulated,
            false => remote,
        };
        self.request_transfer(Code::StoreV2, &request, name)?;
        if source.size == 0 {
            self.read_ok(observer)?;
            return Ok(Moved::nothing(how.options.has(Options::GZIP)));
        }
        let agreed = self.read_consent(how, observer)?;
        if agreed.transfer.size == 0 {
            let text = "The server wants no bytes of a file that has some";
            return Err(Error::new(UNKNOWN, Fate::FinalReconnect, text));
        }
        let freight = Freight {
            file: (!how.simulate).then_some(&source.file),
            direction: Direction::Send,
            size: source.size,
            ranges: partition(0..source.size, agreed.transfer.streams as usize),
            coding: agreed.coding,
            observer,
        };
        self.carry_agreed(&agreed, how, &freight)
    }

    /// Sends a request with the name of its file.
    pub(super) fn request_transfer(
        &mut self,
        code: Code,
        request: &Transfer,
        name: &[u8],
    ) -> Result<()> {
        self.control
            .hold(code, &request.encode())
            .map_err(|e| Error::sending(&e))?;
        self.send(Code::FileName, name)
    }
}

/// What the server is told of a file that it gets.
pub(super) fn request(source: &Source, how: &How) -> Transfer {
    source.describe(Transfer {
        streams: streams(how, source.size),
        ..how.request()
    })
}

/// No stream gets less than a buffer.
fn streams(how: &How, size: u64) -> u32 {
    let request = how.request();
    let buffers = size / (u64::from(request.buffer) * 1024);
    let most = u32::try_from(buffers).unwrap_or(u32::MAX).max(1);
    request.streams.min(most)
}

pub(super) fn differs() -> Error {
    let text = "SHA-256 of the files differs: one was changed during the transfer";
    Error::new(SERVER, Fate::Again, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_stream_gets_less_than_a_buffer() {
        let how = |streams, buffer| How {
            streams,
            buffer,
            ..How::default()
        };
        for (streams, buffer, size, expected) in [
            (4, 1, 0, 1),
            (4, 1, 1023, 1),
            (4, 1, 2048, 2),
            (4, 1, 1 << 40, 4),
            (99, 1, 1 << 40, 32),
            (0, 0, 1 << 40, 1),
        ] {
            let how = how(streams, buffer);
            let granted = super::streams(&how, size);
            assert_eq!(granted, expected, "{streams} {buffer} {size}");
            assert_ne!(how.request().buffer, 0);
        }
    }
}
