//! The pool file of the load balancer as deployed: a server a line, `4 ip;port`
//! or `6 ip;port`. Words after it are ours. Lines without a valid server are
//! skipped and reported.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::ipc::codec::codec;

/// The most servers of a pool.
pub const MAX_SERVERS: usize = 4096;

/// The largest pool file, in bytes.
pub const MAX_FILE: u64 = 1 << 20;

/// The weights a pool file may give.
const WEIGHTS: std::ops::RangeInclusive<u32> = 1..=1000;

/// The most problems reported of one file.
const MAX_PROBLEMS: usize = 100;

/// A server that clients may be sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where it listens, for TCP and UDP. Never an IPv4-mapped address.
    pub address: SocketAddr,
    /// Its share of the load compared with others, 1 or more.
    pub weight: u32,
    /// Servers are handed out only if none with a lower number is alive; 0 for
    /// those of a pool file.
    pub priority: u16,
}

codec!(struct Server { address, weight, priority });

impl Server {
    /// The form for clients: `4 ip;port` or `6 ip;port`.
    pub fn tuple(&self) -> String {
        let family = if self.address.is_ipv4() { 4 } else { 6 };
        format!("{family} {};{}", self.address.ip(), self.address.port())
    }
}

/// The content of a pool file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// Its servers in its order, each once.
    pub servers: Vec<Server>,
    /// The skipped lines, counted from 1, and why. The reasons don't quote the
    /// file.
    pub problems: Vec<(usize, String)>,
}

/// Reads the bytes of a pool file. A server that is given twice, the deployed way
/// to double its load, has both weights.
pub fn parse(bytes: &[u8]) -> Pool {
    let mut pool = Pool::default();
    let mut places: HashMap<SocketAddr, usize> = HashMap::new();
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let line = String::from_utf8_lossy(line);
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let known = read_line(line).map(|server| (server, places.get(&server.address)));
        match known {
            Ok((server, Some(place))) => {
                let weight = &mut pool.servers[*place].weight;
                *weight = (*weight + server.weight).min(*WEIGHTS.end());
            }
            Ok(_) if pool.servers.len() == MAX_SERVERS => {
                pool.problems
                    .push((number, format!("more than {MAX_SERVERS} servers")));
                break;
            }
            Ok((server, None)) => {
                places.insert(server.address, pool.servers.len());
                pool.servers.push(server);
            }
            Err(text) if pool.problems.len() < MAX_PROBLEMS => {
                pool.problems.push((number, text));
            }
            Err(_) => {
                pool.problems.push((
                    number,
                    "too many wrong lines: the rest is not listed".to_owned(),
                ));
                break;
            }
        }
    }
    pool
}

fn read_line(line: &str) -> Result<Server, String> {
    let mut words = line.split_ascii_whitespace();
    let family = words.next().unwrap_or_default();
    let (ip, port) = words
        .next()
        .and_then(|word| word.split_once(';'))
        .ok_or("no \"4 ip;port\" or \"6 ip;port\"")?;
    let ip = match family {
        "4" => IpAddr::V4(
            ip.parse::<Ipv4Addr>()
                .map_err(|_| "no IPv4 address after the 4")?,
        ),
        "6" => IpAddr::V6(
            ip.parse::<Ipv6Addr>()
                .map_err(|_| "no IPv6 address after the 6")?,
        ),
        _ => return Err("neither 4 nor 6 at the start".to_owned()),
    };
    if ip.is_unspecified() || ip.is_multicast() {
        return Err("not the address of a server".to_owned());
    }
    if ip.to_canonical() != ip {
        return Err("an IPv4-mapped address: write it as \"4 ip;port\"".to_owned());
    }
    let port = number(port)
        .and_then(|port| u16::try_from(port).ok())
        .filter(|port| *port != 0);
    let port = port.ok_or("the port is not a number from 1 to 65535")?;
    let mut server = Server {
        address: (ip, port).into(),
        weight: 1,
        priority: 0,
    };
    for word in words {
        let weight = word
            .strip_prefix("weight=")
            .ok_or("an unknown word after the port")?;
        server.weight = number(weight)
            .filter(|weight| WEIGHTS.contains(weight))
            .ok_or("the weight is not a number from 1 to 1000")?;
    }
    Ok(server)
}

/// A number that consists only of digits.
fn number(text: &str) -> Option<u32> {
    text.bytes()
        .all(|c| c.is_ascii_digit())
        .then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(pool: &Pool) -> Vec<usize> {
        pool.problems.iter().map(|(line, _)| *line).collect()
    }

    #[test]
    fn the_deployed_lines_are_read_and_told_again() {
        let pool = parse(b"# ours\n4 1.1.1.1;1234\r\n\n6 ::1;1234\n 6 2001:db8::2;1 weight=30");
        assert_eq!(pool.problems, []);
        let tuples: Vec<_> = pool.servers.iter().map(Server::tuple).collect();
        assert_eq!(tuples, ["4 1.1.1.1;1234", "6 ::1;1234", "6 2001:db8::2;1"]);
        assert_eq!(
            pool.servers.iter().map(|s| s.weight).collect::<Vec<_>>(),
            [1, 1, 30]
        );
    }

    #[test]
    fn rubbish_is_skipped_and_told_with_its_line() {
        let text = "4 ::1;1\n6 1.1.1.1;1\n5 1.1.1.1;1\n4 1.1.1.1\n4 1.1.1.1;0\n4 1.1.1.1;65536\n\
            4 1.1.1.1;+1\n4 1.1.1.1;1 weight=0\n4 1.1.1.1;1 weight=1001\n4 1.1.1.1;1 wieght=1\n\
            4\n4 0.0.0.0;1\n6 ff02::1;1\n6 ::ffff:1.2.3.4;1\n\u{0}\u{1b}[2J\n4 9.9.9.9;9\n4;1;1\n";
        let pool = parse(text.as_bytes());
        assert_eq!(lines(&pool), (1..=15).chain([17]).collect::<Vec<_>>());
        assert_eq!(pool.servers.len(), 1);
        assert!(parse(b"\xff\xfe4\x00").servers.is_empty());
    }

    #[test]
    fn a_server_that_stands_twice_counts_twice() {
        let pool = parse(b"4 1.1.1.1;1\n4 2.2.2.2;1\n4 1.1.1.1;1\n4 2.2.2.2;1 weight=1000\n");
        assert_eq!(
            pool.servers.iter().map(|s| s.weight).collect::<Vec<_>>(),
            [2, 1000]
        );
    }

    #[test]
    fn servers_and_problems_are_bounded() {
        let many: String = (0..5000)
            .map(|n| format!("4 1.1.{}.{};1\n", n >> 8, n & 255))
            .collect();
        let pool = parse(many.as_bytes());
        assert_eq!(
            (pool.servers.len(), lines(&pool)),
            (MAX_SERVERS, vec![MAX_SERVERS + 1])
        );
        assert_eq!(
            parse("x\n".repeat(5000).as_bytes()).problems.len(),
            MAX_PROBLEMS + 1
        );
    }

    proptest! {
        #[test]
        fn what_is_told_is_read_again(ip: IpAddr, port in 1u16.., weight in 1u32..=1000) {
            let no_servers =
                ip.is_unspecified() || ip.is_multicast() || ip.to_canonical() != ip;
            let server = Server { address: (ip, port).into(), weight, priority: 0 };
            let pool = parse(format!("{} weight={weight}\n", server.tuple()).as_bytes());
            prop_assert_eq!(pool.servers, if no_servers { vec![] } else { vec![server] });
        }

        #[test]
        fn any_bytes_are_read(bytes: Vec<u8>) {
            let pool = parse(&bytes);
            prop_assert!(pool.servers.len() <= MAX_SERVERS);
        }
    }
}
