//! The PROXY protocol, version 2: a header by which a proxy names the client to
//! the server behind it. See haproxy's proxy-protocol.txt.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Instant;

use crate::ipc::codec::address_to_bytes;
use crate::users::account::Network;

/// What every header begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes before the addresses: the signature, command, family, length.
const FIXED: usize = 16;

/// The most bytes after these: addresses, and fields that are ignored.
const MAX_REST: usize = 2048;

/// Version 2, and the sender: the proxy itself, or a client through it.
const LOCAL: u8 = 0x20;
const PROXIED: u8 = 0x21;

const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// The content of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Nothing about a client: the proxy speaks for itself.
    Nothing,
    /// The client.
    Client(SocketAddr),
}

/// Why the header is missing.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// It is malformed, or not for TCP.
    #[error("no valid PROXY header")]
    Invalid,
    /// It did not arrive.
    #[error("no PROXY header: {0}")]
    Missing(#[from] io::Error),
}

/// The header for a client that connected to `to`.
pub fn encode(client: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.push(PROXIED);
    let ports = [client.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    let addresses = match (client.ip().to_canonical(), to.ip().to_canonical()) {
        (IpAddr::V4(client), IpAddr::V4(to)) => {
            header.push(TCP4);
            [client.octets(), to.octets()].concat()
        }
        (client, to) => {
            header.push(TCP6);
            [address_to_bytes(client), address_to_bytes(to)].concat()
        }
    };
    let [.., high, low] = (addresses.len() + ports.len()).to_be_bytes();
    header.extend([high, low]);
    header.extend(addresses);
    header.extend(ports);
    header
}

/// The header of a connection that the proxy makes for itself.
pub fn encode_own() -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.extend([LOCAL, 0, 0, 0]);
    header
}

/// Reads a header and no byte more.
///
/// # Errors
/// When no valid header comes before the deadline.
pub fn read(mut socket: &TcpStream, deadline: Instant) -> Result<Said, Unfit> {
    let mut take = |buffer: &mut [u8]| -> io::Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            socket.set_read_timeout(Some(left))?;
            match socket.read(&mut buffer[filled..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    };
    // Byte by byte: a peer that sends something else may wait for an answer.
    for wanted in SIGNATURE {
        let mut byte = [0];
        take(&mut byte)?;
        if byte != [wanted] {
            return Err(Unfit::Invalid);
        }
    }
    let mut fixed = [0; FIXED - SIGNATURE.len()];
    take(&mut fixed)?;
    let [command, family, high, low] = fixed;
    let len = usize::from(u16::from_be_bytes([high, low]));
    if len > MAX_REST {
        return Err(Unfit::Invalid);
    }
    let mut rest = vec![0; len];
    take(&mut rest)?;
    decode(command, family, &rest).ok_or(Unfit::Invalid)
}

/// The part after the signature, except its length.
fn decode(command: u8, family: u8, rest: &[u8]) -> Option<Said> {
    match (command, family) {
        (LOCAL, _) => Some(Said::Nothing),
        (PROXIED, TCP4) => {
            let rest = rest.first_chunk::<12>()?;
            let client = Ipv4Addr::new(rest[0], rest[1], rest[2], rest[3]);
            let port = u16::from_be_bytes([rest[8], rest[9]]);
            Some(Said::Client(SocketAddr::new(client.into(), port)))
        }
        (PROXIED, TCP6) => {
            let rest = rest.first_chunk::<36>()?;
            let client = Ipv6Addr::from(*rest.first_chunk::<16>()?).to_canonical();
            let port = u16::from_be_bytes([rest[32], rest[33]]);
            Some(Said::Client(SocketAddr::new(client, port)))
        }
        _ => None,
    }
}

/// The client of a connection: the one that the PROXY header names, if `peer`
/// must send a header, else `peer`.
///
/// # Errors
/// When a required header is missing or invalid.
pub fn announced(
    socket: &TcpStream,
    peer: SocketAddr,
    accept_from: &[Network],
    deadline: Instant,
) -> Result<SocketAddr, Unfit> {
    if !is_trusted(peer.ip(), accept_from) {
        return Ok(peer);
    }
    match read(socket, deadline)? {
        Said::Client(client) => Ok(client),
        Said::Nothing => Ok(peer),
    }
}

/// Whether a peer must send a PROXY header.
pub fn is_trusted(peer: IpAddr, accept_from: &[Network]) -> bool {
    accept_from.iter().any(|network| network.contains(peer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;
    use std::net::TcpListener;
    use std::time::Duration;

    /// What is read of these bytes, and what is left behind them.
    fn read_back(bytes: &[u8]) -> (Result<Said, Unfit>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let mut from =
            TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        let (mut to, _) = listener.accept().expect("accept");
        from.write_all(bytes).expect("write");
        from.shutdown(std::net::Shutdown::Write).expect("shutdown");
        let said = read(&to, Instant::now() + Duration::from_secs(5));
        let mut left = Vec::new();
        to.read_to_end(&mut left).expect("read");
        (said, left)
    }

    #[test]
    fn a_header_is_read_as_written_and_nothing_behind_it_is_lost() {
        for (client, to) in [
            ("192.0.2.1:50000", "192.0.2.2:10345"),
            ("[2001:db8::1]:50000", "[2001:db8::2]:10345"),
            ("192.0.2.1:50000", "[2001:db8::2]:10345"),
        ] {
            let client: SocketAddr = client.parse().expect("address");
            let bytes = encode(client, to.parse().expect("address"));
            let (said, left) = read_back(&[&bytes, &b"\0\0\0\x03"[..]].concat());
            assert_eq!(said.expect("header"), Said::Client(client));
            assert_eq!(left, b"\0\0\0\x03");
        }
    }

    #[test]
    fn the_header_of_the_specification_is_what_is_written() {
        let bytes = encode(
            "127.0.0.1:256".parse().expect("address"),
            "127.0.0.2:1".parse().expect("address"),
        );
        let wanted = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x02\x01\0\0\x01";
        assert_eq!(bytes, wanted);
    }

    #[test]
    fn a_proxy_that_speaks_for_itself_names_nobody() {
        let local = [&SIGNATURE[..], &[LOCAL, 0, 0, 3, 9, 9, 9]].concat();
        assert_eq!(read_back(&local).0.expect("header"), Said::Nothing);
        let (said, left) = read_back(&[encode_own(), vec![7]].concat());
        assert_eq!((said.expect("header"), left), (Said::Nothing, vec![7]));
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let good = encode(
            "192.0.2.1:1".parse().expect("address"),
            "192.0.2.2:2".parse().expect("address"),
        );
        let changed = |at: usize, to: u8| {
            let mut bytes = good.clone();
            bytes[at] = to;
            bytes
        };
        for bad in [
            b"\0\0\0\x03 0.0 and a bit more".to_vec(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(),
            changed(12, 0x11),
            changed(13, 0x12),
            changed(13, 0x31),
            changed(14, 0xff),
            changed(15, 4),
        ] {
            assert!(
                matches!(read_back(&bad).0, Err(Unfit::Invalid)),
                "{}",
                bad.escape_ascii()
            );
        }
        for len in 0..good.len() {
            assert!(
                matches!(read_back(&good[..len]).0, Err(Unfit::Missing(_))),
                "{len} bytes"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            command: u8,
            family: u8,
            rest in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let _ = decode(command, family, &rest);
        }

        #[test]
        fn every_client_arrives_as_sent(client: [u8; 16], port: u16, v4: bool) {
            let to: SocketAddr = "[::1]:9".parse().expect("address");
            let ip = match v4 {
                true => IpAddr::from([client[0], client[1], client[2], client[3]]),
                false => IpAddr::from(client).to_canonical(),
            };
            let header = encode(SocketAddr::new(ip, port), to);
            let (head, rest) = header.split_at(FIXED);
            let said = decode(head[12], head[13], rest);
            prop_assert_eq!(said, Some(Said::Client(SocketAddr::new(ip, port))));
        }
    }
}
