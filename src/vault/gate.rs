//! The vault's gate: the exchange of keys, and whatever a client may ask before it
//! has logged in. It holds no key of the server and reaches no file.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::Dialect;
use super::account;
use super::accounts::{Answer, Ask, Asking};
use super::reply::{Failure, Reply, Word};
use super::request::{Fault, Request};
use super::server::State;
use super::wire;
use super::wire::{Connection, Format, Keys, PublicKey, WireError, decrypted_nonce};
use crate::ipc::codec::{Encode, Writer, codec};
use crate::net::Link;
use crate::session::keeper::Keeper;
use crate::session::login::{Login, Verdict};
use crate::session::protocol::Gate;

/// How many times as long as others the step of the exchange of keys may take in which
/// a person may be asked about the certificate.
const DECISION: u32 = 5;

/// The longest packet before a login, in bytes.
const LONGEST: usize = 64 * 1024;

/// The most packets before it: what is known of each goes over to the session.
const MOST_PACKETS: usize = 1000;

/// What gates follow of the configuration.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What clients may speak.
    pub dialects: Vec<Dialect>,
    /// The certificate, in PEM.
    pub certificate: Vec<u8>,
    /// How long each step of the exchange of keys may take.
    pub step: Duration,
    /// How long a client may send nothing once there are keys.
    pub idle_limit: Option<Duration>,
}

/// A client, and what it has told so far.
pub struct Client {
    /// The connection to it.
    pub connection: Connection,
    /// Whether it has to say what device it is.
    pub needs_device: bool,
    /// Whether it has.
    pub is_authorized: bool,
    /// The device it has logged in from.
    pub cookie: String,
    /// Whether that was new, and confirmed by a code.
    pub is_confirmed: bool,
}

/// What goes on in another process.
pub struct Handed {
    connection: wire::State,
    needs_device: bool,
    is_authorized: bool,
    cookie: String,
    is_confirmed: bool,
}

codec!(struct Handed { connection, needs_device, is_authorized, cookie, is_confirmed });

/// The client that a gate has handed over.
///
/// # Errors
/// `InvalidData` for a state that no connection has, or the system's.
pub fn take_over(socket: TcpStream, state: Handed, longest: usize) -> io::Result<Client> {
    let connection = Connection::from_state(socket, state.connection, longest)?;
    Ok(Client {
        connection,
        needs_device: state.needs_device,
        is_authorized: state.is_authorized,
        cookie: state.cookie,
        is_confirmed: state.is_confirmed,
    })
}

/// Takes a client through the exchange of keys and serves it until it has logged
/// in. Its session answers the login.
///
/// # Errors
/// Why it did not pass.
pub fn admit(gate: Gate<'_>, rules: &Rules) -> Result<(), WireError> {
    let mut link = Link::new(gate.socket)?;
    link.count_on(gate.meter);
    link.stop_on(&crate::sys::signal::STOP);
    let mut connection = Connection::new(link, LONGEST);
    let asked = greet(&mut connection, rules)?;
    let (keys, needs_device) = exchange(&mut connection, &gate.keeper, (asked, rules.step))?;
    agree(&mut connection, keys, needs_device, asked, rules)?;
    connection.link().set_deadline(None)?;
    connection.link().set_idle_limit(rules.idle_limit)?;
    let channel = gate.keeper.enter()?;
    let channel = channel.ok_or_else(|| io::Error::other("the keeper lets nobody in"))?;
    let client = Client {
        connection,
        needs_device,
        is_authorized: false,
        cookie: String::new(),
        is_confirmed: false,
    };
    serve(client, channel.into_channel().into(), gate.steps)
}

/// Reads a packet in clear with this letter and these first three letters: what is
/// behind them. A client that sends another is sent away.
fn clear(
    connection: &mut Connection,
    (letter, id): (char, &str),
    until: Duration,
) -> Result<String, WireError> {
    connection
        .link()
        .set_deadline(Some(Instant::now() + until))?;
    let (given, text) = connection.packet()?;
    let (known, rest) = text.split_at_checked(3).unwrap_or_default();
    Err(match (given, known) {
        (given, known) if (given, known) == (letter, id) => return Ok(rest.to_owned()),
        ('U', "FIN") => WireError::Finished,
        ('E', _) => connection.send_away("UNKNOWN"),
        ('U', "EXC" | "DTA" | "INF" | "REQ" | "MNG" | "LOG" | "KEX") => {
            let word = "SECURITY_EXCEPTION_RECEIVED_SECURE_PACKET_OVER_UNSECURE_CONNECTION";
            connection.send_away(word)
        }
        ('U' | 'K', _) => connection.send_away("GENERIC_EXCEPTION_INVALID_PACKET_ID"),
        _ => connection.send_away("GENERIC_EXCEPTION_INVALID_PACKET_SPECIFIER"),
    })
}

/// Sends the server's key in the form that the client asks for; that form.
fn greet(connection: &mut Connection, rules: &Rules) -> Result<Format, WireError> {
    let asked = clear(connection, ('U', "INI"), rules.step)?;
    let Some(format) = Format::of(&asked) else {
        return Err(connection.send_away("INVALID_KEY_FORMAT"));
    };
    let key = match format {
        Format::Certificate => String::from_utf8(rules.certificate.clone()).ok(),
        _ => PublicKey::of_certificate(&rules.certificate).and_then(|key| key.write(format)),
    };
    let key = key.filter(|key| !key.is_empty());
    let key = key.ok_or_else(|| io::Error::other("the vault has no certificate"))?;
    connection.send_clear('U', &format!("KEY{}key%eq!{key}!;", format.name()))?;
    Ok(format)
}

/// The client's key and nonce, as they were sent.
#[derive(Default)]
struct Offer {
    key: Option<String>,
    nonce: Option<String>,
    format: Option<String>,
}

impl Offer {
    /// Reads it; the error's text for anything else.
    fn read(text: &str) -> Result<Offer, &'static str> {
        let mut offer = Offer::default();
        for piece in text.split(';').filter(|piece| !piece.trim().is_empty()) {
            let (name, rest) = piece.split_once("%eq").ok_or("TOO_MANY_ARGUMENTS")?;
            let place = match name {
                "key" => &mut offer.key,
                "nonce" => &mut offer.nonce,
                "format" => &mut offer.format,
                _ => return Err("TOO_MANY_ARGUMENTS"),
            };
            let value = rest.split('!').nth(1).ok_or("INVALID_FORMATTING")?;
            *place = Some(value.to_owned());
        }
        Ok(offer)
    }
}

/// Exchanges keys; whether the client named a format, as those do that say what
/// device they are.
fn exchange(
    connection: &mut Connection,
    keeper: &Keeper,
    (asked, step): (Format, Duration),
) -> Result<(Keys, bool), WireError> {
    let patience = match asked {
        Format::Certificate => DECISION * step,
        _ => step,
    };
    let text = clear(connection, ('K', "CKE"), patience)?;
    let refused = |text| (15, "ICMD", text);
    let offer = Offer::read(&text).map_err(refused);
    let agreed = offer.and_then(|offer| {
        let (Some(key), Some(nonce)) = (&offer.key, &offer.nonce) else {
            return Err(refused("TOO_FEW_ARGUMENTS"));
        };
        let named = offer.format.as_deref().and_then(Format::of);
        let is_xml = asked == Format::Xml || named == Some(Format::Xml);
        let format = if is_xml { Format::Xml } else { Format::Pem };
        let no_key = (2, "IRSA", "INVALID_RSA_KEY");
        let key = PublicKey::read(format, key).ok_or(no_key)?;
        Ok((key, nonce.clone(), offer.format.is_some()))
    });
    let (key, nonce, has_format) = match agreed {
        Ok(agreed) => agreed,
        Err(refusal) => return Err(refuse(connection, refusal)),
    };
    let block = openssl::base64::decode_block(&nonce).unwrap_or_default();
    let nonce = keeper.decrypt(&block)?;
    let Some(nonce) = nonce.as_ref().and_then(|nonce| decrypted_nonce(nonce)) else {
        return Err(refuse(connection, refused("INVALID_FORMATTING")));
    };
    let keys = Keys::random(nonce).map_err(io::Error::other)?;
    let text = Zeroizing::new(format!("SKEkey%eq!{}!;nonce%eq!{nonce}!;", keys.text()));
    let fits = text.len() <= key.longest();
    let Some(block) = Some(text)
        .filter(|_| fits)
        .and_then(|text| key.encrypt(text.as_bytes()))
    else {
        return Err(refuse(connection, refused("TOO_MUCH_DATA")));
    };
    connection.send_clear('K', &block)?;
    Ok((keys, has_format))
}

/// Sends an error in clear, and the client away.
fn refuse(
    connection: &mut Connection,
    (number, code, text): (u8, &'static str, &'static str),
) -> WireError {
    let word = match text {
        "TOO_FEW_ARGUMENTS" => "GENERIC_EXCEPTION_TOO_FEW_ARGUMENTS",
        "TOO_MANY_ARGUMENTS" => "GENERIC_EXCEPTION_TOO_MANY_ARGUMENTS",
        "INVALID_FORMATTING" => "GENERIC_EXCEPTION_INVALID_FORMATTING",
        "TOO_MUCH_DATA" => "GENERIC_EXCEPTION_TOO_MUCH_DATA",
        _ => "SECURITY_EXCEPTION_INVALID_RSA_KEY",
    };
    match connection.send_clear('U', &Failure(number, code, text).text()) {
        Ok(()) => connection.send_away(word),
        Err(e) => e.into(),
    }
}

/// Reads the first encrypted packet, which shows what the client speaks, and sends
/// back its nonce.
fn agree(
    connection: &mut Connection,
    keys: Keys,
    has_format: bool,
    asked: Format,
    rules: &Rules,
) -> Result<(), WireError> {
    connection
        .link()
        .set_deadline(Some(Instant::now() + rules.step))?;
    let body = match connection.packet()? {
        ('E', body) => body,
        ('U', text) if text.starts_with("FIN") => return Err(WireError::Finished),
        _ => return Err(connection.send_away("GENERIC_EXCEPTION_INVALID_PACKET_ID")),
    };
    let dialect = match keys.has_mac(&body) {
        true if has_format || asked != Format::Pem => Dialect::G3,
        true => Dialect::G2,
        false => Dialect::G1,
    };
    if !rules.dialects.contains(&dialect) {
        return Err(match dialect {
            Dialect::G1 => connection.refuse_mac(),
            _ => connection.send_away("DIALECT_NOT_SPOKEN"),
        });
    }
    connection.agree(keys, dialect);
    let text = connection.open(&body)?;
    match text.map(|text| Request::parse(&text, dialect)) {
        Some(Ok(Request::Test { nonce })) => connection.send(&Reply::Test(nonce).texts(dialect)[0]),
        Some(Err(Fault::Error(number, code, text))) => {
            Err(refuse(connection, (number, code, text)))
        }
        _ => Err(connection.send_away("GENERIC_EXCEPTION_INVALID_PACKET_ID")),
    }
}

/// Serves a client until it has logged in.
fn serve(
    mut client: Client,
    accounts: Asking,
    steps: crate::session::login::Steps,
) -> Result<(), WireError> {
    for _ in 0..MOST_PACKETS {
        let Some(request) = client.request()? else {
            continue;
        };
        let reply = match request {
            Request::LogIn {
                user,
                password,
                cookie,
                code,
            } => {
                client.is_confirmed = code.is_some();
                let login = account::login(user, &password, cookie.clone(), code);
                match account::ask_accounts(&accounts, &Ask::LogIn(login))? {
                    Answer::Admitted => {
                        client.cookie = cookie;
                        let channel = accounts.into_channel().into();
                        return hand_over(&client, Login::new(channel, steps, None));
                    }
                    Answer::No(why) => account::refusal(why),
                    _ => return Err(io::Error::from(io::ErrorKind::InvalidData).into()),
                }
            }
            request if request.needs_login() => Reply::NotLoggedIn,
            Request::LogOut => Reply::WasNotLoggedIn,
            request => client.answer(&accounts, request)?,
        };
        client.send(&reply)?;
    }
    Err(client.connection.send_away("TOO_MANY_PACKETS"))
}

/// Gives the connection to the session, which waits for it.
fn hand_over(client: &Client, login: Login) -> Result<(), WireError> {
    let state = client.state();
    let state = state.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let socket = client.connection.socket();
    let verdict: Verdict = login.enter(socket, &state)?;
    verdict.map_err(|why| io::Error::other(why).into())
}

impl Client {
    fn state(&self) -> Option<Zeroizing<Vec<u8>>> {
        let state = State::Old(Handed {
            connection: self.connection.state()?,
            needs_device: self.needs_device,
            is_authorized: self.is_authorized,
            cookie: self.cookie.clone(),
            is_confirmed: self.is_confirmed,
        });
        let mut out = Writer::default();
        // Memory that grows would leave copies behind that nobody wipes.
        out.bytes.reserve(MOST_PACKETS * 64);
        state.encode(&mut out);
        Some(out.bytes)
    }

    /// The next request; `None` for a packet that nobody answers, or that was
    /// answered.
    ///
    /// # Errors
    /// When the client is gone, or was sent away.
    pub fn request(&mut self) -> Result<Option<Request>, WireError> {
        let dialect = self.connection.dialect();
        let body = match self.connection.packet()? {
            ('E', body) => body,
            ('U', text) if text.starts_with("FIN") => return Err(WireError::Finished),
            ('U', _) => {
                let word = "SECURITY_EXCEPTION_RECEIVED_SECURE_PACKET_OVER_UNSECURE_CONNECTION";
                return Err(self.connection.send_away(word));
            }
            ('K', _) => {
                let word = "GENERIC_EXCEPTION_INVALID_PACKET_ID";
                return Err(self.connection.send_away(word));
            }
            _ => {
                let word = "GENERIC_EXCEPTION_INVALID_PACKET_SPECIFIER";
                return Err(self.connection.send_away(word));
            }
        };
        let Some(text) = self.connection.open(&body)? else {
            return Ok(None);
        };
        let fault = match Request::parse(&text, dialect) {
            Ok(Request::Leave) => return Err(self.connection.send_away("RECEIVED_FIN")),
            Ok(request) if self.must_be_authorized(&request) => {
                self.send(&Reply::Failed(Failure::NOT_AUTHORIZED))?;
                return Ok(None);
            }
            Ok(request) => return Ok(Some(request)),
            Err(fault) => fault,
        };
        if fault == Fault::SubId {
            let word = "GENERIC_EXCEPTION_INVALID_SUB_ID";
            return Err(self.connection.send_away(word));
        }
        if let Some(failure) = Failure::of(fault) {
            self.send(&Reply::Failed(failure))?;
        }
        Ok(None)
    }

    fn must_be_authorized(&self, request: &Request) -> bool {
        self.needs_device && !self.is_authorized && request.needs_device()
    }

    /// Answers what is not about entries.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn answer(&mut self, accounts: &Asking, request: Request) -> io::Result<Reply> {
        if let Request::Test { nonce } = request {
            return Ok(Reply::Test(nonce));
        }
        let reply = account::answer(accounts, request)?;
        let reply = reply.unwrap_or(Reply::Failed(Failure::FORBIDDEN));
        self.is_authorized |= reply == Reply::Done(Word::DeviceAuthorized);
        Ok(reply)
    }

    /// Sends an answer, each packet by one write.
    ///
    /// # Errors
    /// When the client is gone.
    pub fn send(&mut self, reply: &Reply) -> Result<(), WireError> {
        let texts = reply.texts(self.connection.dialect());
        texts.iter().try_for_each(|text| self.connection.send(text))
    }
}

/// One log line on a client that did not pass.
pub fn log_refusal(peer: SocketAddr, refusal: &WireError) {
    use crate::net::LinkError;
    match refusal {
        WireError::Finished | WireError::Link(LinkError::Closed | LinkError::Stopped) => {
            log::debug!(peer:%, stage:% = "handshake"; "left");
        }
        WireError::Internal(e) => log::error!(peer:%, error:% = e; "gate failed"),
        _ => log::warn!(peer:%, stage:% = "handshake", reason:% = refusal; "refused"),
    }
}
