//! A keeper that the tests make: one file a file, in a directory.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sha::sha256;
use openssl::sign::Signer;
use openssl::ssl::{AlpnError, SslAcceptor, SslMethod, SslStream, SslVersion, select_next_proto};
use openssl::x509::X509;
use tfd::hub::proofs::{SigningKey, Statement};
use tfd::hub::wire::{Introduction, Key, Name, Signature, User, Value};
use tfd::net::tls::certificate::of_ed25519;

use crate::peer::{GIB, Hub, Line, Person, code, hub_name, named};

/// A keeper at a hub.
pub struct Keeper {
    store: Arc<Store>,
    /// Where it listens, after its name.
    pub address: String,
    hub_line: TcpStream,
}

/// What it has, and whom it knows.
struct Store {
    person: Person,
    secret: [u8; 32],
    directory: PathBuf,
    /// The keys of owners that the hub has named.
    owners: Mutex<BTreeMap<String, Key>>,
    /// What each file is.
    kinds: Mutex<BTreeMap<String, String>>,
    sockets: Mutex<Vec<TcpStream>>,
    gone: AtomicBool,
    /// It has not what it signs for.
    lies: AtomicBool,
    /// How often it has been asked for a file, or for a part of one.
    asked: AtomicUsize,
}

impl Keeper {
    /// One of this name, whose files are in a directory.
    pub fn join(hub: &Hub, name: &str, directory: &Path) -> Keeper {
        fs::create_dir_all(directory).expect("directory");
        let mut person = Person::new(name);
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).expect("random");
        person.holder = SigningKey::new(&secret).expect("key");
        drop(hub.owner(&person));
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let port = listener.local_addr().expect("address").port();
        let mut line = Line::new(hub);
        assert_eq!(code(&line.log_in(&person, "keeper", &person.login)), 302);
        assert_eq!(code(&line.send_holder_key(&person)), 209);
        let shared = line.done(&format!("SHA {} port={port}", 10 * GIB));
        assert_eq!(code(&shared), 208, "{shared}");
        let store = Arc::new(Store {
            person,
            secret,
            directory: directory.to_owned(),
            owners: Mutex::default(),
            kinds: Mutex::default(),
            sockets: Mutex::default(),
            gone: AtomicBool::new(false),
            lies: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
        });
        let hub_line = line.stream.get_ref().try_clone().expect("socket");
        let obeying = Arc::clone(&store);
        std::thread::spawn(move || obeying.obey(line));
        let listening = Arc::clone(&store);
        std::thread::spawn(move || listening.listen(&listener));
        Keeper {
            store,
            address: format!("{name}@127.0.0.1:{port}"),
            hub_line,
        }
    }

    /// All files that it has.
    pub fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.store.directory).expect("directory");
        let mut files: Vec<_> = entries.map(|it| it.expect("entry").path()).collect();
        files.sort();
        files
    }

    /// Lets it lose what it takes from now on.
    pub fn lie(&self) {
        self.store.lies.store(true, Ordering::Relaxed);
    }

    /// How often it has been asked for a file, or for a part of one.
    pub fn asked(&self) -> usize {
        self.store.asked.load(Ordering::Relaxed)
    }

    /// Ends it, and its lines.
    pub fn die(&self) {
        self.store.gone.store(true, Ordering::Relaxed);
        for socket in self.store.sockets.lock().expect("sockets").drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
        let _ = self.hub_line.shutdown(Shutdown::Both);
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.die();
    }
}

impl Store {
    fn place(&self, name: &str) -> PathBuf {
        assert!(name.len() == 64 && name.bytes().all(|c| c.is_ascii_hexdigit()));
        self.directory.join(name)
    }

    fn has(&self, name: &str) -> bool {
        self.place(name).exists()
    }

    /// Does what the hub asks.
    fn obey(&self, mut line: Line) {
        while let Some(text) = line.line() {
            let words: Vec<&str> = text.split(' ').collect();
            if !text.contains(" id=") {
                continue;
            }
            let id = named(&text, "id");
            let reply = match words[0] {
                "RCV" => {
                    self.know(&words);
                    match self.has(named(&text, "name")) {
                        true => "212 Transfer completed",
                        false => "211 OK to send file",
                    }
                }
                "LET" => {
                    self.know(&words);
                    let is_named = text.contains(" name=");
                    match is_named && !self.has(named(&text, "name")) {
                        true => "505 Requested file does not exist",
                        false => "211 OK to send file",
                    }
                }
                "REM" => match fs::remove_file(self.place(words[2])) {
                    Ok(()) => "203 File is deleted",
                    Err(_) => "505 Requested file does not exist",
                },
                _ => "500 Command not understood",
            };
            line.send(&format!("{reply} ; id={id}"));
        }
    }

    fn know(&self, words: &[&str]) {
        let key = Key::read(words[3]).expect("key");
        let mut owners = self.owners.lock().expect("owners");
        owners.insert(words[2].to_owned(), key);
    }

    fn listen(self: &Arc<Self>, listener: &TcpListener) {
        let (certificate, _) = of_ed25519("keeper", &self.secret).expect("certificate");
        let key = PKey::private_key_from_raw_bytes(&self.secret, openssl::pkey::Id::ED25519);
        let mut builder =
            SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).expect("TLS");
        builder.set_private_key(&key.expect("key")).expect("key");
        let certificate = X509::from_pem(&certificate).expect("certificate");
        builder.set_certificate(&certificate).expect("certificate");
        let tls13 = Some(SslVersion::TLS1_3);
        builder.set_max_proto_version(tls13).expect("TLS 1.3");
        builder.set_min_proto_version(tls13).expect("TLS 1.3");
        builder.set_alpn_select_callback(|_, offered| {
            select_next_proto(b"\x0atfd-peer/1", offered).ok_or(AlpnError::ALERT_FATAL)
        });
        let acceptor = builder.build();
        for socket in listener.incoming() {
            let socket = socket.expect("accept");
            if self.gone.load(Ordering::Relaxed) {
                return;
            }
            socket.set_nodelay(true).expect("at once");
            let clone = socket.try_clone().expect("socket");
            self.sockets.lock().expect("sockets").push(clone);
            let (store, acceptor) = (Arc::clone(self), acceptor.clone());
            std::thread::spawn(move || {
                if let Ok(stream) = acceptor.accept(socket) {
                    let peer = Peer {
                        stream,
                        ahead: Vec::new(),
                        next: 1,
                    };
                    let _ = store.serve(peer);
                }
            });
        }
    }

    /// Serves an owner; `None` at the end of its line.
    fn serve(&self, mut peer: Peer) -> Option<()> {
        let owner = self.meet(&mut peer)?;
        loop {
            let text = peer.line()?;
            let words: Vec<&str> = text.split(' ').collect();
            let id = named(&text, "id").to_owned();
            let size: usize = words[2].parse().unwrap_or(0);
            match words[0] {
                "FIL" => {
                    let kind = named(&text, "kind").to_owned();
                    let mut kinds = self.kinds.lock().expect("kinds");
                    kinds.insert(words[1].to_owned(), kind);
                    drop(kinds);
                    peer.send(&format!("211 OK to send file ; id={id} from=0"))?;
                    let bytes = peer.bytes(size)?;
                    let name = Name::read(words[1]).expect("name");
                    assert_eq!(sha256(&bytes), name.0, "bytes of another file");
                    let part = self.place(words[1]).with_extension("part");
                    fs::write(&part, &bytes).expect("write");
                    fs::rename(&part, self.place(words[1])).expect("rename");
                    let receipt = Statement::Receipt {
                        hub: &hub_name(),
                        holder: &self.person.user(),
                        owner: &owner,
                        name,
                        size: size as u64,
                    };
                    let receipt = receipt.sign(&self.person.holder).expect("receipt").text();
                    peer.send(&format!("205 File received ; id={id} receipt={receipt}"))?;
                }
                "GET" => self.give(&mut peer, &text, &id)?,
                "REQ" => {
                    let mut bytes = fs::read(self.place(words[1])).expect("file");
                    if self.lies.load(Ordering::Relaxed) {
                        bytes.pop();
                    }
                    let sum = full_checksum(words[2], &bytes);
                    peer.send(&format!("CRC {sum} id={id}"))?;
                }
                "ERR" => self.list(&mut peer, &id)?,
                other => panic!("{other}"),
            }
        }
    }

    fn give(&self, peer: &mut Peer, text: &str, id: &str) -> Option<()> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let name = text.split(' ').nth(1).expect("name");
        let Ok(bytes) = fs::read(self.place(name)) else {
            return peer.send(&format!("505 Requested file does not exist ; id={id}"));
        };
        let (from, len) = match text.contains(" off=") {
            true => {
                let number = |it| named(text, it).parse::<usize>().expect("number");
                (number("off"), number("len"))
            }
            false => (0, bytes.len()),
        };
        let own = peer.next;
        peer.next += 1;
        peer.send(&format!("FIL {name} {len} for={id} id={own}"))?;
        assert_eq!(code(&peer.line()?), 211);
        peer.stream.write_all(&bytes[from..from + len]).ok()?;
        assert_eq!(code(&peer.line()?), 205);
        Some(())
    }

    fn list(&self, peer: &mut Peer, id: &str) -> Option<()> {
        let kinds = self.kinds.lock().expect("kinds").clone();
        let there: Vec<_> = kinds.iter().filter(|(name, _)| self.has(name)).collect();
        let number = there.len();
        peer.send(&format!(
            "207 One or more index files exists ; id={id} number={number}"
        ))?;
        for (left, (name, kind)) in (1..=number).rev().zip(there) {
            let size = fs::metadata(self.place(name)).expect("file").len();
            peer.send(&format!(
                "IDX {left} {name} size={size} kind={kind} id={id}"
            ))?;
        }
        Some(())
    }

    /// The introductions; who is there.
    fn meet(&self, peer: &mut Peer) -> Option<User> {
        let text = peer.line()?;
        let words: Vec<&str> = text.split(' ').collect();
        assert_eq!(words[0], "DS1");
        let first = Introduction::read(words[1]).expect("plaintext");
        let signature = Signature::read(words[2]).expect("signature");
        let key = *self
            .owners
            .lock()
            .expect("owners")
            .get(first.from.as_str())?;
        assert!(Statement::Peer(&first).is_signed(&key, &signature));
        let mut exporter = [0; 32];
        let label = "EXPORTER-tfd-hub-v1";
        let ssl = peer.stream.ssl();
        let exported = ssl.export_keying_material(&mut exporter, label, None);
        exported.expect("exporter");
        assert_eq!(first.exporter.0, exporter);
        let id = named(&text, "id");
        peer.send(&format!("204 Verification of Client1 succeeded ; id={id}"))?;
        let fields: Vec<&str> = words[1].split(',').collect();
        let second = [
            &[fields[0], "ds2", fields[2], fields[4], fields[3]],
            &fields[5..],
        ]
        .concat()
        .join(",");
        let read = Introduction::read(&second).expect("plaintext");
        let signature = Statement::Peer(&read).sign(&self.person.holder);
        let signature = signature.expect("signature").text();
        peer.send(&format!("DS2 {second} {signature} id=1"))?;
        peer.next = 2;
        assert_eq!(code(&peer.line()?), 213);
        Some(first.from)
    }
}

/// The answer to `REQ` with a full key.
fn full_checksum(key: &str, bytes: &[u8]) -> String {
    let digits = key.strip_prefix("f:").expect("a full key");
    let key = Name::read(digits).expect("32 bytes").0;
    let key = PKey::hmac(&key).expect("key");
    let mut signer = Signer::new(MessageDigest::sha256(), &key).expect("HMAC");
    let mut sum = [0; 32];
    signer.update(bytes).expect("HMAC");
    signer.sign(&mut sum).expect("HMAC");
    Name(sum).text()
}

/// A line of an owner.
struct Peer {
    stream: SslStream<TcpStream>,
    ahead: Vec<u8>,
    next: u32,
}

impl Peer {
    fn send(&mut self, line: &str) -> Option<()> {
        self.stream.write_all(format!("{line}\r\n").as_bytes()).ok()
    }

    fn fill(&mut self) -> Option<()> {
        let mut piece = [0; 16384];
        match self.stream.read(&mut piece) {
            Ok(len @ 1..) => {
                self.ahead.extend_from_slice(&piece[..len]);
                Some(())
            }
            _ => None,
        }
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.ahead.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.ahead.drain(..end + 2).collect();
                return Some(String::from_utf8(line[..end].to_vec()).expect("text"));
            }
            self.fill()?;
        }
    }

    fn bytes(&mut self, len: usize) -> Option<Vec<u8>> {
        while self.ahead.len() < len {
            self.fill()?;
        }
        Some(self.ahead.drain(..len).collect())
    }
}
