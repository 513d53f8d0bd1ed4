//! A mail server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use openssl::asn1::Asn1Time;
use openssl::base64::decode_block;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Name};

use crate::common::{PATIENCE, ca, wait_until};

/// How it takes mails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Takes,
    Refuses,
    Postpones,
    /// It accepts a connection and says nothing.
    Silent,
}

/// A mail as it came.
#[derive(Clone, Debug, Default)]
pub struct Letter {
    /// Who has logged in, and the password.
    pub login: Option<(String, String)>,
    pub from: String,
    pub to: String,
    pub lines: Vec<String>,
}

impl Letter {
    /// The code in it.
    pub fn code(&self) -> String {
        let line = self
            .lines
            .iter()
            .find(|line| line.trim().starts_with("PM-"));
        line.expect("a code").trim().to_owned()
    }
}

#[derive(Debug)]
struct State {
    manner: Manner,
    letters: Vec<Letter>,
    connections: usize,
}

pub struct Smtp {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

/// How a server protects what it is sent.
#[derive(Clone, Copy)]
enum Protection<'a> {
    None,
    Tls(&'a Identity),
    /// Once a client has asked for it.
    StartTls(&'a Identity),
}

/// Keys and certificates of a server at one address, from an authority of its own.
pub struct Identity {
    pub authority: Vec<u8>,
    certificate: X509,
    key: PKey<Private>,
}

impl Identity {
    pub fn new() -> Identity {
        Identity::at(Ipv4Addr::LOCALHOST.into())
    }

    pub fn at(address: IpAddr) -> Identity {
        let authority = ca::new_key();
        let issuer = certify(&authority, None, address);
        let key = ca::new_key();
        Identity {
            authority: issuer.to_pem().expect("PEM"),
            certificate: certify(&key, Some((&issuer, &authority)), address),
            key,
        }
    }
}

fn certify(key: &PKey<Private>, issuer: Option<(&X509, &PKey<Private>)>, address: IpAddr) -> X509 {
    let mut builder = X509::builder().expect("certificate");
    builder.set_version(2).expect("version");
    let serial = BigNum::from_u32(7).and_then(|n| n.to_asn1_integer());
    builder
        .set_serial_number(&serial.expect("serial"))
        .expect("serial");
    let mut name = X509Name::builder().expect("name");
    let common = if issuer.is_some() {
        "mail"
    } else {
        "authority"
    };
    name.append_entry_by_text("CN", common).expect("name");
    let name = name.build();
    builder.set_subject_name(&name).expect("subject");
    builder.set_pubkey(key).expect("key");
    let (from, until) = (Asn1Time::days_from_now(0), Asn1Time::days_from_now(9));
    builder.set_not_before(&from.expect("time")).expect("time");
    builder.set_not_after(&until.expect("time")).expect("time");
    let (issuer_name, signer) = match issuer {
        Some((issuer, signer)) => {
            let context = builder.x509v3_context(Some(issuer), None);
            let names = SubjectAlternativeName::new()
                .ip(&address.to_string())
                .build(&context);
            builder
                .append_extension(names.expect("names"))
                .expect("names");
            (issuer.subject_name().to_owned().expect("name"), signer)
        }
        None => {
            let constraints = BasicConstraints::new().critical().ca().build();
            builder
                .append_extension(constraints.expect("constraints"))
                .expect("constraints");
            (name, key)
        }
    };
    builder.set_issuer_name(&issuer_name).expect("issuer");
    builder
        .sign(signer, MessageDigest::sha256())
        .expect("signature");
    builder.build()
}

impl Smtp {
    /// One that speaks TLS from the first byte, if it has an identity.
    pub fn start(identity: Option<&Identity>) -> Smtp {
        let protection = identity.map_or(Protection::None, Protection::Tls);
        Smtp::start_at(Ipv4Addr::LOCALHOST.into(), protection)
    }

    /// One at an address whose clients ask for TLS, if it has an identity.
    pub fn start_tls_at(address: IpAddr, identity: Option<&Identity>) -> Smtp {
        let protection = identity.map_or(Protection::None, Protection::StartTls);
        Smtp::start_at(address, protection)
    }

    fn start_at(address: IpAddr, protection: Protection<'_>) -> Smtp {
        let listener = TcpListener::bind((address, 0)).expect("listener");
        let address = listener.local_addr().expect("address");
        let state = Arc::new(Mutex::new(State {
            manner: Manner::Takes,
            letters: Vec::new(),
            connections: 0,
        }));
        let (identity, at_once) = match protection {
            Protection::None => (None, false),
            Protection::Tls(identity) => (Some(identity), true),
            Protection::StartTls(identity) => (Some(identity), false),
        };
        let acceptor = identity.map(|identity| {
            let mut builder = SslAcceptor::mozilla_modern_v5(SslMethod::tls()).expect("TLS");
            builder
                .set_certificate(&identity.certificate)
                .expect("certificate");
            builder.set_private_key(&identity.key).expect("key");
            builder.build()
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let (Ok(socket), state) = (socket, Arc::clone(&shared)) else {
                    continue;
                };
                let acceptor = acceptor.clone();
                std::thread::spawn(move || serve(socket, acceptor.as_ref(), at_once, &state));
            }
        });
        Smtp { address, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("lock")
    }

    pub fn behave(&self, manner: Manner) {
        self.state().manner = manner;
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.state().connections
    }

    /// So many letters, once they have come.
    #[track_caller]
    pub fn letters(&self, count: usize) -> Vec<Letter> {
        wait_until("letters", || self.state().letters.len() >= count);
        self.state().letters.clone()
    }
}

fn serve(socket: TcpStream, acceptor: Option<&SslAcceptor>, at_once: bool, state: &Mutex<State>) {
    socket.set_read_timeout(Some(4 * PATIENCE)).expect("limit");
    let manner = {
        let mut state = state.lock().expect("lock");
        state.connections += 1;
        state.manner
    };
    if manner == Manner::Silent {
        // Until the client has lost its patience.
        std::thread::sleep(Duration::from_secs(600));
        return;
    }
    let mut socket = socket;
    if !at_once {
        let spoken = speak(
            BufReader::new(&mut socket),
            (acceptor.is_some(), false),
            manner,
            state,
        );
        if !matches!(spoken, Ok(true)) {
            return;
        }
    }
    // One who does not trust it ends here.
    if let Some(stream) = acceptor.and_then(|acceptor| acceptor.accept(socket).ok()) {
        let _ = speak(BufReader::new(stream), (false, !at_once), manner, state);
    }
}

/// Takes letters; whether the client wants TLS from now on.
fn speak<S: Read + Write>(
    mut stream: BufReader<S>,
    (has_tls, is_again): (bool, bool),
    manner: Manner,
    state: &Mutex<State>,
) -> std::io::Result<bool> {
    let mut letter = Letter::default();
    if !is_again {
        stream.get_mut().write_all(b"220 mail ESMTP\r\n")?;
    }
    loop {
        let line = read_line(&mut stream)?;
        let word = line
            .split([' ', ':'])
            .next()
            .unwrap_or_default()
            .to_uppercase();
        let answer = match word.as_str() {
            "EHLO" if has_tls => "250-mail\r\n250 STARTTLS",
            "STARTTLS" if has_tls => {
                stream.get_mut().write_all(b"220 go on\r\n")?;
                return Ok(true);
            }
            "EHLO" => "250-mail\r\n250-AUTH PLAIN\r\n250 8BITMIME",
            "AUTH" => {
                let secret = decode_block(line.rsplit(' ').next().unwrap_or_default());
                let secret = secret.unwrap_or_default();
                let mut parts = secret.split(|byte| *byte == 0).map(String::from_utf8_lossy);
                parts.next();
                let login = parts.next().zip(parts.next());
                letter.login = login.map(|(user, password)| (user.into(), password.into()));
                "235 in"
            }
            "MAIL" => {
                letter.from = line;
                "250 ok"
            }
            "RCPT" if manner == Manner::Refuses => "550 no such user",
            "RCPT" if manner == Manner::Postpones => "451 later",
            "RCPT" => {
                letter.to = line;
                "250 ok"
            }
            "DATA" => {
                stream.get_mut().write_all(b"354 go on\r\n")?;
                loop {
                    let line = read_line(&mut stream)?;
                    if line == "." {
                        break;
                    }
                    letter.lines.push(line);
                }
                state.lock().expect("lock").letters.push(letter.clone());
                letter.lines.clear();
                "250 taken"
            }
            "QUIT" => {
                stream.get_mut().write_all(b"221 bye\r\n")?;
                return Ok(false);
            }
            _ => "250 ok",
        };
        stream
            .get_mut()
            .write_all(format!("{answer}\r\n").as_bytes())?;
    }
}

fn read_line(stream: &mut impl BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    match stream.read_line(&mut line)? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end_matches(['\r', '\n']).to_owned()),
    }
}
