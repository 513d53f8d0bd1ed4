//! A port of this machine where a keeper connects that can't be reached from here.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::text::reason;

/// How long a keeper is waited for, whose operator may have to be asked.
const PATIENCE: Duration = Duration::from_secs(600);

/// A port.
pub(super) struct Port {
    listener: TcpListener,
}

impl Port {
    /// Listens at this port of all addresses.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn open(number: u16) -> io::Result<Port> {
        let any = TcpListener::bind((Ipv6Addr::UNSPECIFIED, number));
        // There may be no IPv6.
        let listener = match any {
            Err(e) if e.kind() != ErrorKind::AddrInUse => {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, number))?
            }
            any => any?,
        };
        listener.set_nonblocking(true)?;
        Ok(Port { listener })
    }

    /// Takes the next connection with which this succeeds. Anybody may come, and one that
    /// has waited for long may be over.
    ///
    /// # Errors
    /// Why the last one has failed, or that none came.
    pub(super) fn take<T>(
        &self,
        mut act: impl FnMut(TcpStream) -> Result<T, String>,
    ) -> Result<T, String> {
        let end = Instant::now() + PATIENCE;
        let mut failure = "it has not called".to_owned();
        while Instant::now() < end {
            match self.next(end) {
                Ok(Some(socket)) => match act(socket) {
                    Ok(done) => return Ok(done),
                    Err(why) => failure = why,
                },
                Ok(None) => {}
                Err(e) => return Err(reason(&e)),
            }
        }
        Err(failure)
    }

    fn next(&self, end: Instant) -> io::Result<Option<TcpStream>> {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut fds = [PollFd::new(&self.listener, PollFlags::IN)];
        match poll(&mut fds, Some(&left)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        match self.listener.accept() {
            Ok((socket, _)) => {
                socket.set_nonblocking(false)?;
                Ok(Some(socket))
            }
            Err(e)
                if matches!(
                    e.kind(),
                    ErrorKind::WouldBlock | ErrorKind::ConnectionAborted
                ) =>
            {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }
}
