//! A server that does what a test tells it, step by step.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::ops::Range;
use std::thread::JoinHandle;
use std::time::Duration;

use openssl::bn::BigNum;
use openssl::pkey::Private;
use openssl::rsa::{Padding, Rsa};
use tfd::bbftp::stream::partition;
use tfd::bbftp::wire::{
    Code, Control, Greeting, Login, OldTransfer, Transfer, Versions, decode_ports, encode_ports,
};
use tfd::client::bbftp::Target;
use tfd::net::Link;

pub const LIMIT: Duration = Duration::from_secs(60);

pub const USER: &[u8] = b"ann";
pub const PASSWORD: &[u8] = b"pass";

pub const ACK: [u8; 8] = [0, 0, 0, 4, 0, 0, 0, 0];

/// The server's side of a control connection.
pub struct Peer {
    pub control: Control,
}

/// A server for one connection, and what a client needs for it.
pub fn serve(script: impl FnOnce(&mut Peer) + Send + 'static) -> (Target, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let port = listener.local_addr().expect("address").port();
    let server = std::thread::spawn(move || {
        let (socket, _) = listener.accept().expect("accept");
        script(&mut Peer::on(socket));
    });
    let mut target = Target::new("127.0.0.1", port);
    target.login = Some((USER.to_vec(), PASSWORD.to_vec().into()));
    target.limits.receive = LIMIT;
    target.limits.data = LIMIT;
    target.limits.ack = LIMIT;
    (target, server)
}

/// One that lets the client in and has agreed on a version.
pub fn serve_version(
    version: u32,
    text: &'static str,
    script: impl FnOnce(&mut Peer) + Send + 'static,
) -> (Target, JoinHandle<()>) {
    let (mut target, server) = serve(move |peer| {
        peer.let_in(text);
        if version > 1 {
            peer.agree(1, version);
        }
        script(peer);
    });
    if version == 1 {
        target.versions = 1..=1;
    }
    (target, server)
}

impl Peer {
    pub fn on(socket: TcpStream) -> Peer {
        socket.set_read_timeout(Some(LIMIT)).expect("limit");
        Peer {
            control: Control::new(Link::new(socket).expect("link")),
        }
    }

    pub fn say(&mut self, code: Code, payload: &[u8]) {
        self.control.send(code, payload).expect("send");
    }

    /// The next message.
    pub fn hear(&mut self) -> (u32, Vec<u8>) {
        let header = self.control.read_header().expect("header");
        let announces_only = [Code::TransStartV3, Code::TransSimulV3];
        let has_none = announces_only
            .iter()
            .any(|code| code.number() == header.code);
        let payload = match has_none {
            true => vec![],
            false => self
                .control
                .read_payload(&header, 1 << 20)
                .expect("payload"),
        };
        (header.code, payload)
    }

    /// The payload of the next message, which is this one.
    #[track_caller]
    pub fn expect(&mut self, code: Code) -> Vec<u8> {
        let (number, payload) = self.hear();
        assert_eq!(Code::try_from(number), Ok(code));
        payload
    }

    /// Whether the client has gone.
    pub fn is_left(&mut self) -> bool {
        self.control.read_header().is_err()
    }

    pub fn greet(&mut self, bits: u32, exponent: u32) -> Rsa<Private> {
        let exponent = BigNum::from_u32(exponent).expect("number");
        let key = Rsa::generate_with_e(bits, &exponent).expect("key");
        let greeting = Greeting {
            modulus: key.n().to_vec(),
            exponent: key.e().to_vec(),
        };
        self.say(Code::Crypt, &greeting.encode());
        key
    }

    pub fn read_login(&mut self, key: &Rsa<Private>) {
        let login = self.expect(Code::Log);
        let Ok(Login::Encrypted { user, password }) = Login::decode(&login) else {
            panic!("no encrypted login");
        };
        for (block, clear) in [(user, USER), (password, PASSWORD)] {
            let mut out = vec![0; 128];
            let len = key.private_decrypt(&block, &mut out, Padding::PKCS1_OAEP);
            assert_eq!(&out[..len.expect("decrypted")], clear);
        }
    }

    pub fn let_in(&mut self, text: &str) {
        let key = self.greet(1024, 65537);
        self.read_login(&key);
        self.say(Code::Ok, text.as_bytes());
    }

    pub fn agree(&mut self, min: u32, max: u32) -> u32 {
        self.expect(Code::Prot);
        self.say(Code::ProtAns, &Versions { min, max }.encode());
        let chosen = self.expect(Code::ProtAns);
        u32::from_be_bytes(chosen.try_into().expect("a version"))
    }

    /// Reads the request of a transfer of versions 2 and 3: how, and the file.
    pub fn request(&mut self, code: Code) -> (Transfer, Vec<u8>) {
        let transfer = self.expect(code);
        let transfer = Transfer::decode(&transfer).expect("transfer");
        (transfer, self.expect(Code::FileName))
    }

    pub fn old_request(&mut self, code: Code) -> OldTransfer {
        let payload = self.expect(code);
        OldTransfer::decode(&payload).expect("transfer")
    }

    /// Agrees to a transfer of version 3: where it listens.
    pub fn consent(&mut self, transfer: &Transfer) -> Vec<TcpListener> {
        let listen = |_| TcpListener::bind("127.0.0.1:0").expect("listen");
        let listeners: Vec<_> = (0..transfer.streams).map(listen).collect();
        let port = |l: &TcpListener| l.local_addr().expect("address").port();
        let ports: Vec<u16> = listeners.iter().map(port).collect();
        let payload = [&transfer.encode()[..], &encode_ports(&ports)].concat();
        self.control
            .send_announcing(Code::TransOkV3, 48, &payload)
            .expect("send");
        listeners
    }

    /// The data connections of version 3, all there before the client starts.
    pub fn accept(&mut self, listeners: &[TcpListener]) -> Vec<TcpStream> {
        let accept = |l: &TcpListener| l.accept().expect("accept").0;
        let streams = listeners.iter().map(accept).collect();
        self.expect(Code::TransStartV3);
        streams
    }

    /// The data connections of version 2.
    pub fn consent_and_connect(&mut self, transfer: &Transfer) -> Vec<TcpStream> {
        self.say(Code::TransOkV2, &transfer.encode());
        let ports = self.expect(Code::TransStartV2);
        connect(&decode_ports(&ports).expect("ports"))
    }

    /// The data connections of versions 2 and 3.
    pub fn streams(&mut self, version: u32, transfer: &Transfer) -> Vec<TcpStream> {
        if version == 2 {
            return self.consent_and_connect(transfer);
        }
        let listeners = self.consent(transfer);
        self.accept(&listeners)
    }
}

pub fn connect(ports: &[u16]) -> Vec<TcpStream> {
    let connect = |port: &u16| {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).expect("connect");
        socket.set_read_timeout(Some(LIMIT)).expect("limit");
        socket
    };
    ports.iter().map(connect).collect()
}

/// Which bytes go over which stream.
pub fn ranges(size: usize, streams: usize) -> Vec<Range<usize>> {
    let range = |r: Range<u64>| r.start as usize..r.end as usize;
    partition(0..size as u64, streams)
        .into_iter()
        .map(range)
        .collect()
}

/// Receives a file, all streams at once, and acknowledges it.
pub fn receive(streams: Vec<TcpStream>, size: usize) -> Vec<u8> {
    let ranges = ranges(size, streams.len());
    let threads: Vec<_> = streams
        .into_iter()
        .zip(ranges)
        .map(|(mut stream, range)| {
            std::thread::spawn(move || {
                let mut part = vec![0; range.len()];
                stream.read_exact(&mut part).expect("read");
                stream.write_all(&ACK).expect("write");
                part
            })
        })
        .collect();
    let parts = threads
        .into_iter()
        .map(|thread| thread.join().expect("thread"));
    parts.collect::<Vec<_>>().concat()
}

/// Sends a file, all streams at once, and waits for the acknowledgements.
pub fn send(streams: Vec<TcpStream>, content: &[u8]) {
    let threads: Vec<_> = ranges(content.len(), streams.len())
        .into_iter()
        .zip(streams)
        .map(|(range, mut stream)| {
            let part = content[range].to_vec();
            std::thread::spawn(move || {
                stream.write_all(&part).expect("write");
                let mut ack = [0; 8];
                stream.read_exact(&mut ack).expect("ack");
                assert_eq!(ack, ACK);
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("thread");
    }
}
