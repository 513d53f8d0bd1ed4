//! Peers of version 1.0, made of single lines over TCP: third-party programs to tfd.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};

use openssl::pkey::{Id, PKey, Private};
use openssl::sign::Signer;
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use tfd::hub::proofs::{Challenge, enrolment_key};
use tfd::hub::wire::{Key, Random, Signature, User, Value};

use crate::common::{PATIENCE, wait_until};
use crate::peer::{GIB, Hub, MIB, code, file, hub_name, server};

/// The port of peers that name none.
const PORT: u16 = 7171;

/// A hub with a listener of version 1.0 beside that of version 1.1.
pub fn hub(lines: &str) -> Option<Hub> {
    server(&format!("listen = [\"127.0.0.1:0\"]\n{lines}"))
}

/// A user of version 1.0: a name, one key, the secret of its code, and an address of
/// this machine of its own, since all peers listen at one port.
pub struct Person {
    pub name: String,
    pub ip: Ipv4Addr,
    key: PKey<Private>,
    secret: [u8; 32],
}

impl Person {
    /// One that the operator has let in.
    pub fn new(hub: &Hub, name: &str) -> Person {
        let invitation = hub.add(name);
        let user = User::read(name).expect("name");
        let secret = enrolment_key(&invitation, &hub_name(), &user);
        let secret = *secret.expect("key").expect("a code");
        let mut drawn = [0; 35];
        getrandom::fill(&mut drawn).expect("random");
        let [a, b, c, seed @ ..] = drawn;
        Person {
            name: name.to_owned(),
            ip: Ipv4Addr::new(127, a.max(1), b, c.clamp(1, 254)),
            key: PKey::private_key_from_raw_bytes(&seed, Id::ED25519).expect("key"),
            secret,
        }
    }

    /// The same with another name.
    pub fn called(self, name: &str) -> Person {
        let name = name.to_owned();
        Person { name, ..self }
    }

    pub fn key(&self) -> String {
        let bytes = self.key.raw_public_key().expect("key");
        Key(bytes.try_into().expect("32 bytes")).text()
    }

    pub fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// A signature of these bytes.
    pub fn sign(&self, bytes: &[u8]) -> String {
        let mut signer = Signer::new_without_digest(&self.key).expect("signer");
        let signature = signer.sign_oneshot_to_vec(bytes).expect("signature");
        Signature(signature.try_into().expect("64 bytes")).text()
    }

    /// The socket at which other peers reach it.
    pub fn listen(&self) -> TcpListener {
        TcpListener::bind((self.ip, PORT)).expect("listen")
    }

    /// A connection from its address to this one.
    pub fn connect(&self, to: SocketAddr) -> TcpStream {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("socket");
        bind(&socket, &SocketAddrV4::new(self.ip, 0)).expect("bind");
        connect(&socket, &to).expect("connect");
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).expect("limit");
        stream.set_nodelay(true).expect("at once");
        stream
    }

    /// The same to another peer, whose address the hub has named.
    pub fn dial(&self, ip: &str) -> Line {
        let ip: Ipv4Addr = ip.parse().expect("an address without port");
        Line::over(self.connect(SocketAddr::from((ip, PORT))))
    }

    /// A line to the hub.
    pub fn line(&self, hub: &Hub) -> Line {
        Line::over(self.connect(hub.address()))
    }

    /// A line of who is ready, the first time and later.
    #[track_caller]
    pub fn ready(&self, hub: &Hub, share: u64) -> Line {
        let mut line = self.line(hub);
        let mut reply = line.log_in(self, &self.secret);
        if code(&reply) == 302 {
            assert_eq!(code(&line.done(&format!("KEY {}", self.key()))), 209);
            reply = "301".to_owned();
        }
        if code(&reply) == 301 {
            assert_eq!(code(&line.done(&format!("SHA {share}"))), 208);
        } else {
            assert_eq!(code(&reply), 201, "{reply}");
        }
        line.notice("ACS");
        line
    }
}

/// A connection of lines.
pub struct Line {
    pub stream: TcpStream,
    bytes: Vec<u8>,
    answers: VecDeque<String>,
    requests: VecDeque<String>,
    notices: VecDeque<String>,
}

/// The requests and the notices that the hub sends.
const REQUESTS: [&str; 6] = ["RCV", "LET", "ACC", "REM", "REQ", "TRA"];
const NOTICES: [&str; 8] = ["ACS", "CHA", "NFI", "WRN", "OUT", "STP", "SRR", "MOV"];

impl Line {
    pub fn over(stream: TcpStream) -> Line {
        Line {
            stream,
            bytes: Vec::new(),
            answers: VecDeque::new(),
            requests: VecDeque::new(),
            notices: VecDeque::new(),
        }
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("write");
    }

    pub fn send(&mut self, line: &str) {
        self.send_bytes(format!("{line}\r\n").as_bytes());
    }

    /// Reads more; whether there was more.
    fn fill(&mut self) -> bool {
        let mut piece = [0; 4096];
        match self.stream.read(&mut piece) {
            Ok(0) => false,
            Ok(len) => {
                self.bytes.extend_from_slice(&piece[..len]);
                true
            }
            Err(e) if e.kind() == ErrorKind::ConnectionReset => false,
            Err(e) => panic!("{e}"),
        }
    }

    /// The next line of any kind; `None` at the end.
    pub fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.bytes.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.bytes.drain(..end + 2).collect();
                return Some(String::from_utf8(line[..end].to_vec()).expect("text"));
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// So many bytes of a file.
    pub fn take(&mut self, len: usize) -> Vec<u8> {
        while self.bytes.len() < len {
            assert!(self.fill(), "the end in a file");
        }
        self.bytes.drain(..len).collect()
    }

    /// Reads a line and puts it where it belongs; whether there was one.
    fn read(&mut self) -> bool {
        let Some(line) = self.line() else {
            return false;
        };
        let is_bare = !line.contains('=') || line.starts_with("508 ");
        assert!(is_bare, "no named parameter: {line}");
        let word = line.split(' ').next().unwrap_or_default();
        let queue = if REQUESTS.contains(&word) {
            &mut self.requests
        } else if NOTICES.contains(&word) {
            &mut self.notices
        } else {
            &mut self.answers
        };
        queue.push_back(line);
        true
    }

    /// The next answer.
    #[track_caller]
    pub fn answer(&mut self) -> String {
        loop {
            if let Some(line) = self.answers.pop_front() {
                return line;
            }
            assert!(self.read(), "the end before an answer");
        }
    }

    /// Sends a request; the first answer.
    #[track_caller]
    pub fn done(&mut self, text: &str) -> String {
        self.send(text);
        self.answer()
    }

    /// The next request of the hub.
    #[track_caller]
    pub fn asked(&mut self, word: &str) -> String {
        loop {
            if let Some(line) = self.requests.pop_front() {
                assert!(line.starts_with(word), "{line}");
                return line;
            }
            assert!(self.read(), "the end before {word}");
        }
    }

    /// Takes the hub's next request, and answers it.
    #[track_caller]
    pub fn obey(&mut self, word: &str, reply: &str) -> String {
        let line = self.asked(word);
        self.send(reply);
        line
    }

    /// What the hub has asked so far; it waits for an answer, behind which that would be.
    pub fn is_asked(&mut self) -> bool {
        assert_eq!(code(&self.done("GIP nobody")), 401);
        !self.requests.is_empty()
    }

    /// The next notice with this word; others before it are dropped.
    #[track_caller]
    pub fn notice(&mut self, word: &str) -> String {
        loop {
            while let Some(line) = self.notices.pop_front() {
                if line.starts_with(word) {
                    return line;
                }
            }
            assert!(self.read(), "the end before {word}");
        }
    }

    /// Whether there was no such notice so far.
    #[track_caller]
    pub fn has_no(&mut self, word: &str) -> bool {
        assert_eq!(code(&self.done("GIP nobody")), 401);
        !self.notices.iter().any(|line| line.starts_with(word))
    }

    /// Reads up to the end.
    pub fn end(&mut self) -> Vec<String> {
        while self.read() {}
        let all = self.answers.drain(..).chain(self.requests.drain(..));
        all.chain(self.notices.drain(..)).collect()
    }

    /// The challenge that has come.
    #[track_caller]
    pub fn challenged(&mut self) -> (u64, Random) {
        let challenge = self.notice("CHA");
        let words: Vec<&str> = challenge.split(' ').collect();
        let time = u64::read(words[1]).expect("time");
        (time, Random::read(words[2]).expect("random"))
    }

    /// Logs in; the reply.
    #[track_caller]
    pub fn log_in(&mut self, person: &Person, secret: &[u8; 32]) -> String {
        let reply = self.done(&format!("LOG {} 1.0", person.name));
        if code(&reply) != 206 {
            return reply;
        }
        assert_eq!(reply, "206 Username OK");
        let challenge = self.challenged();
        let response = response(&person.name, challenge, secret);
        self.done(&format!("RSP {response}"))
    }

    /// Begins a run.
    #[track_caller]
    pub fn begin(&mut self, size: u64, copies: u8) {
        let reply = self.done(&format!("BCK {size} 1 {copies}"));
        assert_eq!(reply, "202 OK to begin backup");
        self.notice("ACS");
    }
}

/// What who has a secret answers to a challenge on a line without TLS.
pub fn response(name: &str, (time, random): (u64, Random), secret: &[u8; 32]) -> String {
    let (hub, user) = (hub_name(), User::read(name).expect("name"));
    let challenge = Challenge {
        hub: &hub,
        user: &user,
        time,
        random,
        exporter: None,
    };
    challenge.response(secret).expect("response").text()
}

/// A file that an owner has at two keepers.
pub struct Stored {
    pub hub: Hub,
    pub owner: Person,
    pub keepers: [Person; 2],
    pub line: Line,
    pub lines: [Line; 2],
}

pub fn put(number: u8) -> String {
    format!("PUT {} {MIB}", file(number).text())
}

/// Which of two keepers the hub asks something now.
pub fn asked_first(lines: &mut [Line; 2]) -> usize {
    let mut found = None;
    wait_until("one is asked", || {
        found = lines.iter_mut().position(Line::is_asked);
        found.is_some()
    });
    found.expect("one")
}

/// Has a file placed at these keepers; the lines that say where.
#[track_caller]
pub fn place(owner: &mut Line, keepers: &mut [Line], text: &str) -> Vec<String> {
    owner.send(text);
    for keeper in keepers.iter_mut() {
        keeper.obey("RCV", "211 OK to send file");
    }
    keepers.iter().map(|_| owner.answer()).collect()
}

/// Has one stored at two keepers, each of which has taken it.
#[track_caller]
pub fn stored(lines: &str) -> Option<Stored> {
    let hub = hub(lines)?;
    let keepers = ["bob", "carol"].map(|name| Person::new(&hub, name));
    let mut at = keepers.each_ref().map(|it| it.ready(&hub, GIB));
    let owner = Person::new(&hub, "anna");
    let mut line = owner.ready(&hub, MIB);
    line.begin(MIB, 2);
    place(&mut line, &mut at, &put(1));
    for keeper in &keepers {
        let reply = line.done(&format!("DFI {} {}", file(1).text(), keeper.name));
        assert_eq!(code(&reply), 212, "{reply}");
    }
    line.notice("NFI");
    assert_eq!(line.done("DBU"), "215 Update done");
    line.notice("ACS");
    Some(Stored {
        hub,
        owner,
        keepers,
        line,
        lines: at,
    })
}
