//! What is below the units: TCP, or TLS 1.3 on it. Only TLS can be without a
//! cipher inside, and nothing turns such a wire into one on TCP.

use std::io::{self, IoSlice, Write};
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::meter::count;
use super::{Result, Wire, WireError};
use crate::net::tls::records::{
    BEHIND, Fault, Got, HEADER, LastWord, MAX_CONTENT, Records, length_sealed,
};
use crate::sys::tls::send_record;

/// The most records that go out with one write.
const RECORDS_AT_ONCE: usize = 16;

const NO_KEY: WireError = WireError::Keyless(Fault::INTERNAL.text);

/// What carries the units.
#[derive(Default)]
pub(super) enum Link {
    #[default]
    Tcp,
    Tls(Box<Records>, Inside),
}

/// What is inside TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inside {
    /// The session cipher, as on plain TCP.
    Cipher,
    /// Nothing: TLS alone protects.
    Plain,
}

impl Wire {
    /// The same wire above TLS, of which the handshake is done.
    pub(crate) fn above_tls(&mut self, records: Records, inside: Inside) {
        self.link = Link::Tls(Box::new(records), inside);
    }

    /// Whether the units go over TCP as they are.
    pub(super) fn is_tcp(&self) -> bool {
        matches!(self.link, Link::Tcp)
    }

    /// Whether this wire is above TLS.
    #[must_use]
    pub fn is_over_tls(&self) -> bool {
        matches!(self.link, Link::Tls(..))
    }

    /// Whether TLS alone protects this wire, so that it has no session key.
    #[must_use]
    pub fn is_plain_in_tls(&self) -> bool {
        matches!(self.link, Link::Tls(_, Inside::Plain))
    }

    /// Whether an end of the connection is no loss. Only TLS tells.
    pub(super) fn may_end_here(&self) -> bool {
        match &self.link {
            Link::Tcp => true,
            Link::Tls(records, _) => records.is_closed(),
        }
    }

    /// Large buffers from now on, for transfers.
    pub fn expect_transfers(&mut self) {
        if let Link::Tls(records, _) = &mut self.link {
            records.inbox.let_grow();
        }
    }

    /// Says over TLS that nothing more is sent, so that the peer knows that
    /// nothing is missing. The connection is over then.
    pub fn close(&mut self) {
        if let Link::Tls(records, _) = &mut self.link
            && let Some(farewell) = records.farewell()
        {
            self.say_last(&farewell);
        }
    }

    /// Sends a last record if the system takes it at once: a peer that reads
    /// nothing holds nobody up.
    fn say_last(&mut self, word: &LastWord) {
        let sent = match word {
            LastWord::Sealed(record) => {
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                send(&self.socket, record, flags).map_err(io::Error::from)
            }
            LastWord::Bare(kind, content) => {
                send_record(self.socket.as_fd(), *kind, content).map(length_sealed)
            }
        };
        if let (Ok(n), Some(meter)) = (sent, &self.meter) {
            count(meter.sent, n);
        }
    }

    /// Bytes of the socket as they are: for a handshake of TLS.
    pub(crate) fn read_raw_bytes(&mut self, to: &mut [u8]) -> Result<usize> {
        self.read_socket(to, true)
    }

    /// Bytes to the socket as they are.
    pub(crate) fn write_raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.account(bytes.len());
        self.socket.write_all(bytes).map_err(WireError::from)
    }

    /// One read that gave something. With `may_stop` a request to stop ends
    /// the wait.
    pub(super) fn read_some(&mut self, to: &mut [u8], may_stop: bool) -> Result<usize> {
        if self.owes && !self.has_input() {
            self.flush()?;
        }
        match std::mem::take(&mut self.link) {
            Link::Tcp => self.read_socket(to, may_stop),
            Link::Tls(mut records, inside) => {
                let got = self.read_records(&mut records, to, may_stop);
                self.link = Link::Tls(records, inside);
                got
            }
        }
    }

    fn read_records(
        &mut self,
        records: &mut Records,
        to: &mut [u8],
        may_stop: bool,
    ) -> Result<usize> {
        loop {
            match records.take(to) {
                Ok(Got::Data(n)) => return Ok(n),
                Ok(Got::Closed) => return Err(WireError::Cut),
                Ok(Got::More) => {
                    let n = self.read_socket(records.inbox.room(to.len()), may_stop)?;
                    records.inbox.arrived(n);
                }
                Err(fault) => return Err(self.complain(records, fault)),
            }
        }
    }

    /// Tells the peer what was wrong, as far as it still listens.
    fn complain(&mut self, records: &mut Records, fault: Fault) -> WireError {
        if let Some(complaint) = records.complaint(fault) {
            self.say_last(&complaint);
        }
        WireError::Broken(fault.text)
    }

    /// Whether there is data, or an end of it, to be read without waiting.
    /// Records without data are dealt with.
    pub(super) fn has_record(&mut self) -> bool {
        let Link::Tls(records, _) = &mut self.link else {
            return false;
        };
        while let Ok(Got::More) = records.look() {
            match recv(&self.socket, records.inbox.room(0), RecvFlags::DONTWAIT) {
                Ok((n @ 1.., _)) => {
                    records.inbox.arrived(n);
                    if let Some(meter) = &self.meter {
                        count(meter.received, n);
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return false,
                _ => return true,
            }
        }
        true
    }

    /// Sends bytes; over TLS they are enciphered in place.
    pub(super) fn send(&mut self, bytes: &mut [u8]) -> Result<()> {
        match std::mem::take(&mut self.link) {
            Link::Tcp => self.write_raw(bytes),
            Link::Tls(mut records, inside) => {
                let sent = if records.are_by_kernel() {
                    self.send_by_kernel(&mut records, bytes)
                } else {
                    self.send_records(&mut records, bytes)
                };
                self.link = Link::Tls(records, inside);
                sent
            }
        }
    }

    fn send_records(&mut self, records: &mut Records, bytes: &mut [u8]) -> Result<()> {
        for batch in bytes.chunks_mut(RECORDS_AT_ONCE * MAX_CONTENT) {
            if let Some(due) = due(records)? {
                self.write_raw(&due)?;
            }
            let mut around = [([0; HEADER], [0; BEHIND]); RECORDS_AT_ONCE];
            for (content, around) in batch.chunks_mut(MAX_CONTENT).zip(&mut around) {
                let sealed = records.seal(content);
                *around = sealed.ok_or(NO_KEY)?;
            }
            let mut slices = [IoSlice::new(&[]); 3 * RECORDS_AT_ONCE];
            let mut used = 0;
            let mut len = 0;
            for (content, (header, behind)) in batch.chunks(MAX_CONTENT).zip(&around) {
                for part in [&header[..], content, behind] {
                    slices[used] = IoSlice::new(part);
                    used += 1;
                    len += part.len();
                }
            }
            self.account(len);
            write_all_vectored(&self.socket, &mut slices[..used])?;
        }
        Ok(())
    }

    /// Makes records of the bytes on their way, over TLS.
    pub(super) fn seal_going(&mut self) -> Result<()> {
        let Link::Tls(records, _) = &mut self.link else {
            return Ok(());
        };
        let mut sealed = Vec::with_capacity(self.going.len() + 1024);
        if let Some(due) = due(records)? {
            sealed.extend_from_slice(&due);
        }
        for content in self.going.chunks_mut(MAX_CONTENT) {
            let (header, behind) = records.seal(content).ok_or(NO_KEY)?;
            sealed.extend_from_slice(&header);
            sealed.extend_from_slice(content);
            sealed.extend_from_slice(&behind);
        }
        self.going = sealed;
        Ok(())
    }

    /// Sends bytes that are on their way, as many as the system takes without
    /// waiting.
    pub(super) fn send_going(&mut self) -> Result<()> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let sent = match send(&self.socket, &self.going, flags) {
            Ok(sent) => sent,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(e) => return Err(io::Error::from(e).into()),
        };
        self.account(sent);
        self.going.drain(..sent);
        Ok(())
    }

    /// Takes note of bytes that are about to go out.
    pub(super) fn account(&mut self, bytes: usize) {
        if let Some(pace) = &self.pace {
            pace.moved(bytes);
        }
        if let Some(meter) = &self.meter {
            count(meter.sent, bytes);
        }
    }
}

/// The record that has to go out before more data does, if there is one.
pub(super) fn due(records: &mut Records) -> Result<Option<Vec<u8>>> {
    records
        .due()
        .map_err(|fault| WireError::Keyless(fault.text))
}

fn write_all_vectored(
    mut socket: &std::net::TcpStream,
    mut slices: &mut [IoSlice<'_>],
) -> io::Result<()> {
    while !slices.is_empty() {
        match socket.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => IoSlice::advance_slices(&mut slices, n),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
