//! A client of `tfd-vault/1`, and the server it speaks to.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use openssl::ssl::{SslConnector, SslMethod, SslStream, SslVerifyMode, SslVersion};
use tfd::ipc::codec::Decode;
use tfd::vault::own::frame::framed;
use tfd::vault::own::message::*;

use crate::common::{PATIENCE, Server, Setup, is_root, write_certificate};
use crate::peer::Vault;

/// A server of the own dialect alone, whose vault has these lines more; `None` without
/// root.
pub fn server(lines: &str) -> Option<Vault> {
    server_with("", "", lines)
}

/// The same with further lines of `[server]`, and a users file.
pub fn server_with(server: &str, users: &str, lines: &str) -> Option<Vault> {
    let place = std::env::temp_dir();
    server_at(&place, server, users, lines)
}

/// The same whose vault is somewhere beneath this directory.
pub fn server_at(place: &Path, server: &str, users: &str, lines: &str) -> Option<Vault> {
    if !is_root() {
        println!("left out: a vault needs root");
        return None;
    }
    let above = tempfile::tempdir_in(place).expect("directory");
    write_certificate(above.path(), None);
    let (here, data) = (above.path().display(), above.path().join("vault"));
    let registration = if lines.contains("registration") {
        ""
    } else {
        "registration = \"open\"\n"
    };
    let new_device = if lines.contains("new_device") {
        ""
    } else {
        "new_device = \"allow\"\n"
    };
    let running = Server::with(Setup {
        server: format!(
            "control = \"control\"\ntls_certificate = \"{here}/tls.pem\"\n\
             tls_key = \"{here}/tls-key.pem\"\n{server}"
        ),
        tf: format!(
            "listen = []\n[vault]\ntls_listen = [\"127.0.0.1:0\"]\ndata = \"{}\"\n\
             user = \"games\"\n{registration}{new_device}{lines}\n",
            data.display()
        ),
        users: users.to_owned(),
        ..Setup::default()
    });
    Some(Vault::of(running, above))
}

/// An account, with one of its devices.
#[derive(Clone)]
pub struct Account {
    pub user: String,
    pub auth: [u8; 32],
    pub recovery: [u8; 32],
    pub device: Device,
}

/// Bytes that nobody has used before.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("random");
    bytes
}

pub fn device(name: &str) -> Device {
    Device {
        id: random(),
        token: random::<32>().into(),
        name: name.to_owned(),
    }
}

impl Account {
    pub fn new(user: &str) -> Account {
        Account {
            user: user.to_owned(),
            auth: random(),
            recovery: random(),
            device: device("first"),
        }
    }

    /// The same account on another device.
    pub fn on_another(&self) -> Account {
        Account {
            device: device("another"),
            ..self.clone()
        }
    }

    pub fn register(&self) -> Register {
        Register {
            kdf: Kdf::usual([7; 32]),
            auth: self.auth.into(),
            recovery: self.recovery.into(),
            wrapped: Sealed(b"wrapped".to_vec()),
            mail: None,
            device: self.device.clone(),
            code: None,
        }
    }

    pub fn log_in(&self) -> LogIn {
        LogIn {
            proof: Proof::Password(self.auth.into()),
            device: self.device.clone(),
            code: None,
        }
    }
}

pub fn refused(why: Refusal) -> Reply {
    Reply::Refused { why }
}

pub fn code_wanted(kind: CodeFor) -> Reply {
    Reply::CodeWanted {
        kind,
        is_mailed: false,
    }
}

/// The name of the dialect, as TLS has it.
pub const ALPN: &[u8] = b"\x0btfd-vault/1";

/// A connection.
pub struct Client {
    stream: SslStream<TcpStream>,
    /// What came unasked.
    pub news: VecDeque<Reply>,
}

impl Client {
    /// One that has shaken hands; `None` if the server has not.
    pub fn with_alpn(server: &Server, alpn: &[u8]) -> Option<Client> {
        let socket = TcpStream::connect(server.tls_address()).expect("connect");
        Client::over(socket, alpn)
    }

    /// The same over a connection that is there.
    pub fn over(socket: TcpStream, alpn: &[u8]) -> Option<Client> {
        let mut builder = SslConnector::builder(SslMethod::tls()).expect("TLS");
        builder.set_verify(SslVerifyMode::NONE);
        builder
            .set_min_proto_version(Some(SslVersion::TLS1_3))
            .expect("TLS 1.3");
        if !alpn.is_empty() {
            builder.set_alpn_protos(alpn).expect("names");
        }
        socket.set_read_timeout(Some(PATIENCE)).expect("limit");
        socket.set_nodelay(true).expect("at once");
        let stream = builder.build().connect("127.0.0.1", socket).ok()?;
        let news = VecDeque::new();
        Some(Client { stream, news })
    }

    pub fn new(server: &Server) -> Client {
        Client::with_alpn(server, ALPN).expect("handshake")
    }

    /// One that has said hello.
    pub fn hello(server: &Server, user: &str) -> Client {
        let mut client = Client::new(server);
        let params = client.ask(&Request::Hello {
            version: VERSION,
            user: user.to_owned(),
        });
        assert!(matches!(params, Reply::Params(_)), "{params:?}");
        client
    }

    /// One that has made this account.
    #[track_caller]
    pub fn registered(server: &Server, account: &Account) -> Client {
        let mut client = Client::hello(server, &account.user);
        client.welcome(&Request::Register(account.register()));
        client
    }

    /// One that has logged in.
    #[track_caller]
    pub fn logged_in(server: &Server, account: &Account) -> Client {
        let mut client = Client::hello(server, &account.user);
        client.welcome(&Request::LogIn(account.log_in()));
        client
    }

    /// Asks to be let in, and is.
    #[track_caller]
    pub fn welcome(&mut self, request: &Request) -> Welcome {
        match self.ask(request) {
            Reply::Welcome(welcome) => welcome,
            other => panic!("{other:?}"),
        }
    }

    pub fn send(&mut self, request: &Request) {
        self.send_bytes(&framed(request));
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("write");
    }

    /// The next message; `None` at the end of the connection.
    pub fn receive(&mut self) -> Option<Reply> {
        let mut header = [0; 4];
        if !self.fill(&mut header) {
            return None;
        }
        let mut message = vec![0; u32::from_be_bytes(header) as usize];
        assert!(self.fill(&mut message), "cut");
        Some(Reply::from_bytes(&message).expect("a message"))
    }

    fn fill(&mut self, mut to: &mut [u8]) -> bool {
        while !to.is_empty() {
            match self.stream.read(to) {
                Ok(0) => return false,
                Ok(n) => to = &mut to[n..],
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return false,
                Err(e) => panic!("{e}"),
            }
        }
        true
    }

    /// The answer to a request; news is kept.
    #[track_caller]
    pub fn ask(&mut self, request: &Request) -> Reply {
        self.send(request);
        self.answer()
    }

    #[track_caller]
    pub fn answer(&mut self) -> Reply {
        loop {
            match self.receive().expect("an answer") {
                news @ (Reply::Changed { .. } | Reply::Over { .. }) => self.news.push_back(news),
                answer => return answer,
            }
        }
    }

    /// The next thing that comes unasked.
    pub fn news(&mut self) -> Option<Reply> {
        self.news.pop_front().or_else(|| self.receive())
    }

    #[track_caller]
    pub fn push(&mut self, id: Id, base: u64, content: Option<&[u8]>) -> Pushed {
        let sealed = content.map(|content| Sealed(content.to_vec()));
        let changes = vec![Change { id, base, sealed }];
        match self.ask(&Request::Push { changes }) {
            Reply::Pushed { mut results } => results.remove(0),
            other => panic!("{other:?}"),
        }
    }

    /// Pushes what is stored; its revision.
    #[track_caller]
    pub fn store(&mut self, id: Id, base: u64, content: Option<&[u8]>) -> u64 {
        match self.push(id, base, content) {
            Pushed::Stored { revision } => revision,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub fn pull(&mut self, since: u64, whole: bool) -> Changes {
        match self.ask(&Request::Pull { since, whole }) {
            Reply::Changes(changes) => changes,
            other => panic!("{other:?}"),
        }
    }

    /// All entries, in as many answers as they need.
    #[track_caller]
    pub fn pull_all(&mut self) -> Vec<Item> {
        let (mut items, mut since) = (Vec::new(), 0);
        loop {
            let changes = self.pull(since, true);
            assert!(changes.whole);
            items.extend(changes.items);
            since = changes.upto;
            if !changes.more {
                return items;
            }
        }
    }

    /// Whether the connection is over, with nothing said.
    pub fn is_over(&mut self) -> bool {
        self.news.is_empty() && self.receive().is_none()
    }
}
