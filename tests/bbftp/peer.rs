//! A client of BBFTP made of single bytes, and the server it speaks to.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;

use openssl::bn::BigNum;
use openssl::rsa::{Padding, Rsa};

use crate::common::{PATIENCE, Server, Setup, account, connect_from, is_root};

pub const OK: u32 = 0;
pub const LOG: u32 = 1;
pub const STORE: u32 = 2;
pub const BAD: u32 = 3;
pub const CRYPT: u32 = 6;
pub const RETR: u32 = 7;
pub const RETR_RFIO: u32 = 10;
pub const RETR_RFIO_C: u32 = 11;
pub const RETR_START: u32 = 12;
pub const ABR: u32 = 13;
pub const NO: u32 = 14;
pub const MKDIR: u32 = 15;
pub const CHDIR: u32 = 16;
pub const LIST: u32 = 17;
pub const LIST_REPL: u32 = 18;
pub const CREATE_ZERO: u32 = 19;
pub const PROT: u32 = 23;
pub const PROT_ANS: u32 = 24;
pub const STORE_V2: u32 = 25;
pub const RETR_V2: u32 = 26;
pub const ABORT: u32 = 27;
pub const TRANS_START_V2: u32 = 29;
pub const FILENAME: u32 = 31;
pub const CHUMASK: u32 = 32;
pub const MKDIR_V2: u32 = 33;
pub const CHDIR_V2: u32 = 34;
pub const LIST_V2: u32 = 35;
pub const LIST_REPL_V2: u32 = 36;
pub const CHCOS: u32 = 37;
pub const PRIV_LOG: u32 = 38;
pub const CLOSE_CONN: u32 = 40;
pub const CERT_LOG: u32 = 41;
pub const TRANS_START_V3: u32 = 43;
pub const RM: u32 = 46;
pub const STAT: u32 = 47;
pub const DF: u32 = 48;
pub const SERVER_STATUS: u32 = 49;
pub const SHA256: u32 = 0x7466_0004;

/// A server that takes passwords encrypted by RSA, with further lines in
/// `[bbftp]`; `None` where the tests have no right to start one.
pub fn server(lines: &str) -> Option<Server> {
    server_with("", lines)
}

/// What the one-time codes of the account two are made of.
pub const SECRET: &str = "NVQXE23FMQWXI33UOAWXGZLDOJSXILLY";

/// The same with further lines in `[server]`.
pub fn server_with(server: &str, lines: &str) -> Option<Server> {
    server_at("127.0.0.1:0", server, lines)
}

/// The same at this address.
pub fn server_at(address: &str, server: &str, lines: &str) -> Option<Server> {
    if !is_root() {
        println!("left out: taking identities needs root");
        return None;
    }
    let users = [
        account("ann", "pass word", "games:::"),
        account("bob", "pass", "mail::max=1:"),
        account("roy", "pass", "mail::read-only:"),
        account("app", "pass", "mail::append-only:"),
        account("cut", "pass", "mail:home::"),
        account("old", "pass", "mail:::2020-01-01"),
        account("far", "pass", "mail::from=192.0.2.0/24:"),
        account("two", "pass", "mail:::").replacen(":mail", &format!(";totp={SECRET}:mail"), 1),
    ];
    let server = Server::with(Setup {
        server: format!(
            "mode = \"multi-user\"\nusers = \"users\"\ncontrol = \"control\"\n\
             metrics = \"./metrics\"\naudit = \"audit.jsonl\"\n{server}"
        ),
        tf: format!(
            "listen = [\"127.0.0.1:0\"]\n[bbftp]\nlisten = [\"{address}\"]\n\
             password_logins = \"rsa\"\n{lines}"
        ),
        users: users.concat(),
        directories: &["home"],
        ..Setup::default()
    });
    for directory in [server.root(), &server.path("home")] {
        let anybody = fs::Permissions::from_mode(0o1777);
        fs::set_permissions(directory, anybody).expect("mode");
    }
    Some(server)
}

/// One that listens inside TLS, too, with these lines in `[bbftp]` and accounts.
pub fn tls_server(lines: &str, users: &str) -> Option<Server> {
    tls_server_at("127.0.0.1:0", "", lines, users)
}

/// The same at this address, with further lines in `[server]`.
pub fn tls_server_at(address: &str, server: &str, lines: &str, users: &str) -> Option<Server> {
    if !is_root() {
        println!("left out: taking identities needs root");
        return None;
    }
    let server = Server::with(Setup {
        server: format!("mode = \"multi-user\"\nusers = \"users\"\n{server}"),
        tf: format!(
            "listen = [\"127.0.0.1:0\"]\n[bbftp]\nlisten = [\"{address}\"]\n\
             tls_listen = [\"{address}\"]\n{lines}\n"
        ),
        users: users.to_owned(),
        tls: true,
        ..Setup::default()
    });
    let anybody = fs::Permissions::from_mode(0o1777);
    fs::set_permissions(server.root(), anybody).expect("mode");
    Some(server)
}

/// Where it listens for BBFTP.
pub fn address(server: &Server) -> SocketAddr {
    *server
        .listening("listening address=")
        .last()
        .expect("address")
}

/// A connection to it.
pub struct Peer {
    pub socket: TcpStream,
    /// The key of the greeting.
    pub modulus: Vec<u8>,
}

pub fn message(code: u32, payload: &[u8]) -> Vec<u8> {
    announcing(code, payload.len() as u32, payload)
}

pub fn announcing(code: u32, len: u32, payload: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), &len.to_be_bytes(), payload].concat()
}

/// Options in front of a path.
pub fn with_options(options: u32, path: &str) -> Vec<u8> {
    [&options.to_be_bytes(), path.as_bytes()].concat()
}

impl Peer {
    /// One that has read the greeting.
    pub fn greeted(server: &Server) -> Peer {
        Peer::greeted_at(address(server))
    }

    pub fn greeted_at(address: SocketAddr) -> Peer {
        let socket = connect_from("127.0.0.1", address);
        socket.set_read_timeout(Some(PATIENCE)).expect("limit");
        socket.set_nodelay(true).expect("at once");
        let mut peer = Peer {
            socket,
            modulus: Vec::new(),
        };
        let (code, payload) = peer.receive();
        assert_eq!((code, payload.len()), (CRYPT, 152));
        let head = [0, 0, 0, 2, 0, 0, 0, 133, 0, 0, 0, 7, 0, 0, 0, 129, 0];
        assert_eq!(payload[..17], head, "RSA, 1024 bits");
        assert_eq!(payload[145..], [0, 0, 0, 3, 1, 0, 1], "65537");
        peer.modulus = payload[17..145].to_vec();
        peer
    }

    /// One that has logged in, and chosen no version.
    pub fn logged_in(server: &Server, user: &str, password: &str) -> Peer {
        let mut peer = Peer::greeted(server);
        let (code, text) = peer.log_in(user, password);
        assert_eq!(code, OK, "{text}");
        assert!(text.starts_with("tfd 0."), "{text}");
        peer
    }

    /// Ann, in this version.
    pub fn ann(server: &Server, version: u32) -> Peer {
        let mut peer = Peer::logged_in(server, "ann", "pass word");
        peer.choose(version);
        peer
    }

    /// Chooses a version; the first by asking for nothing.
    pub fn choose(&mut self, version: u32) {
        if version == 1 {
            return;
        }
        self.send(PROT, b"");
        let (code, versions) = self.receive();
        assert_eq!((code, versions), (PROT_ANS, vec![0, 0, 0, 1, 0, 0, 0, 3]));
        self.send(PROT_ANS, &version.to_be_bytes());
    }

    /// What a client sends of a name or a password.
    pub fn block(&self, text: &[u8]) -> Vec<u8> {
        let number = |bytes: &[u8]| BigNum::from_slice(bytes).expect("number");
        let key = Rsa::from_public_components(number(&self.modulus), number(&[1, 0, 1]));
        let mut block = vec![0; 128];
        key.expect("key")
            .public_encrypt(text, &mut block, Padding::PKCS1_OAEP)
            .expect("encrypt");
        block
    }

    pub fn log_in(&mut self, user: &str, password: &str) -> (u32, String) {
        let blocks = [self.block(user.as_bytes()), self.block(password.as_bytes())];
        self.send(LOG, &login(2, &blocks[0], &blocks[1]));
        self.answer()
    }

    pub fn send(&mut self, code: u32, payload: &[u8]) {
        self.send_bytes(&message(code, payload));
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("write");
    }

    pub fn receive(&mut self) -> (u32, Vec<u8>) {
        let mut header = [0; 8];
        self.socket.read_exact(&mut header).expect("a message");
        let [code, len] = [0, 4].map(|at| {
            let number = header[at..at + 4].try_into().expect("4 bytes");
            u32::from_be_bytes(number)
        });
        let mut payload = vec![0; len as usize];
        self.socket.read_exact(&mut payload).expect("a payload");
        (code, payload)
    }

    pub fn answer(&mut self) -> (u32, String) {
        let (code, payload) = self.receive();
        (code, String::from_utf8(payload).expect("a text"))
    }

    pub fn ask(&mut self, code: u32, payload: &[u8]) -> (u32, String) {
        self.send(code, payload);
        self.answer()
    }

    /// Expects an answer with this code and text.
    #[track_caller]
    pub fn expect(&mut self, (code, payload): (u32, &[u8]), expected: (u32, &str)) {
        let (answer, text) = self.ask(code, payload);
        assert_eq!((answer, text.as_str()), expected);
    }

    /// Expects an answer that this begins, with this code.
    #[track_caller]
    pub fn expect_refused(&mut self, (code, payload): (u32, &[u8])) -> String {
        let (answer, text) = self.ask(code, payload);
        assert_eq!(answer, NO, "{code}: {text}");
        assert!(!text.is_empty(), "{code}");
        text
    }

    /// Expects that the session goes on, and owes no other answer.
    #[track_caller]
    pub fn expect_alive(&mut self) {
        let (code, text) = self.ask(0x1234, b"nobody knows this");
        assert_eq!(
            (code, text.as_str()),
            (NO, "Unknown message in logged state")
        );
    }

    /// Expects the end of the connection, after whatever was on its way.
    #[track_caller]
    pub fn expect_closed(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.socket.read_to_end(&mut rest) {
            Ok(_) => rest,
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => rest,
            Err(e) => panic!("{e}"),
        }
    }
}

/// The payload of LOG.
pub fn login(method: u32, user: &[u8], password: &[u8]) -> Vec<u8> {
    let mut payload = vec![0; 276];
    payload[..4].copy_from_slice(&method.to_be_bytes());
    // What a client's memory holds.
    payload[4..12].copy_from_slice(&[10; 8]);
    payload[12..12 + user.len()].copy_from_slice(user);
    payload[140..140 + password.len()].copy_from_slice(password);
    payload[268..272].copy_from_slice(&(user.len() as u32).to_be_bytes());
    payload[272..].copy_from_slice(&(password.len() as u32).to_be_bytes());
    payload
}

/// The 48 bytes of a transfer.
pub fn transfer(size: i64, options: u32, buffer: i32, streams: i32) -> Vec<u8> {
    let mut payload = size.to_be_bytes().to_vec();
    payload.extend_from_slice(&options.to_be_bytes());
    payload.extend_from_slice(&0o640_u32.to_be_bytes());
    payload.extend_from_slice(b"6b00cf283a7b8372");
    for number in [256, 256, buffer, streams] {
        payload.extend_from_slice(&number.to_be_bytes());
    }
    payload
}

/// The 576 bytes of a transfer of version 1.
pub fn old_transfer(name: &[u8], size: i64, ports: u32, port: u32) -> Vec<u8> {
    let mut payload = vec![0; 576];
    payload[..name.len()].copy_from_slice(name);
    payload[504..512].copy_from_slice(&size.to_be_bytes());
    payload[532..536].copy_from_slice(&ports.to_be_bytes());
    for at in (536..576).step_by(4) {
        payload[at..at + 4].copy_from_slice(&port.to_be_bytes());
    }
    payload
}
