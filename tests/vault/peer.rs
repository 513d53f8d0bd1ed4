//! A client of the vault, and the server it speaks to.

use std::collections::VecDeque;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use openssl::asn1::Asn1Time;
use openssl::base64::{decode_block, encode_block};
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::{Padding, Rsa};
use openssl::sha::sha256;
use openssl::symm::{Cipher, Crypter, Mode};
use openssl::x509::X509;
use tempfile::TempDir;

use crate::common::{PATIENCE, Server, Setup, is_root, key};

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first generation: no MAC, blocks of 32 bytes.
    G1,
    /// The client for Linux: a MAC, no format.
    G2,
    /// The client for Android: a format and PEM.
    G3,
    /// The one for Windows, with a key in XML, a nonce in UTF-16, and no format.
    Xml,
    /// The same, with a certificate and a format.
    Certificate,
}

impl Kind {
    pub fn is_last(self) -> bool {
        !matches!(self, Kind::G1 | Kind::G2)
    }
}

/// The key of all clients.
pub fn client_key() -> &'static Rsa<Private> {
    static KEY: OnceLock<Rsa<Private>> = OnceLock::new();
    KEY.get_or_init(|| Rsa::generate(2048).expect("key"))
}

/// A server, and the directory of its vault, which ends after it.
pub struct Vault {
    server: Server,
    above: TempDir,
}

impl Deref for Vault {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for Vault {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

impl Vault {
    /// One whose vault is in this directory.
    pub fn of(server: Server, above: TempDir) -> Vault {
        Vault { server, above }
    }

    /// The directory of its vault.
    pub fn data(&self) -> PathBuf {
        self.above.path().join("vault")
    }
}

/// A server whose vault has these lines more; `None` without root.
pub fn server(lines: &str) -> Option<Vault> {
    server_with("control = \"control\"", lines, true)
}

/// The same with other lines of `[server]`, and perhaps with a key made before.
pub fn server_with(server: &str, lines: &str, has_key: bool) -> Option<Vault> {
    let registration = if lines.contains("registration") {
        ""
    } else {
        "registration = \"open\"\n"
    };
    server_made(&std::env::temp_dir(), has_key, |data| Setup {
        server: server.to_owned(),
        tf: format!(
            "listen = []\n[vault]\nlisten = [\"127.0.0.1:0\"]\ndata = \"{}\"\nuser = \"games\"\n\
             {registration}{lines}\n",
            data.display()
        ),
        ..Setup::default()
    })
}

/// One that is set up so, with its vault beneath this directory.
pub fn server_made(
    beneath: &Path,
    has_key: bool,
    setup: impl FnOnce(&Path) -> Setup,
) -> Option<Vault> {
    if !is_root() {
        println!("left out: a vault needs root");
        return None;
    }
    let above = tempfile::tempdir_in(beneath).expect("directory");
    let data = above.path().join("vault");
    if has_key {
        prepare(&data);
    }
    let server = Server::with(setup(&data));
    Some(Vault { server, above })
}

/// Gives a vault a short key: a long one takes long to make.
pub fn prepare(data: &Path) {
    fs::create_dir(data).expect("data");
    fs::set_permissions(data, fs::Permissions::from_mode(0o700)).expect("mode");
    let own = PKey::from_rsa(key().to_owned()).expect("key");
    let mut builder = X509::builder().expect("certificate");
    builder.set_version(2).expect("version");
    let serial = BigNum::from_u32(7)
        .and_then(|n| n.to_asn1_integer())
        .expect("serial");
    builder.set_serial_number(&serial).expect("serial");
    builder.set_pubkey(&own).expect("key");
    let (from, until) = (Asn1Time::days_from_now(0), Asn1Time::days_from_now(9));
    builder.set_not_before(&from.expect("time")).expect("time");
    builder.set_not_after(&until.expect("time")).expect("time");
    builder
        .sign(&own, MessageDigest::sha256())
        .expect("signature");
    let pem = builder.build().to_pem().expect("PEM");
    fs::write(data.join("certificate.pem"), pem).expect("write");
    let path = data.join("key.pem");
    fs::write(&path, own.private_key_to_pem_pkcs8().expect("PEM")).expect("write");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("mode");
}

/// Where it listens.
pub fn address(server: &Server) -> SocketAddr {
    *server
        .listening("listening address=")
        .last()
        .expect("address")
}

/// Runs `tfd vault`: its output, and whether it went well.
pub fn operate(server: &Server, words: &[&str]) -> (String, bool) {
    let output = Command::new(env!("CARGO_BIN_EXE_tfd"))
        .arg("vault")
        .args(words)
        .arg("--config")
        .arg(server.config_path())
        .output()
        .expect("tfd");
    let text = [output.stdout, output.stderr].concat();
    (
        String::from_utf8(text).expect("text"),
        output.status.success(),
    )
}

/// The code that the operator gives to a user.
#[track_caller]
pub fn code(server: &Server, user: &str) -> String {
    let (text, is_well) = operate(server, &["codes", "--json"]);
    assert!(is_well, "{text}");
    let codes: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let codes = codes.as_array().expect("list");
    let found = codes.iter().find(|code| code["user"] == user);
    found.expect(&text)["code"]
        .as_str()
        .expect("code")
        .to_owned()
}

/// A connection.
pub struct Peer {
    pub socket: TcpStream,
    pub kind: Kind,
    pub cookie: String,
    bytes: VecDeque<u8>,
    aes: String,
    mac: String,
    /// What comes before the next ciphertext.
    count: u64,
    /// The last packet that was sent.
    pub last: Vec<u8>,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The password that clients send.
pub fn online(password: &str) -> String {
    let first = hex(&sha256(password.as_bytes()));
    hex(&sha256(&first.as_bytes()[..32]))
}

impl Peer {
    /// One that has sent nothing.
    pub fn raw(server: &Server, kind: Kind) -> Peer {
        let socket = TcpStream::connect(address(server)).expect("connect");
        socket.set_read_timeout(Some(PATIENCE)).expect("limit");
        socket.set_nodelay(true).expect("at once");
        let mut random = [0; 8];
        getrandom::fill(&mut random).expect("random");
        Peer {
            socket,
            kind,
            cookie: String::new(),
            bytes: VecDeque::new(),
            aes: String::new(),
            mac: String::new(),
            count: u64::from_ne_bytes(random),
            last: Vec::new(),
        }
    }

    /// One that has keys.
    pub fn new(server: &Server, kind: Kind) -> Peer {
        let mut peer = Peer::raw(server, kind);
        let nonce = peer.exchange();
        assert_eq!(nonce.replace('\0', ""), NONCE);
        let test = "KEXACKnonce%eq!d4735e3a265e16ee!;";
        assert_eq!(peer.ask(test), test);
        peer
    }

    /// Exchanges keys; the nonce that came back.
    pub fn exchange(&mut self) -> String {
        let name = match self.kind {
            Kind::Xml => "XML",
            Kind::Certificate => "CRT",
            _ => "PEM",
        };
        self.clear('U', &format!("INI{name}"));
        let (letter, text) = self.packet();
        assert_eq!(letter, 'U');
        let value = text
            .strip_prefix(&format!("KEY{name}key%eq!"))
            .expect(&text);
        let value = value.strip_suffix("!;").expect("end");
        let server_key = match self.kind {
            Kind::Xml => {
                let (_, rest) = value.split_once("<Modulus>").expect("modulus");
                let (modulus, _) = rest.split_once("</Modulus>").expect("modulus");
                let modulus = BigNum::from_slice(&decode_block(modulus).expect("base64"));
                let exponent = BigNum::from_u32(65537).expect("exponent");
                Rsa::from_public_components(modulus.expect("number"), exponent).expect("key")
            }
            Kind::Certificate => {
                let certificate = X509::from_pem(value.as_bytes()).expect("certificate");
                certificate
                    .public_key()
                    .and_then(|key| key.rsa())
                    .expect("key")
            }
            _ => {
                assert!(value.ends_with("-----END PUBLIC KEY-----"), "{value}");
                Rsa::public_key_from_pem(value.as_bytes()).expect("key")
            }
        };
        let own = client_key();
        let (key, format) = match self.kind {
            Kind::Xml | Kind::Certificate => {
                let (n, e) = (
                    encode_block(&own.n().to_vec()),
                    encode_block(&own.e().to_vec()),
                );
                let key = format!(
                    "<?xml version=\"1.0\" encoding=\"utf-16\"?>\r\n<RSAParameters \
                     xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\r\n  \
                     <Exponent>{e}</Exponent>\r\n  <Modulus>{n}</Modulus>\r\n</RSAParameters>"
                );
                (key, "format%eq!XML!;")
            }
            _ => {
                let pem = own.public_key_to_pem().expect("PEM");
                (String::from_utf8(pem).expect("text"), "format%eq!PEM!;")
            }
        };
        let format = match self.kind {
            Kind::G3 | Kind::Certificate => format,
            _ => "",
        };
        let nonce = match self.kind {
            Kind::Xml | Kind::Certificate => NONCE.bytes().flat_map(|byte| [byte, 0]).collect(),
            _ => NONCE.as_bytes().to_vec(),
        };
        let mut block = vec![0; server_key.size() as usize];
        server_key
            .public_encrypt(&nonce, &mut block, Padding::PKCS1_OAEP)
            .expect("encrypt");
        let nonce = encode_block(&block);
        self.clear('K', &format!("CKE{format}key%eq!{key}!;nonce%eq!{nonce}!;"));
        let (letter, text) = self.packet();
        assert_eq!(letter, 'K', "{text}");
        let mut plain = vec![0; 256];
        let block = decode_block(&text).expect("base64");
        let len = own
            .private_decrypt(&block, &mut plain, Padding::PKCS1_OAEP)
            .expect("decrypt");
        let text = String::from_utf8(plain[..len].to_vec()).expect("text");
        let rest = text.strip_prefix("SKEkey%eq!").expect("key");
        let (aes, rest) = rest.split_once("!;nonce%eq!").expect("nonce");
        assert_eq!(aes.len(), 44);
        self.aes = aes.to_owned();
        self.mac = hex(&sha256(format!("{aes}{NONCE}").as_bytes()));
        rest.strip_suffix("!;").expect("end").to_owned()
    }

    /// One that has a cookie, and has said what device it is where it must.
    pub fn known(server: &Server, kind: Kind) -> Peer {
        let mut peer = Peer::new(server, kind);
        let text = peer.ask("MNGCKI");
        let cookie = text.strip_prefix("DTACKIcookie%eq!").expect(&text);
        peer.cookie = cookie.trim_end_matches("!;").to_owned();
        assert_eq!(peer.cookie.len(), 88);
        peer.authorize();
        peer
    }

    /// Says what device it is.
    pub fn authorize(&mut self) {
        if self.kind.is_last() {
            let cookie = &self.cookie;
            let text = format!(
                "MNGATHcookie%eq!{cookie}!;device%eq!{{\u{a7}Name\u{a7}:\u{a7}L\u{a7}}}!;\
                 is_mobile%eq!False!;version%eq!0.6-11b.19!;"
            );
            assert_eq!(self.ask(&text), "INFRETmsg%eq!DEVICE_AUTHORIZED!;");
        }
    }

    /// One that has made an account, and activated it.
    pub fn registered(server: &Server, kind: Kind, user: &str) -> Peer {
        let mut peer = Peer::known(server, kind);
        let text = peer.register(user);
        assert!(
            text.contains("SEND_VERIFICATION_ACTIVATE_ACCOUNT"),
            "{text}"
        );
        let code = code(server, user);
        let text = peer.ask(&format!("MNGVERusername%eq!{user}!;code%eq!{code}!;"));
        assert!(text.contains("ACCOUNT_VERIFIED"), "{text}");
        peer
    }

    pub fn register(&mut self, user: &str) -> String {
        let (password, cookie) = (online("pass"), &self.cookie);
        let text = format!(
            "MNGREGusername%eq!{user}!;password%eq!{password}!;email%eq!{user}@example.org!;\
             nickname%eq!N!;cookie%eq!{cookie}!;"
        );
        self.ask(&text)
    }

    /// One that has logged in to a new account.
    pub fn logged_in(server: &Server, kind: Kind, user: &str) -> Peer {
        let mut peer = Peer::registered(server, kind, user);
        let text = peer.log_in(user, "pass");
        assert!(text.contains("LOGIN_SUCCESSFUL"), "{text}");
        peer
    }

    pub fn log_in(&mut self, user: &str, password: &str) -> String {
        let (password, cookie) = (online(password), &self.cookie);
        let text =
            format!("MNGLGIusername%eq!{user}!;password%eq!{password}!;cookie%eq!{cookie}!;");
        self.ask(&text)
    }

    /// Inserts an entry with this text; its id.
    pub fn insert(&mut self, text: &str, time: i64) -> String {
        let values = format!("host%eq!{text}!;password%eq!p{text}!;datetime%eq!{time}!;");
        let answer = match self.kind {
            Kind::G1 => self.ask(&format!("REQINS{values}\u{1f}12")),
            _ => self.ask(&format!("REQINSlocal_id%eq!12!;{values}")),
        };
        let hid = match self.kind {
            Kind::G1 => answer.strip_prefix("DTARETINS12\u{1f}"),
            Kind::G2 => answer.strip_prefix("DTARETINSlocal_id%eq!12!;hashed_id%eq!"),
            _ => answer.strip_prefix("DTARETmode%eq!INSERT!;local_id%eq!12!;hashed_id%eq!"),
        };
        let hid = hid.expect(&answer).trim_end_matches("!;").to_owned();
        assert_eq!(hid.len(), 88, "{answer}");
        hid
    }

    /// The answer to a sync.
    pub fn sync(&mut self) -> String {
        match self.kind {
            Kind::G1 | Kind::G2 => self.ask("REQSYNfetch_mode%eq!FETCH_SYNC!"),
            _ => self.ask("REQSYNfetch_mode%eq!FETCH_SYNC!;"),
        }
    }

    /// Sends a packet in clear.
    pub fn clear(&mut self, letter: char, text: &str) {
        self.send_bytes(format!("\u{1}{letter}{text}\u{4}").as_bytes());
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("write");
        self.last = bytes.to_vec();
    }

    fn crypt(&self, mode: Mode, iv: &[u8], from: &[u8]) -> Vec<u8> {
        let key = sha256(self.aes.as_bytes());
        let mut crypter =
            Crypter::new(Cipher::aes_256_cbc(), mode, &key, Some(iv)).expect("cipher");
        crypter.pad(false);
        let mut to = vec![0; from.len() + 16];
        let len = crypter.update(from, &mut to).expect("update");
        let len = len + crypter.finalize(&mut to[len..]).expect("finalize");
        to.truncate(len);
        to
    }

    fn mac(&self, digits: &str) -> String {
        let inner = encode_block(&sha256(format!("{}{digits}", &self.mac[..32]).as_bytes()));
        encode_block(&sha256(format!("{}{inner}", &self.mac[32..]).as_bytes()))
    }

    /// The body of a packet with this text.
    pub fn sealed(&mut self, text: &str) -> String {
        let block = if self.kind == Kind::G1 { 32 } else { 16 };
        let padding = block - text.len() % block;
        let mut plain = text.as_bytes().to_vec();
        plain.resize(text.len() + padding, padding as u8);
        self.count = self.count.wrapping_add(1);
        let iv = u128::from(self.count).to_be_bytes();
        let ciphered = self.crypt(Mode::Encrypt, &iv, &plain);
        let digits = encode_block(&[&iv[..], &ciphered].concat());
        match self.kind {
            Kind::G1 => digits,
            _ => {
                let mac = self.mac(&digits);
                digits + &mac
            }
        }
    }

    pub fn send(&mut self, text: &str) {
        let body = self.sealed(text);
        self.clear('E', &body);
    }

    /// The next packet: its letter and its text.
    pub fn packet(&mut self) -> (char, String) {
        self.try_packet().expect("a packet")
    }

    /// The same; `None` at the end of the connection.
    pub fn try_packet(&mut self) -> Option<(char, String)> {
        loop {
            if let Some(end) = self.bytes.iter().position(|byte| *byte == 4) {
                let packet: Vec<u8> = self.bytes.drain(..=end).collect();
                assert_eq!(packet[0], 1);
                let text = String::from_utf8(packet[2..end].to_vec()).expect("text");
                return Some((char::from(packet[1]), text));
            }
            let mut room = [0; 65536];
            match self.socket.read(&mut room) {
                Ok(0) => return None,
                Ok(read) => self.bytes.extend(&room[..read]),
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => panic!("{e}"),
            }
        }
    }

    /// The text of the next packet, which is encrypted.
    #[track_caller]
    pub fn receive(&mut self) -> String {
        let (letter, body) = self.packet();
        assert_eq!(letter, 'E', "{body}");
        let digits = match self.kind {
            Kind::G1 => &body[..],
            _ => {
                let (digits, mac) = body.split_at(body.len() - 44);
                assert_eq!(mac, self.mac(digits));
                digits
            }
        };
        let bytes = decode_block(digits).expect("base64");
        let plain = self.crypt(Mode::Decrypt, &bytes[..16], &bytes[16..]);
        let padding = usize::from(*plain.last().expect("padding"));
        let most = if self.kind == Kind::G1 { 32 } else { 16 };
        assert!((1..=most).contains(&padding));
        String::from_utf8(plain[..plain.len() - padding].to_vec()).expect("text")
    }

    #[track_caller]
    pub fn ask(&mut self, text: &str) -> String {
        self.send(text);
        self.receive()
    }

    /// Expects these answers, in their order.
    #[track_caller]
    pub fn expect(&mut self, text: &str, answers: &[&str]) {
        self.send(text);
        for answer in answers {
            assert_eq!(self.receive(), *answer, "{text}");
        }
    }

    /// Expects that nobody has answered anything before this.
    #[track_caller]
    pub fn expect_alive(&mut self) {
        self.expect("KEXACKnonce%eq!alive!;", &["KEXACKnonce%eq!alive!;"]);
    }

    /// Expects to be sent away with this word.
    #[track_caller]
    pub fn expect_sent_away(&mut self, word: &str) {
        let text = format!("FINmessage%eq!{word}!;");
        assert_eq!(self.packet(), ('U', text));
        assert_eq!(self.try_packet(), None);
    }
}

/// What every client sends.
pub const NONCE: &str = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b";

/// As an error is sent.
pub fn error(number: u8, code: &str, text: &str) -> String {
    format!("INFERRerrno%eq!{number:02}!;code%eq!{code}!;message%eq!{text}!;")
}
