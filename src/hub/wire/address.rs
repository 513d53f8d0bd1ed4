//! Where a peer is reached: at an address, by a line that it makes itself, or through
//! the hub's relay.

use std::net::{IpAddr, SocketAddr};

use super::bytes::Token;
use super::value::Value;
use crate::ipc::codec::codec;

/// The port of a peer where none is named.
pub const DEFAULT_PORT: u16 = 7171;

/// The longest name of a relay's host, in bytes.
const MAX_HOST: usize = 253;

/// The way to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// Connect to this address.
    Direct(SocketAddr),
    /// Wait: the peer connects, with this token.
    Back(Token),
    /// Connect to this relay, with this token.
    Relay {
        /// Its name or address, IPv6 in brackets.
        host: String,
        /// Its port.
        port: u16,
        /// What it splices the two ends by.
        token: Token,
    },
}

codec!(enum Way { 1 => Direct(address), 2 => Back(token), 3 => Relay { host, port, token } }
       if Way::is_valid);

impl Way {
    fn is_valid(&self) -> bool {
        match self {
            Way::Direct(address) => is_address(address),
            Way::Back(_) => true,
            Way::Relay { host, port, .. } => is_host(host) && *port > 0,
        }
    }
}

/// Whether one can connect to it from anywhere: no scope, no port 0.
fn is_address(address: &SocketAddr) -> bool {
    let is_plain = match address {
        SocketAddr::V4(_) => true,
        SocketAddr::V6(v6) => v6.scope_id() == 0 && v6.flowinfo() == 0,
    };
    is_plain && address.port() > 0
}

fn is_host(host: &str) -> bool {
    let inside = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let is_letter = |c: u8| c.is_ascii_alphanumeric() || b".-_".contains(&c);
    match inside {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => (1..=MAX_HOST).contains(&host.len()) && host.bytes().all(is_letter),
    }
}

/// The first line of a relay line, in bytes.
pub const RELAY_LINE: usize = 28;

impl Token {
    /// The first line of a relay line.
    pub fn relay_line(self) -> Vec<u8> {
        format!("RLY {}\r\n", self.text()).into_bytes()
    }

    /// The token in that.
    pub fn of_relay_line(line: &[u8]) -> Option<Token> {
        let line = std::str::from_utf8(line).ok()?;
        Token::read(line.strip_prefix("RLY ")?.strip_suffix("\r\n")?)
    }
}

impl Value for SocketAddr {
    fn read(text: &str) -> Option<SocketAddr> {
        let address: SocketAddr = match text.parse::<IpAddr>() {
            Ok(ip) => SocketAddr::new(ip, DEFAULT_PORT),
            Err(_) => text.parse().ok()?,
        };
        is_address(&address).then_some(address)
    }

    fn print(&self, out: &mut String) {
        out.push_str(&self.to_string());
    }
}

impl Value for Way {
    fn read(text: &str) -> Option<Way> {
        if let Some(token) = text.strip_prefix("back:") {
            return Token::read(token).map(Way::Back);
        }
        let Some(relay) = text.strip_prefix("relay:") else {
            return SocketAddr::read(text).map(Way::Direct);
        };
        let (place, token) = relay.rsplit_once(':')?;
        let (host, port) = place.rsplit_once(':')?;
        let way = Way::Relay {
            host: host.to_owned(),
            port: u16::read(port)?,
            token: Token::read(token)?,
        };
        Some(way).filter(Way::is_valid)
    }

    fn print(&self, out: &mut String) {
        match self {
            Way::Direct(address) => address.print(out),
            Way::Back(token) => {
                out.push_str("back:");
                token.print(out);
            }
            Way::Relay { host, port, token } => {
                out.push_str(&format!("relay:{host}:{port}:"));
                token.print(out);
            }
        }
    }
}
