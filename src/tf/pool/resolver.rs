//! From the name of a service to its servers: which question goes to which
//! name server next, and what to make of the answers. [`Lookup`] uses no
//! socket; [`resolve`] drives it over some, for callers that may wait.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::tf::pool::file::{MAX_SERVERS, Server};
use crate::tf::pool::srv::{Answer, Kind, NoAnswer, Question, Record};

/// How long an answer may take.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// When to look again after a lookup that failed.
pub const RETRY: Duration = Duration::from_secs(10);

/// When to look again at the earliest and latest, whatever the records say.
const TTL: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(3600));

/// When to look again where there are no records.
const TTL_OF_NOTHING: Duration = Duration::from_secs(30);

/// How often each name server is asked the same.
const ROUNDS: usize = 2;

/// The most name servers, as in the C library.
const MAX_NAME_SERVERS: usize = 3;

/// The most hosts whose addresses are asked for.
const MAX_HOSTS: usize = 64;

/// The name servers that the text of an /etc/resolv.conf names; the own machine
/// when it names none. Those with a scope (`fe80::1%eth0`) are left out.
pub fn name_servers(text: &str) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let address = words
            .next()
            .filter(|word| *word == "nameserver")
            .and(words.next())?;
        Some(SocketAddr::new(address.parse::<IpAddr>().ok()?, 53))
    };
    let mut servers: Vec<SocketAddr> = text
        .lines()
        .filter_map(server)
        .take(MAX_NAME_SERVERS)
        .collect();
    if servers.is_empty() {
        servers.push((Ipv4Addr::LOCALHOST, 53).into());
    }
    servers
}

/// A question to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The name server. Datagrams that come from elsewhere are no answers.
    pub name_server: SocketAddr,
    /// Whether by TCP, where two bytes of length go before each message, or
    /// by UDP, from a port of its own.
    pub tcp: bool,
    /// The message.
    pub message: Vec<u8>,
}

/// What a lookup needs or has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this and wait for [`PATIENCE`] at most, then [`Lookup::answered`]
    /// or [`Lookup::failed`].
    Ask(Ask),
    /// The end: these are the servers.
    Found(Found),
    /// The end: nobody could say. Servers found earlier may be kept.
    Failed(String),
}

/// The servers of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// By priority, the lowest first, and address; none where the zone has none.
    pub servers: Vec<Server>,
    /// When to look again.
    pub ttl: Duration,
    /// Hosts that no address was found for.
    pub lost: Vec<String>,
}

/// A lookup of a service.
#[derive(Debug)]
pub struct Lookup {
    name_servers: Vec<SocketAddr>,
    waiting: VecDeque<(String, Kind)>,
    current: Option<Question>,
    tries: usize,
    /// The name server that answered last.
    good: usize,
    tcp: bool,
    failed: Option<String>,
    records: Vec<Record>,
    addresses: BTreeMap<String, Vec<IpAddr>>,
    ttl: Option<Duration>,
}

impl Lookup {
    /// A lookup of the SRV records of an absolute name, such as
    /// `_tf._tcp.example.org`, and of the addresses behind them.
    pub fn new(name: &str, name_servers: Vec<SocketAddr>) -> Lookup {
        Lookup {
            name_servers,
            waiting: [(name.to_owned(), Kind::Srv)].into(),
            current: None,
            tries: 0,
            good: 0,
            tcp: false,
            failed: None,
            records: Vec::new(),
            addresses: BTreeMap::new(),
            ttl: None,
        }
    }

    /// What to do next. `random` gives the ids of questions.
    pub fn step(&mut self, random: &mut impl FnMut() -> u64) -> Step {
        while let Some((name, kind)) = self.waiting.front() {
            let question = Question {
                id: u16::try_from(random() & 0xffff).unwrap_or_default(),
                name: name.clone(),
                kind: *kind,
            };
            let message = question.to_bytes();
            let (Some(message), true) = (message, self.tries < ROUNDS * self.name_servers.len())
            else {
                self.failed
                    .get_or_insert(format!("no name server knows {name}"));
                self.next_question();
                continue;
            };
            self.current = Some(question);
            return Step::Ask(Ask {
                name_server: self.name_server(),
                tcp: self.tcp,
                message,
            });
        }
        self.result()
    }

    /// Takes a message from the name server asked; whether the question is
    /// done, so that [`Lookup::step`] goes on. Otherwise go on waiting.
    pub fn answered(&mut self, message: &[u8]) -> bool {
        let Some(question) = &self.current else {
            return false;
        };
        match question.read(message) {
            Err(NoAnswer::Unrelated) => return false,
            Ok(answer) if answer.truncated && !self.tcp => self.tcp = true,
            Ok(answer) if !answer.truncated => {
                self.good = self.asked();
                self.take(answer);
                self.next_question();
            }
            Ok(_) | Err(NoAnswer::Refused | NoAnswer::Malformed) => self.failed(),
        }
        true
    }

    /// Takes note that no answer came in time, or that the question could not
    /// be sent.
    pub fn failed(&mut self) {
        self.tries += 1;
        self.tcp = false;
        self.current = None;
    }

    /// The place of the name server asked now.
    fn asked(&self) -> usize {
        (self.good + self.tries) % self.name_servers.len().max(1)
    }

    fn name_server(&self) -> SocketAddr {
        self.name_servers[self.asked()]
    }

    fn next_question(&mut self) {
        self.waiting.pop_front();
        self.current = None;
        self.tries = 0;
        self.tcp = false;
    }

    fn take(&mut self, answer: Answer) {
        self.ttl = self.ttl.into_iter().chain(answer.ttl).min();
        for (host, address) in answer.addresses {
            let addresses = self.addresses.entry(host).or_default();
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        let mut asked = Vec::new();
        for record in &answer.records {
            let host = &record.target;
            if !self.addresses.contains_key(host)
                && !asked.contains(&host)
                && asked.len() < MAX_HOSTS
            {
                asked.push(host);
                self.waiting.push_back((host.clone(), Kind::A));
                self.waiting.push_back((host.clone(), Kind::Aaaa));
            }
        }
        self.records.extend(answer.records);
    }

    fn result(&mut self) -> Step {
        let (mut servers, mut lost) = (Vec::new(), Vec::new());
        for record in &self.records {
            match self.addresses.get(&record.target) {
                Some(addresses) => servers.extend(addresses.iter().map(|address| Server {
                    address: (*address, record.port).into(),
                    weight: u32::from(record.weight.max(1)),
                    priority: record.priority,
                })),
                None => lost.push(record.target.clone()),
            }
        }
        // Name servers shuffle their records.
        servers.sort_by_key(|server: &Server| (server.priority, server.address));
        servers.truncate(MAX_SERVERS);
        match self.failed.take() {
            Some(failed) if servers.is_empty() => Step::Failed(failed),
            _ => {
                let ttl = self.ttl.unwrap_or(TTL_OF_NOTHING).clamp(TTL.0, TTL.1);
                Step::Found(Found { servers, ttl, lost })
            }
        }
    }
}

/// Goes through a lookup over sockets of its own; takes up to [`PATIENCE`] for
/// each question. `random` gives the ids of questions.
///
/// # Errors
/// That nobody could say.
pub fn resolve(mut lookup: Lookup, mut random: impl FnMut() -> u64) -> Result<Found, String> {
    loop {
        match lookup.step(&mut random) {
            Step::Ask(ask) => {
                let exchange = if ask.tcp { ask_by_tcp } else { ask_by_udp };
                if exchange(&ask, &mut lookup).is_err() {
                    lookup.failed();
                }
            }
            Step::Found(found) => return Ok(found),
            Step::Failed(text) => return Err(text),
        }
    }
}

fn ask_by_udp(ask: &Ask, lookup: &mut Lookup) -> io::Result<()> {
    let any: IpAddr = match ask.name_server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(ask.name_server)?;
    socket.send(&ask.message)?;
    let end = Instant::now() + PATIENCE;
    let mut buffer = [0; 4096];
    loop {
        socket.set_read_timeout(Some(left(end)?))?;
        let length = socket.recv(&mut buffer)?;
        if lookup.answered(&buffer[..length]) {
            return Ok(());
        }
    }
}

fn ask_by_tcp(ask: &Ask, lookup: &mut Lookup) -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    let mut socket = TcpStream::connect_timeout(&ask.name_server, left(end)?)?;
    socket.set_write_timeout(Some(left(end)?))?;
    let length = u16::try_from(ask.message.len()).map_err(io::Error::other)?;
    socket.write_all(&[&length.to_be_bytes()[..], &ask.message].concat())?;
    let mut length = [0; 2];
    read_until(&mut socket, &mut length, end)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    read_until(&mut socket, &mut message, end)?;
    if lookup.answered(&message) {
        Ok(())
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

/// Fills a buffer before a time.
fn read_until(socket: &mut TcpStream, mut buffer: &mut [u8], end: Instant) -> io::Result<()> {
    while !buffer.is_empty() {
        socket.set_read_timeout(Some(left(end)?))?;
        match socket.read(buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => buffer = &mut buffer[length..],
        }
    }
    Ok(())
}

fn left(end: Instant) -> io::Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() {
        Err(io::ErrorKind::TimedOut.into())
    } else {
        Ok(left)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn servers(count: u8) -> Vec<SocketAddr> {
        (1..=count)
            .map(|n| SocketAddr::from(([192, 0, 2, n], 53)))
            .collect()
    }

    fn ask(lookup: &mut Lookup) -> Ask {
        match lookup.step(&mut || 7) {
            Step::Ask(ask) => ask,
            other => panic!("{other:?}"),
        }
    }

    /// An answer of these header bits without records.
    fn empty(ask: &Ask, bits: u16) -> Vec<u8> {
        let mut bytes = ask.message.clone();
        bytes[2..4].copy_from_slice(&(0x8180 | bits).to_be_bytes());
        bytes
    }

    #[test]
    fn name_servers_are_read_as_the_c_library_does() {
        let text = "# x\nnameserver 10.0.0.1\nsearch a.org\n nameserver\t::1 \nnameserver x\n\
            ;nameserver 9.9.9.9\nnameserver fe80::1%eth0\nnameserver 10.0.0.2\nnameserver 1.1.1.1";
        let expected = ["10.0.0.1:53", "[::1]:53", "10.0.0.2:53"];
        let expected = expected.map(|text| text.parse::<SocketAddr>().expect("address"));
        assert_eq!(name_servers(text), expected);
        assert_eq!(
            name_servers(""),
            ["127.0.0.1:53".parse::<SocketAddr>().expect("address")]
        );
    }

    #[test]
    fn every_name_server_is_asked_twice_and_the_good_one_first_from_then_on() {
        let mut lookup = Lookup::new("_tf._tcp.a.org", servers(2));
        let mut asked = Vec::new();
        let failed = loop {
            match lookup.step(&mut || 7) {
                Step::Ask(ask) => asked.push(ask.name_server),
                other => break other,
            }
            lookup.failed();
        };
        assert_eq!(asked, [servers(2), servers(2)].concat());
        assert!(matches!(failed, Step::Failed(text) if text.contains("_tf._tcp.a.org")));
        let nobody = Lookup::new("_tf._tcp.a.org", vec![]).step(&mut || 7);
        assert!(matches!(nobody, Step::Failed(_)));
    }

    #[test]
    fn a_refusal_goes_to_the_next_and_a_cut_answer_to_tcp() {
        let mut lookup = Lookup::new("_tf._tcp.a.org", servers(2));
        let first = ask(&mut lookup);
        assert!(!lookup.answered(b"rubbish") && lookup.answered(&empty(&first, 2)));
        let second = ask(&mut lookup);
        assert_eq!((second.name_server, second.tcp), (servers(2)[1], false));
        assert!(lookup.answered(&empty(&second, 0x200)));
        let third = ask(&mut lookup);
        assert_eq!((third.name_server, third.tcp), (servers(2)[1], true));
        assert!(
            lookup.answered(&empty(&third, 0x200)),
            "cut by TCP is a failure"
        );
        let fourth = ask(&mut lookup);
        assert_eq!((fourth.name_server, fourth.tcp), (servers(2)[0], false));
        assert!(lookup.answered(&empty(&fourth, 0)));
        let nothing = Found {
            servers: vec![],
            ttl: TTL_OF_NOTHING,
            lost: vec![],
        };
        assert_eq!(lookup.step(&mut || 7), Step::Found(nothing));
    }

    proptest! {
        #[test]
        fn a_lookup_ends_whatever_is_answered(answers: Vec<Option<(u16, Vec<u8>)>>) {
            let mut lookup = Lookup::new("_tf._tcp.a.org", servers(3));
            let mut answers = answers.into_iter();
            for _ in 0..20 {
                let Step::Ask(ask) = lookup.step(&mut || 7) else { return Ok(()) };
                match answers.next().flatten() {
                    Some((bits, rest)) => {
                        let message = [empty(&ask, bits), rest].concat();
                        if !lookup.answered(&message) {
                            lookup.failed();
                        }
                    }
                    None => lookup.failed(),
                }
            }
            prop_assert!(false, "still asking");
        }
    }
}
