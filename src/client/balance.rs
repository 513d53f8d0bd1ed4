//! The load balancer (document, "TLB"): which of several servers to use.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use super::connect::{Connection, refusal};
use super::error::{ClientError, Result};
use super::probe::{Answer, Question};

/// How long an answer by UDP may take, and how often to ask.
const PATIENCE: Duration = Duration::from_millis(700);
const TIMES: usize = 2;

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
/// word.
pub fn balance_by_udp(server: &str) -> Result<Option<SocketAddr>> {
    let resolved = server.to_socket_addrs();
    let addresses = resolved.map_err(|source| ClientError::Resolve {
        server: server.to_owned(),
        source,
    })?;
    for address in addresses {
        for _ in 0..TIMES {
            let answer = Question::Balance.ask(address, PATIENCE);
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
