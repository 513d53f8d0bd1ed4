//! Sending through the kernel's TLS: it makes the records of what is written,
//! and where nothing is inside TLS, files go from its memory to the network.
//! Receiving stays as it is.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::sendfile;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use super::link::{Inside, Link, due};
use super::{Result, Wire, WireError};
use crate::net::tls::records::{ForKernel, Records, length_sealed};
use crate::sys::number::at_most;
use crate::sys::tls::seal_from_now;

/// What stands in for the bytes of a file that has become shorter.
const ZEROS: [u8; 4096] = [0; 4096];

impl Wire {
    /// Lets the kernel make the records of TLS from now on, if it can. Not for
    /// a wire that is handed over later.
    pub fn let_kernel_seal(&mut self) {
        if self.held() > 0 {
            return;
        }
        let Link::Tls(records, _) = &mut self.link else {
            return;
        };
        let Some(ForKernel { key, iv, next }) = records.for_kernel() else {
            return;
        };
        match seal_from_now(self.socket.as_fd(), &key, iv, next) {
            Ok(()) => {
                records.leave_to_kernel();
                log::debug!("records of TLS by=kernel");
            }
            Err(e) => log::debug!("records of TLS by=tfd error=\"{e}\""),
        }
    }

    /// Whether the content of files goes out as it is, so that
    /// [`Wire::send_file`] will do.
    #[must_use]
    pub fn takes_files(&self) -> bool {
        matches!(&self.link, Link::Tls(records, Inside::Plain) if records.are_by_kernel())
    }

    /// Sends `header`, and behind it so many bytes of a file from an offset on,
    /// which are not read here. If they can't be had, zeros go in their place.
    ///
    /// # Errors
    /// Outside when the connection can't go on; inside why the bytes were not
    /// all the file's, `EIO` when it has become shorter.
    pub fn send_file(
        &mut self,
        header: &[u8],
        file: BorrowedFd<'_>,
        offset: u64,
        len: usize,
    ) -> Result<std::result::Result<(), Errno>> {
        self.flush()?;
        if let Link::Tls(records, _) = &mut self.link {
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

    /// Sends bytes of which the kernel makes records.
    pub(super) fn send_by_kernel(&mut self, records: &mut Records, bytes: &[u8]) -> Result<()> {
        announce(records, bytes.len())?;
        self.account(length_sealed(bytes.len()));
        self.socket.write_all(bytes).map_err(WireError::from)
    }
}

/// Before bytes are given to the kernel: whether its key is good for them.
fn announce(records: &mut Records, bytes: usize) -> Result<()> {
    due(records)?;
    records.given_to_kernel(bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn wires() -> (Wire, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let near = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        let (far, _) = listener.accept().expect("accept");
        (Wire::new(near).expect("wire"), far)
    }

    #[test]
    fn a_file_goes_out_behind_its_header_and_one_that_became_shorter_is_filled_up() {
        let (mut wire, mut far) = wires();
        let mut file = tempfile::tempfile().expect("file");
        let content: Vec<u8> = (0..100_000_u32).map(|i| (i >> 4) as u8).collect();
        file.write_all(&content).expect("write");
        file.rewind().expect("rewind");
        let mut got = vec![0; 3 + 60_000];
        wire.hold_unit(b"H");
        assert!(
            wire.send_file(b"ea", file.as_fd(), 40_000, 60_000)
                .expect("sent")
                .is_ok()
        );
        far.read_exact(&mut got).expect("read");
        assert!(got[..3] == *b"Hea" && got[3..] == content[40_000..]);
        let short = wire
            .send_file(b"der", file.as_fd(), 90_000, 60_000)
            .expect("sent");
        assert_eq!(short, Err(Errno::IO));
        far.read_exact(&mut got).expect("read");
        assert!(got[..3] == *b"der" && got[3..10_003] == content[90_000..]);
        assert!(got[10_003..].iter().all(|byte| *byte == 0));
        drop(far);
        let lost = (0..100).find_map(|_| wire.send_file(b"x", file.as_fd(), 0, 90_000).err());
        assert!(matches!(lost, Some(WireError::Cut)), "{lost:?}");
    }
}
