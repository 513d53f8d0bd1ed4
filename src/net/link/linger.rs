//! The end of a connection whose last word the peer is to read.

use std::io::Read;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, recv};

use super::Link;

/// How long the peer may take to read it.
const LINGER: Duration = Duration::from_secs(1);

impl Link {
    /// Ends our side and takes in what the peer still sends, so that the system
    /// does not cut the connection before what was sent is read. Bounded in time
    /// and bytes.
    pub fn close_slowly(&mut self) {
        self.close();
        let end = Instant::now() + LINGER;
        let mut scratch = [0; 4096];
        let mut socket = &self.socket;
        let _ = socket.shutdown(Shutdown::Write);
        let _ = socket.set_read_timeout(Some(LINGER));
        for _ in 0..64 {
            match socket.read(&mut scratch) {
                Ok(n) if n > 0 && Instant::now() < end => {}
                _ => break,
            }
        }
    }

    /// The same in a session, whose sandbox lets it shut down no socket: takes in what
    /// has come. The end of the process closes our side.
    pub fn close_in_session(&mut self) {
        self.close();
        let mut scratch = [0; 4096];
        for _ in 0..64 {
            match recv(&self.socket, &mut scratch[..], RecvFlags::DONTWAIT) {
                Ok((_, read)) if read > 0 => {}
                _ => break,
            }
        }
    }
}
