//! TLS on a link: the records of what is read and written. The kernel may make
//! those that are sent; then a file goes from its memory to the network.

use std::io::{self, IoSlice, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::sendfile;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::{Link, LinkError, Result};
use crate::net::tls::records::{
    BEHIND, Fault, ForKernel, Got, HEADER, LastWord, MAX_CONTENT, Records, length_sealed,
};
use crate::net::tls::{End, Exported};
use crate::sys::number::at_most;
use crate::sys::tls::{seal_from_now, send_record};

/// The most records that go out with one write.
const RECORDS_AT_ONCE: usize = 16;

/// What stands in for the bytes of a file that has become shorter.
const ZEROS: [u8; 4096] = [0; 4096];

const NO_KEY: LinkError = LinkError::Keyless(Fault::INTERNAL.text);

impl Link {
    /// Speaks TLS from now on, whose handshake is done.
    pub(crate) fn start_tls(&mut self, records: Records) {
        self.records = Some(Box::new(records));
    }

    /// Lets the handshake to come export a secret under this label, for further
    /// connections. It goes with the state.
    pub fn export_as(&mut self, label: &'static str) {
        self.label = Some(label);
    }

    /// After the handshake, which exports what is wanted.
    pub(crate) fn export(&mut self, export: impl FnOnce(&str) -> Option<Exported>) {
        self.exported = self.label.and_then(export);
    }

    /// What the handshake has exported.
    pub fn exported(&self) -> Option<&Exported> {
        self.exported.as_ref()
    }

    /// Speaks TLS from now on as the further connection with this name, to the
    /// other end of the one that the secret is from. No two connections may have
    /// the same name.
    ///
    /// # Errors
    /// `Keyless` for a name of more than 255 bytes.
    pub fn join_tls(&mut self, exported: &Exported, end: End, name: &[u8]) -> Result<()> {
        self.start_tls(exported.records(end, name).ok_or(NO_KEY)?);
        Ok(())
    }

    /// Whether it speaks TLS.
    pub fn is_over_tls(&self) -> bool {
        self.records.is_some()
    }

    /// Whether an end of the connection is not a loss. Only TLS can say.
    pub fn may_end_here(&self) -> bool {
        self.records
            .as_ref()
            .is_none_or(|records| records.is_closed())
    }

    /// Large buffers from now on, for transfers.
    pub fn expect_transfers(&mut self) {
        if let Some(records) = &mut self.records {
            records.inbox.let_grow();
        }
    }

    /// Says over TLS that nothing more is sent, so that the peer knows that
    /// nothing is missing. The connection is over then.
    pub fn close(&mut self) {
        if let Some(farewell) = self.records.as_mut().and_then(|r| r.farewell()) {
            self.send_last(&farewell);
        }
    }

    /// Sends a last record if the system takes it at once: a peer that reads
    /// nothing holds nobody up.
    fn send_last(&mut self, word: &LastWord) {
        let sent = match word {
            LastWord::Sealed(record) => {
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                send(&self.socket, record, flags).map_err(io::Error::from)
            }
            LastWord::Bare(kind, content) => {
                send_record(self.socket.as_fd(), *kind, content).map(length_sealed)
            }
        };
        if let Ok(sent) = sent {
            self.count_sent(sent);
        }
    }

    /// Bytes as they come, for a handshake.
    pub(crate) fn read_handshake(&mut self, to: &mut [u8]) -> Result<usize> {
        self.read_socket(to, true)
    }

    /// Bytes as they are, for a handshake.
    pub(crate) fn write_handshake(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_socket(bytes)
    }

    pub(super) fn read_records(
        &mut self,
        records: &mut Records,
        to: &mut [u8],
        may_stop: bool,
    ) -> Result<usize> {
        loop {
            match records.take(to) {
                Ok(Got::Data(n)) => return Ok(n),
                Ok(Got::Closed) => return Err(LinkError::Closed),
                Ok(Got::More) => {
                    let n = self.read_socket(records.inbox.room(to.len()), may_stop)?;
                    records.inbox.arrived(n);
                }
                Err(fault) => {
                    if let Some(complaint) = records.complaint(fault) {
                        self.send_last(&complaint);
                    }
                    return Err(LinkError::Tls(fault.text));
                }
            }
        }
    }

    /// Whether there is data, or an end of it, to be read without waiting.
    /// Records without data are dealt with.
    pub(super) fn has_record(&mut self) -> bool {
        let Some(mut records) = self.records.take() else {
            return false;
        };
        let has_record = self.receive_record(&mut records);
        self.records = Some(records);
        has_record
    }

    fn receive_record(&mut self, records: &mut Records) -> bool {
        while let Ok(Got::More) = records.look() {
            // A link that rests gets no memory before something comes.
            if records.inbox.has_no_buffer() {
                let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
                if matches!(
                    recv(&self.socket, &mut [0; 1][..], flags),
                    Err(Errno::AGAIN)
                ) {
                    return false;
                }
            }
            match recv(&self.socket, records.inbox.room(0), RecvFlags::DONTWAIT) {
                Ok((n @ 1.., _)) => {
                    records.inbox.arrived(n);
                    self.note_received(n);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return false,
                _ => return true,
            }
        }
        true
    }

    /// Sends bytes, which are enciphered in place.
    pub(super) fn send_records(&mut self, records: &mut Records, bytes: &mut [u8]) -> Result<()> {
        if records.are_by_kernel() {
            announce(records, bytes.len())?;
            self.account(length_sealed(bytes.len()));
            return Ok(self.socket.write_all(bytes)?);
        }
        for batch in bytes.chunks_mut(RECORDS_AT_ONCE * MAX_CONTENT) {
            if let Some(due) = due(records)? {
                self.write_socket(&due)?;
            }
            let mut around = [([0; HEADER], [0; BEHIND]); RECORDS_AT_ONCE];
            for (content, around) in batch.chunks_mut(MAX_CONTENT).zip(&mut around) {
                *around = records.seal(content).ok_or(NO_KEY)?;
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

    /// Sets some of the bytes held on their way, over TLS in records.
    pub(super) fn set_going(&mut self, some: usize) -> Result<()> {
        let (held, going) = (&mut self.held[..some], &mut self.going);
        match &mut self.records {
            Some(records) if !records.are_by_kernel() => {
                if let Some(due) = due(records)? {
                    going.extend_from_slice(&due);
                }
                for content in held.chunks_mut(MAX_CONTENT) {
                    let (header, behind) = records.seal(content).ok_or(NO_KEY)?;
                    going.extend_from_slice(&header);
                    going.extend_from_slice(content);
                    going.extend_from_slice(&behind);
                }
            }
            records => {
                if let Some(records) = records {
                    announce(records, some)?;
                }
                going.extend_from_slice(held);
            }
        }
        self.held.drain(..some);
        Ok(())
    }

    /// Lets the kernel make the records of TLS from now on, if it can. Not for
    /// a link that is handed over later.
    pub fn let_kernel_seal(&mut self) {
        if self.held() > 0 {
            return;
        }
        let Some(records) = &mut self.records else {
            return;
        };
        let Some(ForKernel { key, iv, next }) = records.for_kernel() else {
            return;
        };
        match seal_from_now(self.socket.as_fd(), &key, iv, next) {
            Ok(()) => {
                records.leave_to_kernel();
                log::debug!(by:% = "kernel"; "records of TLS");
            }
            Err(e) => log::debug!(by:% = "tfd", error:% = e; "records of TLS"),
        }
    }

    /// Whether the kernel makes the records, so that [`Link::send_file`] sends
    /// over TLS.
    pub fn is_sealed_by_kernel(&self) -> bool {
        self.records
            .as_ref()
            .is_some_and(|records| records.are_by_kernel())
    }

    /// Sends `header`, and behind it so many bytes of a file from an offset on,
    /// which are not read here. If they can't be had, zeros go in their place:
    /// then the inner result says why, `EIO` for a file that has become shorter.
    pub fn send_file(
        &mut self,
        header: &[u8],
        file: BorrowedFd<'_>,
        offset: u64,
        len: usize,
    ) -> Result<std::result::Result<(), Errno>> {
        self.flush()?;
        if let Some(records) = &mut self.records {
            announce(records, header.len() + len)?;
        }
        self.account(length_sealed(header.len() + len));
        self.send_more(header)?;
        let (mut at, end) = (offset, offset + len as u64);
        let mut failure = Errno::IO;
        while at < end {
            let left = usize::try_from(end - at).unwrap_or(usize::MAX);
            match sendfile(&self.socket, file, Some(&mut at), left) {
                Ok(1..) | Err(Errno::INTR) => {}
                Ok(0) => break,
                Err(e @ (Errno::AGAIN | Errno::PIPE | Errno::CONNRESET | Errno::TIMEDOUT)) => {
                    return Err(io::Error::from(e).into());
                }
                Err(e) => {
                    failure = e;
                    break;
                }
            }
        }
        if at >= end {
            return Ok(Ok(()));
        }
        while at < end {
            let some = at_most(end - at, ZEROS.len());
            self.socket.write_all(&ZEROS[..some])?;
            at += some as u64;
        }
        Ok(Err(failure))
    }

    /// Sends bytes of a file from an offset on, at most so many and no more than the
    /// system takes at once, and moves the offset; nothing may be held. The inner
    /// result is the number of bytes, 0 at the end of the file, or why the file
    /// can't be read.
    ///
    /// # Errors
    /// `TimedOut` when the peer takes nothing now, on a socket that does not wait.
    pub fn send_file_part(
        &mut self,
        file: BorrowedFd<'_>,
        offset: &mut u64,
        len: usize,
    ) -> Result<std::result::Result<usize, Errno>> {
        if let Some(records) = &mut self.records {
            due(records)?;
        }
        let sent = match sendfile(&self.socket, file, Some(offset), len) {
            Err(Errno::INTR) => return Err(LinkError::TimedOut),
            Err(e @ (Errno::AGAIN | Errno::PIPE | Errno::CONNRESET | Errno::TIMEDOUT)) => {
                return Err(io::Error::from(e).into());
            }
            Err(e) => return Ok(Err(e)),
            Ok(sent) => sent,
        };
        if let Some(records) = &mut self.records {
            records.given_to_kernel(sent);
            self.account(length_sealed(sent));
        } else {
            self.account(sent);
        }
        Ok(Ok(sent))
    }

    /// Sends bytes in the record that the next ones will be in.
    fn send_more(&self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            match send(&self.socket, bytes, SendFlags::MORE | SendFlags::NOSIGNAL) {
                Ok(n) => bytes = &bytes[n..],
                Err(Errno::INTR) => {}
                Err(e) => return Err(io::Error::from(e).into()),
            }
        }
        Ok(())
    }
}

/// The record that has to go out before more data does, if there is one.
fn due(records: &mut Records) -> Result<Option<Vec<u8>>> {
    records
        .due()
        .map_err(|fault| LinkError::Keyless(fault.text))
}

/// Before bytes are given to the kernel: whether its key is good for them.
fn announce(records: &mut Records, bytes: usize) -> Result<()> {
    due(records)?;
    records.given_to_kernel(bytes);
    Ok(())
}

fn write_all_vectored(mut socket: &TcpStream, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};
    use std::net::TcpListener;

    use super::*;

    fn link() -> (Link, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let near = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        let (far, _) = listener.accept().expect("accept");
        (Link::new(near).expect("link"), far)
    }

    #[test]
    fn a_file_goes_out_behind_its_header_and_one_that_became_shorter_is_filled_up() {
        let (mut link, mut far) = link();
        let mut file = tempfile::tempfile().expect("file");
        let content: Vec<u8> = (0..100_000_u32).map(|i| (i >> 4) as u8).collect();
        file.write_all(&content).expect("write");
        file.rewind().expect("rewind");
        let mut got = vec![0; 3 + 60_000];
        link.hold(b"H");
        assert!(
            link.send_file(b"ea", file.as_fd(), 40_000, 60_000)
                .expect("sent")
                .is_ok()
        );
        far.read_exact(&mut got).expect("read");
        assert!(got[..3] == *b"Hea" && got[3..] == content[40_000..]);
        let short = link
            .send_file(b"der", file.as_fd(), 90_000, 60_000)
            .expect("sent");
        assert_eq!(short, Err(Errno::IO));
        far.read_exact(&mut got).expect("read");
        assert!(got[..3] == *b"der" && got[3..10_003] == content[90_000..]);
        assert!(got[10_003..].iter().all(|byte| *byte == 0));
        drop(far);
        let lost = (0..100).find_map(|_| link.send_file(b"x", file.as_fd(), 0, 90_000).err());
        assert!(matches!(lost, Some(LinkError::Closed)), "{lost:?}");
    }
}
