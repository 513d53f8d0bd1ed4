//! Whether a server, a session or a connection is alive: UDP probes and the
//! out-of-band byte (document, "Keepalive"; tf-protocol(7), PROBES). And which
//! server of several to take (document, "TLB").

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::cancel::addresses;
use super::connect::{Connection, refusal};
use super::error::{ClientError, Result};
use crate::tf::wire::WireError;

/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 400;

/// A question by UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question<'a> {
    /// Is the host ready? (HOSTCHECK)
    Host,
    /// Is the session with this key alive? (PROCHECK)
    Process(&'a [u8]),
    /// How many out-of-band bytes has the session with this key had?
    /// (SOCKCHECK)
    Socket(&'a [u8]),
    /// Which server is to be used? (TLB)
    Balance,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Alive, or ready; with the count or the server, if the question asks for it.
    Yes(String),
    /// No.
    No,
    /// Nothing came in time: a firewall may block UDP.
    Silence,
}

impl Question<'_> {
    fn bytes(self) -> Vec<u8> {
        let (kind, key) = match self {
            Question::Host => (0, &b""[..]),
            Question::Process(key) => (1, key),
            Question::Socket(key) => (2, key),
            Question::Balance => (3, &b""[..]),
        };
        [&[kind], key].concat()
    }

    /// Asks a server, once.
    ///
    /// # Errors
    /// The system's. A host that has nothing at this port is silent.
    pub fn ask(self, server: SocketAddr, timeout: Duration) -> io::Result<Answer> {
        let own: SocketAddr = match server {
            SocketAddr::V4(_) => ([0; 4], 0).into(),
            SocketAddr::V6(_) => ([0; 16], 0).into(),
        };
        // A socket of its own, so that a late answer is not mistaken for this one.
        let socket = UdpSocket::bind(own)?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(timeout))?;
        let mut bytes = [0; LONGEST_ANSWER];
        match socket
            .send(&self.bytes())
            .and_then(|_| socket.recv(&mut bytes))
        {
            Ok(len) => Ok(Answer::read(&bytes[..len])),
            Err(e) if is_silence(e.kind()) => Ok(Answer::Silence),
            Err(e) => Err(e),
        }
    }
}

fn is_silence(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as K;
    matches!(kind, K::WouldBlock | K::TimedOut | K::ConnectionRefused)
}

impl Answer {
    /// Reads a datagram, in both dialects.
    fn read(bytes: &[u8]) -> Answer {
        match bytes.split_first() {
            Some((1, text)) => {
                let text = String::from_utf8_lossy(text);
                Answer::Yes(text.trim_matches([' ', '\0']).to_owned())
            }
            _ => Answer::No,
        }
    }
}

impl Connection {
    /// Sends a byte out of band and waits for it to come back: how long that
    /// took, or nothing when it did not come in time (document, "Out-of-band").
    /// One at a time: the next may follow when this one has come back.
    ///
    /// # Errors
    /// `Odd` over TLS, which has no such bytes, or the connection is lost.
    pub fn out_of_band(&mut self, byte: u8, timeout: Duration) -> Result<Option<Duration>> {
        if self.is_over_tls() {
            let request = "out-of-band byte".to_owned();
            return Err(ClientError::Odd {
                request,
                reply: "none over TLS".to_owned(),
            });
        }
        let socket = self.wire().socket();
        let lost = |e: Errno| ClientError::Lost(WireError::from(io::Error::from(e)));
        let start = Instant::now();
        send(socket, &[byte], SendFlags::OOB | SendFlags::NOSIGNAL).map_err(lost)?;
        loop {
            let left = timeout.saturating_sub(start.elapsed());
            let left = Timespec::try_from(left).unwrap_or_default();
            let mut fds = [PollFd::new(socket, PollFlags::PRI)];
            match poll(&mut fds, Some(&left)) {
                Ok(0) => return Ok(None),
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(lost(e)),
            }
            let mut back = [0];
            match recv(socket, &mut back, RecvFlags::OOB | RecvFlags::DONTWAIT) {
                Ok((1.., _)) if back == [byte] => return Ok(Some(start.elapsed())),
                Ok(_) | Err(Errno::INVAL | Errno::AGAIN | Errno::INTR) => {}
                Err(e) => return Err(lost(e)),
            }
            if fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) {
                return Err(ClientError::Lost(WireError::Closed));
            }
        }
    }

    /// Has the server send TCP keepalives, times in seconds, or no more
    /// (document, "KEEPALIVE").
    ///
    /// # Errors
    /// The server's refusal, or the connection is lost.
    pub fn keep_alive(&mut self, on: bool, idle: u32, interval: u32, count: u32) -> Result<()> {
        let on = u8::from(on);
        self.command(&format!("KEEPALIVE {on} {idle} | {interval} | {count}"))
            .map(drop)
    }
}

/// How long an answer by UDP may take, each time that it is asked for. A server that is
/// being restarted is silent.
const BALANCE_ANSWER_TIMEOUTS: [Duration; 2] =
    [Duration::from_millis(200), Duration::from_millis(500)];

impl Connection {
    /// The server to use (document, "TLB").
    ///
    /// # Errors
    /// The server's refusal, or the connection is lost.
    pub fn balance(&mut self) -> Result<SocketAddr> {
        let data = self.command("TLB")?;
        read_tuple(&String::from_utf8_lossy(&data)).ok_or_else(|| refusal("TLB", &data))
    }
}

/// The server that the one at `host:port` names when asked by UDP; `None` if it
/// names none or does not answer.
///
/// # Errors
/// `Resolve` when the name has no address, or `Connect` with the system's
/// error.
pub fn balance_by_udp(server: &str) -> Result<Option<SocketAddr>> {
    for address in addresses(server)? {
        for timeout in BALANCE_ANSWER_TIMEOUTS {
            let answer = Question::Balance.ask(address, timeout);
            match answer {
                Ok(Answer::Yes(text)) => return Ok(read_tuple(&text)),
                Ok(Answer::No) => return Ok(None),
                Ok(Answer::Silence) => {}
                Err(_) => break,
            }
        }
    }
    Ok(None)
}

/// Reads `4 ip;port` or `6 ip;port`.
fn read_tuple(text: &str) -> Option<SocketAddr> {
    let (family, rest) = text.trim().split_once(' ')?;
    let (ip, port) = rest.split_once(';')?;
    let ip: IpAddr = ip.parse().ok()?;
    let fits = matches!((family, ip), ("4", IpAddr::V4(_)) | ("6", IpAddr::V6(_)));
    fits.then_some(SocketAddr::new(ip, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_both_dialects_are_read() {
        let yes = |text: &str| Answer::Yes(text.to_owned());
        assert_eq!(Answer::read(b"\x01"), yes(""));
        assert_eq!(Answer::read(b"\x0134\0"), yes("34"));
        assert_eq!(Answer::read(b"\x01 34"), yes("34"));
        assert_eq!(Answer::read(b"\x014 1.1.1.1;1234\0"), yes("4 1.1.1.1;1234"));
        assert_eq!(
            (Answer::read(b"\0"), Answer::read(b"")),
            (Answer::No, Answer::No)
        );
    }

    #[test]
    fn nobody_there_is_silence() {
        let taken = UdpSocket::bind("127.0.0.7:0").expect("socket");
        let silent = taken.local_addr().expect("address");
        let short = Duration::from_millis(30);
        assert_eq!(
            Question::Host.ask(silent, short).expect("asked"),
            Answer::Silence
        );
        drop(taken);
        assert_eq!(
            Question::Host.ask(silent, short).expect("asked"),
            Answer::Silence
        );
    }

    #[test]
    fn tuples_are_read_and_nothing_else() {
        assert_eq!(read_tuple("4 1.2.3.4;5"), Some(([1, 2, 3, 4], 5).into()));
        assert_eq!(read_tuple("6 ::1;5"), "[::1]:5".parse().ok());
        for odd in [
            "",
            "4",
            "4 1.2.3.4",
            "6 1.2.3.4;5",
            "4 ::1;5",
            "4 1.2.3.4;70000",
            "4 h;1",
        ] {
            assert_eq!(read_tuple(odd), None, "{odd}");
        }
    }
}
