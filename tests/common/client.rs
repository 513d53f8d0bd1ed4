//! A client that speaks the bare wire, and what it expects.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use openssl::rsa::Padding;
use rustix::net::{AddressFamily, SocketType, bind, socket};
use tfd::client::{Connection, PublicKey, Target};
use tfd::tf::status::Status;
use tfd::tf::wire::{Wire, WireError};

use super::{HASH, PATIENCE, VERSION, public_key, wait_until};

/// A client that speaks the bare wire.
pub struct Client {
    pub wire: Wire,
}

/// A connection from an address of this machine.
pub fn connect_from(from: &str, address: SocketAddr) -> TcpStream {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("socket");
    let from: SocketAddr = format!("{from}:0").parse().expect("address");
    bind(&socket, &from).expect("bind");
    rustix::net::connect(&socket, &address).expect("connect");
    socket.into()
}

impl Client {
    /// Connects and passes version, key and hash.
    pub fn connect(address: SocketAddr) -> Client {
        let pem = public_key().public_key_to_pem().expect("pem");
        let key = PublicKey::from_pem(&pem).expect("key");
        let target = patient(Target::new(&address.to_string(), key, HASH));
        let wire = Connection::open(&target).expect("connection").into_wire();
        Client::with_patience(wire)
    }

    /// The same with a session key of the test's choice.
    pub fn connect_with_key(address: SocketAddr, session_key: &[u8]) -> Client {
        let mut client = Client::knock(address);
        assert_eq!(client.ask(VERSION), "OK");
        client.send_key(session_key);
        assert_eq!(client.reply(), "OK");
        client.wire.encipher(session_key);
        assert_eq!(client.ask(HASH), "OK");
        client
    }

    /// Connects and says nothing.
    pub fn knock(address: SocketAddr) -> Client {
        let socket = TcpStream::connect(address).expect("connect");
        Client::with_patience(Wire::new(socket).expect("wire"))
    }

    /// The same from an address of its own.
    pub fn knock_from(from: &str, address: SocketAddr) -> Client {
        let socket = connect_from(from, address);
        Client::with_patience(Wire::new(socket).expect("wire"))
    }

    /// Passes the doors, unless the connection is refused.
    pub fn try_in(mut self) -> Option<Client> {
        let mut body = Vec::new();
        let mut ask = |wire: &mut Wire, message: &[u8]| {
            wire.write_message(message)
                .and_then(|()| wire.read_message(&mut body))
                .ok()
        };
        ask(&mut self.wire, VERSION.as_bytes())?;
        ask(&mut self.wire, &Client::key_block(&[1; 16]))?;
        self.wire.encipher(&[1; 16]);
        ask(&mut self.wire, HASH.as_bytes())?;
        Some(self)
    }

    /// Sends these bytes and any others behind them, one at a time, until the
    /// connection is closed.
    #[track_caller]
    pub fn trickle(&self, begin: &[u8]) {
        let mut bytes = begin.iter().chain(std::iter::repeat(&b'x'));
        wait_until("the connection is closed", || {
            std::thread::sleep(Duration::from_millis(100));
            self.wire
                .socket()
                .write_all(&[*bytes.next().expect("endless")])
                .is_err()
        });
    }

    pub fn with_patience(wire: Wire) -> Client {
        wire.socket()
            .set_read_timeout(Some(PATIENCE))
            .expect("timeout");
        wire.socket()
            .set_write_timeout(Some(PATIENCE))
            .expect("timeout");
        Client { wire }
    }

    /// A session key in an RSA block.
    pub fn key_block(session_key: &[u8]) -> Vec<u8> {
        let mut block = vec![0; 256];
        public_key()
            .public_encrypt(session_key, &mut block, Padding::PKCS1_OAEP)
            .expect("encrypt");
        block
    }

    /// Sends a session key in an RSA block.
    pub fn send_key(&mut self, session_key: &[u8]) {
        self.send(Client::key_block(session_key));
    }

    pub fn send(&mut self, message: impl AsRef<[u8]>) {
        self.wire.write_message(message.as_ref()).expect("send");
    }

    pub fn receive(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        self.wire.read_message(&mut body).expect("receive");
        body
    }

    pub fn reply(&mut self) -> String {
        String::from_utf8_lossy(&self.receive()).into_owned()
    }

    pub fn ask(&mut self, message: impl AsRef<[u8]>) -> String {
        self.send(message);
        self.reply()
    }

    /// Sends a request and expects a status code, or 0 for a plain `OK`.
    #[track_caller]
    pub fn expect(&mut self, request: impl AsRef<[u8]>, code: u32) {
        let request = request.as_ref();
        let reply = self.ask(request);
        assert_eq!(reply, reply_for(code), "{}", request.escape_ascii());
    }

    /// Asserts that a login is refused with a reason that begins so.
    #[track_caller]
    pub fn expect_reason(&mut self, request: impl AsRef<[u8]>, reason: &str) {
        let reply = self.ask(request.as_ref());
        let begin = format!("{} Reason: {reason}", reply_for(37));
        assert!(reply.starts_with(&begin), "{reply}");
    }

    /// Runs a table of requests and the codes of their replies, 0 for `OK`.
    #[track_caller]
    pub fn expect_all(&mut self, table: &[(&str, u32)]) {
        for (request, code) in table {
            self.expect(request, *code);
        }
    }

    /// Asserts that the server closes the connection without another word.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        let mut body = Vec::new();
        let end = self.wire.read_message(&mut body);
        assert!(
            matches!(end, Err(WireError::Closed | WireError::Cut)),
            "{end:?} with {}",
            body.escape_ascii()
        );
    }

    /// Asserts that the session still answers.
    #[track_caller]
    pub fn expect_alive(&mut self) {
        assert_eq!(self.ask("ECHO still here"), "still here");
    }

    /// The body of `PUT`, `GET`, `PUTCAN` or `GETCAN`.
    pub fn hp(word: &str, path: &str, numbers: &[i64]) -> Vec<u8> {
        let mut body = format!("{word} {path} ").into_bytes();
        for number in numbers {
            body.extend_from_slice(&number.to_be_bytes());
        }
        body
    }

    /// Sends such a request and returns the agreed buffer.
    #[track_caller]
    pub fn hp_open(&mut self, word: &str, path: &str, numbers: &[i64]) -> i64 {
        self.send(Client::hp(word, path, numbers));
        let reply = self.receive();
        let agreed = reply.strip_prefix(b"OK ").and_then(|n| n.try_into().ok());
        match agreed {
            Some(bytes) => i64::from_be_bytes(bytes),
            None => panic!("{word} {path}: {}", reply.escape_ascii()),
        }
    }

    /// A raw frame with an 8-byte header.
    pub fn send_frame(&mut self, payload: &[u8]) {
        let mut bytes = (payload.len() as i64).to_be_bytes().to_vec();
        bytes.extend_from_slice(payload);
        self.wire
            .write_units(&mut bytes, &[8, payload.len()])
            .expect("send frame");
    }

    /// The 8-byte header and, where it is a length, the payload behind it.
    pub fn receive_frame(&mut self) -> (i64, Vec<u8>) {
        let header = self.wire.read_i64().expect("frame header");
        let mut payload = vec![0; usize::try_from(header).unwrap_or(0)];
        self.wire.read_raw(&mut payload).expect("frame payload");
        (header, payload)
    }

    /// A whole file by SNDFILE.
    #[track_caller]
    pub fn send_file(&mut self, path: &str, overwrite: bool, content: &[u8]) {
        assert_eq!(
            self.ask(format!("SNDFILE {} {path}", u8::from(overwrite))),
            "CONT"
        );
        for chunk in content.chunks(100_000) {
            assert_eq!(self.ask([b"CONT ", chunk].concat()), "CONT");
        }
        assert_eq!(self.ask("OK"), "OK");
    }

    /// The stream of RCVFILE, LS and LSR after its request was sent.
    pub fn receive_stream(&mut self) -> Result<Vec<u8>, String> {
        let mut content = Vec::new();
        loop {
            let message = self.receive();
            match message.strip_prefix(b"CONT ") {
                Some(part) => content.extend_from_slice(part),
                None if message == b"OK" => return Ok(content),
                None => return Err(String::from_utf8_lossy(&message).into_owned()),
            }
            self.send("CONT");
        }
    }

    /// The lines of LS or LSR, sorted.
    #[track_caller]
    pub fn list(&mut self, request: &str) -> Vec<String> {
        self.send(request);
        let content = self
            .receive_stream()
            .unwrap_or_else(|e| panic!("{request}: {e}"));
        let text = String::from_utf8_lossy(&content).into_owned();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

/// The same way to a server, whose gate may take as long as anything.
pub fn patient(mut target: Target) -> Target {
    target.timeout = PATIENCE;
    target
}

/// The reply with this code; `OK` for 0.
pub fn reply_for(code: u32) -> String {
    match code {
        0 => "OK".to_owned(),
        code => Status::from_code(code)
            .expect("a code of the protocol")
            .to_string(),
    }
}
