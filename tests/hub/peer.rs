//! Peers of a hub, and the server they speak to.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Command;

use openssl::ssl::{SslConnector, SslMethod, SslStream, SslVerifyMode, SslVersion};
use tempfile::TempDir;
use tfd::hub::proofs::{Challenge, SigningKey, Statement, enrolment_key};
use tfd::hub::wire::{Exporter, Key, Label, LoginKey, Name, Random, User, Value};

use crate::common::{PATIENCE, Server, Setup, is_root, write_certificate};

/// The protocol's name, as a client offers it.
pub const ALPN: &[u8] = b"\x09tfd-hub/1";
pub const HUB: &str = "hub.example.org";
pub const MIB: u64 = 1 << 20;
pub const GIB: u64 = 1 << 30;

/// A server, and the directory of its hub, which ends after it.
pub struct Hub {
    server: Server,
    above: TempDir,
    data: PathBuf,
}

impl Deref for Hub {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for Hub {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

/// A server of a hub with these lines more; `None` without root.
pub fn server(lines: &str) -> Option<Hub> {
    server_with("", lines)
}

/// The same with further lines of `[server]`.
pub fn server_with(server: &str, lines: &str) -> Option<Hub> {
    server_on(None, server, lines)
}

/// The same on a disk of its own.
pub fn server_on(disk: Option<&Path>, server: &str, lines: &str) -> Option<Hub> {
    if !is_root() {
        println!("left out: a hub needs root");
        return None;
    }
    let above = tempfile::tempdir().expect("directory");
    write_certificate(above.path(), None);
    let here = above.path().display();
    let data = disk.unwrap_or(above.path()).join("hub");
    // A keeper of these tests may be slow; one that is to be passed over says so.
    let timeout = if lines.contains("keeper_timeout") {
        ""
    } else {
        "keeper_timeout = 60\n"
    };
    // Nobody listens for most of them.
    let probes = if lines.contains("probe_cycle") {
        ""
    } else {
        "probe_cycle = 0\n"
    };
    let listen = if lines.contains("tls_listen") {
        ""
    } else {
        "tls_listen = [\"127.0.0.1:0\"]\n"
    };
    // Of no use where nobody listens with TLS.
    let tls = if lines.contains("tls_listen = []") {
        String::new()
    } else {
        format!("tls_certificate = \"{here}/tls.pem\"\ntls_key = \"{here}/tls-key.pem\"\n")
    };
    let server = Server::with(Setup {
        server: format!("control = \"control\"\n{tls}{server}"),
        tf: format!(
            "listen = []\n[hub]\n{listen}name = \"{HUB}\"\n\
             data = \"{}\"\nuser = \"games\"\n{timeout}{probes}{lines}\n",
            data.display()
        ),
        ..Setup::default()
    });
    Some(Hub {
        server,
        above,
        data,
    })
}

impl Hub {
    /// The directory of the hub.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Its certificate, as PEM.
    pub fn certificate(&self) -> PathBuf {
        self.above.path().join("tls.pem")
    }

    /// What `tfd hub` prints, and whether it has succeeded.
    pub fn operate(&self, words: &[&str]) -> (String, bool) {
        operate(self, words)
    }

    /// Lets a user in; its code.
    #[track_caller]
    pub fn add(&self, name: &str) -> String {
        add(self, name)
    }

    /// An owner that has logged in for the first time.
    #[track_caller]
    pub fn owner(&self, person: &Person) -> Line {
        enrol(self, person)
    }

    /// A holder with this share that is ready.
    #[track_caller]
    pub fn holder(&self, person: &Person, share: u64) -> Line {
        drop(self.owner(person));
        let mut line = Line::new(self);
        assert_eq!(code(&line.log_in(person, "keeper", &person.login)), 302);
        assert_eq!(code(&line.send_holder_key(person)), 209);
        let shared = line.done(&format!("SHA {share} port=7272"));
        assert_eq!(code(&shared), 208, "{shared}");
        line.notice("ACS");
        line
    }

    /// A line of an owner whose key is known.
    #[track_caller]
    pub fn log_in(&self, person: &Person) -> Line {
        let mut line = Line::new(self);
        let reply = line.log_in(person, "owner", &person.login);
        assert_eq!(code(&reply), 201, "{reply}");
        line.notice("ACS");
        line
    }

    /// A line of a holder whose keys and share are known.
    #[track_caller]
    pub fn log_in_holder(&self, person: &Person) -> Line {
        let mut line = Line::new(self);
        let reply = line.log_in(person, "keeper", &person.login);
        assert_eq!(code(&reply), 201, "{reply}");
        line.notice("ACS");
        line
    }
}

/// What `tfd hub` prints for this server, and whether it has succeeded.
pub fn operate(server: &Server, words: &[&str]) -> (String, bool) {
    let output = Command::new(env!("CARGO_BIN_EXE_tfd"))
        .arg("hub")
        .args(words)
        .arg("--config")
        .arg(server.config_path())
        .output()
        .expect("tfd");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).expect("text");
    (text, output.status.success())
}

#[track_caller]
fn add(server: &Server, name: &str) -> String {
    let (code, is_well) = operate(server, &["user", "add", name]);
    assert!(is_well, "{code}");
    code.trim().to_owned()
}

/// Lets a user in, who logs in for the first time.
#[track_caller]
pub fn enrol(server: &Server, person: &Person) -> Line {
    let code = add(server, &person.name);
    let mut line = Line::new(server);
    line.enrol(person, &code);
    line
}

/// A user with its keys.
pub struct Person {
    pub name: String,
    pub identity: SigningKey,
    pub holder: SigningKey,
    pub login: [u8; 32],
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("random");
    bytes
}

pub fn hub_name() -> Label {
    Label::read(HUB).expect("name")
}

pub fn file(number: u8) -> Name {
    Name([number; 32])
}

impl Person {
    pub fn new(name: &str) -> Person {
        let key = || SigningKey::new(&random()).expect("key");
        Person {
            name: name.to_owned(),
            identity: key(),
            holder: key(),
            login: random(),
        }
    }

    pub fn user(&self) -> User {
        User::read(&self.name).expect("name")
    }

    pub fn key(&self) -> Key {
        self.identity.public().expect("key")
    }

    pub fn holder_key(&self) -> Key {
        self.holder.public().expect("key")
    }

    /// What this holder signs for a file.
    pub fn receipt(&self, owner: &Person, name: Name, size: u64) -> String {
        let statement = Statement::Receipt {
            hub: &hub_name(),
            holder: &self.user(),
            owner: &owner.user(),
            name,
            size,
        };
        statement.sign(&self.holder).expect("receipt").text()
    }

    /// The parameters that prove a deletion.
    pub fn proof(&self, name: Name, size: u64) -> String {
        let time = jiff::Timestamp::now().as_second() as u64;
        let statement = Statement::Removal {
            hub: &hub_name(),
            owner: &self.user(),
            name,
            size,
            time,
        };
        let proof = statement.sign(&self.identity).expect("proof").text();
        format!("proof={proof} time={time}")
    }
}

/// The number of a reply; 0 for a command.
pub fn code(line: &str) -> u16 {
    line.get(..3).and_then(|it| it.parse().ok()).unwrap_or(0)
}

/// A parameter of a line, by its name.
#[track_caller]
pub fn named<'a>(line: &'a str, name: &str) -> &'a str {
    let mut words = line.split(' ').filter_map(|word| word.split_once('='));
    let found = words.find(|(word, _)| *word == name);
    found.unwrap_or_else(|| panic!("{name} in {line}")).1
}

/// A connection to the hub.
pub struct Line {
    pub stream: SslStream<TcpStream>,
    bytes: Vec<u8>,
    next: u32,
    pub exporter: Exporter,
    answers: VecDeque<String>,
    requests: VecDeque<String>,
    notices: VecDeque<String>,
}

/// The requests that the hub sends.
const OF_THE_HUB: [&str; 6] = ["RCV", "LET", "ACC", "REM", "REQ", "TRA"];

impl Line {
    /// One that has shaken hands; `None` if the server has not.
    pub fn with_alpn(server: &Server, alpn: &[u8]) -> Option<Line> {
        let socket = TcpStream::connect(server.tls_address()).expect("connect");
        Line::over(socket, alpn)
    }

    /// The same over this connection.
    pub fn over(socket: TcpStream, alpn: &[u8]) -> Option<Line> {
        let mut builder = SslConnector::builder(SslMethod::tls()).expect("TLS");
        builder.set_verify(SslVerifyMode::NONE);
        let tls13 = Some(SslVersion::TLS1_3);
        builder.set_min_proto_version(tls13).expect("TLS 1.3");
        if !alpn.is_empty() {
            builder.set_alpn_protos(alpn).expect("names");
        }
        socket.set_read_timeout(Some(PATIENCE)).expect("limit");
        socket.set_nodelay(true).expect("at once");
        let stream = builder.build().connect("127.0.0.1", socket).ok()?;
        let mut exporter = Exporter([0; 32]);
        let label = "EXPORTER-tfd-hub-v1";
        let exported = stream
            .ssl()
            .export_keying_material(&mut exporter.0, label, None);
        exported.expect("exporter");
        Some(Line {
            stream,
            bytes: Vec::new(),
            next: 1,
            exporter,
            answers: VecDeque::new(),
            requests: VecDeque::new(),
            notices: VecDeque::new(),
        })
    }

    pub fn new(server: &Server) -> Line {
        Line::with_alpn(server, ALPN).expect("handshake")
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("write");
    }

    /// Sends a line as it is.
    pub fn send(&mut self, line: &str) {
        self.send_bytes(format!("{line}\r\n").as_bytes());
    }

    /// Sends a request; its number.
    pub fn request(&mut self, text: &str) -> u32 {
        let id = self.next;
        self.next += 1;
        self.send(&format!("{text} id={id}"));
        id
    }

    /// The next line of any kind; `None` at the end.
    pub fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.bytes.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.bytes.drain(..end + 2).collect();
                return Some(String::from_utf8(line[..end].to_vec()).expect("text"));
            }
            let mut piece = [0; 4096];
            match self.stream.read(&mut piece) {
                Ok(0) => return None,
                Ok(len) => self.bytes.extend_from_slice(&piece[..len]),
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(e) => panic!("{e}"),
            }
        }
    }

    /// Reads a line and puts it where it belongs; whether there was one.
    fn read(&mut self) -> bool {
        let Some(line) = self.line() else {
            return false;
        };
        let word = line.split(' ').next().unwrap_or_default();
        let has_id = line.contains(" id=");
        let queue = match (code(&line) == 0, has_id) {
            (true, false) => &mut self.notices,
            (true, true) if OF_THE_HUB.contains(&word) => &mut self.requests,
            _ => &mut self.answers,
        };
        queue.push_back(line);
        true
    }

    /// The next answer to the request of this number.
    #[track_caller]
    pub fn answer(&mut self, id: u32) -> String {
        let end = format!(" id={id}");
        let is_it = |line: &String| line.ends_with(&end) || line.contains(&format!("{end} "));
        loop {
            if let Some(at) = self.answers.iter().position(is_it) {
                return self.answers.remove(at).expect("one");
            }
            assert!(self.read(), "the end before an answer to {id}");
        }
    }

    /// The next answer of any number, such as one to a line that can't be read.
    #[track_caller]
    pub fn any_answer(&mut self) -> String {
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
        let id = self.request(text);
        self.answer(id)
    }

    /// The next request of the hub.
    #[track_caller]
    pub fn asked(&mut self, word: &str) -> String {
        loop {
            if let Some(line) = self.requests.pop_front() {
                assert!(line.starts_with(word), "{line}");
                return line;
            }
            assert!(self.read(), "the end before a request");
        }
    }

    /// Takes the hub's next request, and answers it.
    #[track_caller]
    pub fn obey(&mut self, word: &str, reply: &str) -> String {
        let line = self.asked(word);
        let id = named(&line, "id").to_owned();
        self.send(&format!("{reply} ; id={id}"));
        line
    }

    /// Whether the hub has asked something; it waits for an answer to a request of its
    /// own, behind which that would be.
    pub fn is_asked(&mut self) -> bool {
        let reply = self.done("GIP nobody");
        assert_eq!(code(&reply), 401);
        !self.requests.is_empty()
    }

    /// What the hub has asked so far, and has been asked to note.
    pub fn news(&mut self) -> (Vec<String>, Vec<String>) {
        let reply = self.done("GIP nobody");
        assert_eq!(code(&reply), 401);
        (
            self.requests.drain(..).collect(),
            self.notices.drain(..).collect(),
        )
    }

    /// Whether the hub has asked nothing so far.
    pub fn is_idle(&mut self) -> bool {
        !self.is_asked()
    }

    /// An answer to the request of this number, or `None` if the hub asks somebody else
    /// about it first.
    pub fn try_answer(&mut self, id: u32) -> Option<String> {
        let known = self.request("GIP nobody");
        self.answer_or(id, known)
    }

    /// The answer to one of two requests; `None` for the second.
    fn answer_or(&mut self, first: u32, second: u32) -> Option<String> {
        let is_of = |line: &str, id: u32| {
            let end = format!(" id={id}");
            line.ends_with(&end) || line.contains(&format!("{end} "))
        };
        loop {
            if let Some(at) = self.answers.iter().position(|line| is_of(line, first)) {
                return self.answers.remove(at);
            }
            if let Some(at) = self.answers.iter().position(|line| is_of(line, second)) {
                self.answers.remove(at);
                return None;
            }
            assert!(self.read(), "the end before an answer");
        }
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

    /// Reads up to the end.
    pub fn end(&mut self) -> Vec<String> {
        while self.read() {}
        let all = self.answers.drain(..).chain(self.requests.drain(..));
        all.chain(self.notices.drain(..)).collect()
    }

    /// Asks for a challenge.
    #[track_caller]
    pub fn challenge(&mut self, name: &str, role: &str) -> (u64, Random) {
        let reply = self.done(&format!("LOG {name} 1.1 role={role}"));
        assert_eq!(code(&reply), 206, "{reply}");
        assert_eq!(named(&reply, "hub"), HUB);
        self.challenged()
    }

    /// The challenge that has come.
    #[track_caller]
    pub fn challenged(&mut self) -> (u64, Random) {
        let challenge = self.notice("CHA");
        let words: Vec<&str> = challenge.split(' ').collect();
        let time = u64::read(words[1]).expect("time");
        (time, Random::read(words[2]).expect("random"))
    }

    /// The parameters of `RSP` of who has this secret, with a signature.
    pub fn response(
        &self,
        person: &Person,
        (time, random): (u64, Random),
        secret: &[u8; 32],
        signer: &SigningKey,
    ) -> (String, String) {
        let (hub, user) = (hub_name(), person.user());
        let challenge = Challenge {
            hub: &hub,
            user: &user,
            time,
            random,
            exporter: Some(self.exporter),
        };
        let response = challenge.response(secret).expect("response").text();
        let sig = Statement::Response(&challenge).sign(signer);
        (response, sig.expect("signature").text())
    }

    /// Logs in; the reply.
    #[track_caller]
    pub fn log_in(&mut self, person: &Person, role: &str, secret: &[u8; 32]) -> String {
        let id = self.respond(person, role, secret);
        self.answer(id)
    }

    /// Sends the response to a challenge; its number.
    #[track_caller]
    pub fn respond(&mut self, person: &Person, role: &str, secret: &[u8; 32]) -> u32 {
        let challenge = self.challenge(&person.name, role);
        let signer = match role {
            "keeper" => &person.holder,
            _ => &person.identity,
        };
        let (response, sig) = self.response(person, challenge, secret, signer);
        self.request(&format!("RSP {response} sig={sig}"))
    }

    /// Sends the identity key and the login key; the reply.
    pub fn send_key(&mut self, person: &Person) -> String {
        let key = person.key();
        let statement = Statement::OwnKey {
            hub: &hub_name(),
            user: &person.user(),
            key,
            exporter: self.exporter,
        };
        let proof = statement.sign(&person.identity).expect("proof").text();
        let login = LoginKey(person.login.into()).text();
        self.done(&format!("KEY {} login={login} proof={proof}", key.text()))
    }

    /// Sends the holder key; the reply.
    pub fn send_holder_key(&mut self, person: &Person) -> String {
        let key = person.holder_key();
        let statement = Statement::HolderKey {
            hub: &hub_name(),
            user: &person.user(),
            key,
        };
        let proof = statement.sign(&person.identity).expect("proof").text();
        self.done(&format!("KEY {} proof={proof}", key.text()))
    }

    /// Logs in as an owner by a code, and sends the key.
    #[track_caller]
    pub fn enrol(&mut self, person: &Person, code_text: &str) {
        let secret = enrolment_key(code_text, &hub_name(), &person.user());
        let secret = secret.expect("key").expect("a code");
        let reply = self.log_in(person, "owner", &secret);
        assert_eq!(code(&reply), 302, "{reply}");
        let reply = self.send_key(person);
        assert_eq!(code(&reply), 209, "{reply}");
        self.notice("ACS");
    }

    /// Begins a run.
    #[track_caller]
    pub fn begin(&mut self, size: u64, factor: u8, run: u8) -> String {
        let reply = self.done(&format!("BCK {size} 1 {factor} run={}", run_id(run)));
        assert_eq!(code(&reply), 202, "{reply}");
        self.notice("ACS");
        reply
    }
}

pub fn run_id(number: u8) -> String {
    format!("{number:02x}").repeat(16)
}

/// Stores a file at the one holder of the hub, and waits until it counts.
#[track_caller]
pub fn store(owner: &mut Line, who: &Person, at: &mut Line, holder: &Person, put: &str) {
    let words: Vec<&str> = put.split(' ').collect();
    let (name, size) = (words[1], u64::read(words[2]).expect("size"));
    let id = owner.request(put);
    at.obey("RCV", "211 OK to send file");
    let goes = owner.answer(id);
    assert!(goes.starts_with("DST"), "{goes}");
    let name_of = Name::read(name).expect("name");
    let receipt = holder.receipt(who, name_of, size);
    let reply = owner.done(&format!("DFI {name} {} receipt={receipt}", holder.name));
    assert_eq!(code(&reply), 212, "{reply}");
    owner.notice("NFI");
}
