//! From a name to a session: connection and handshake (document, "Beginning
//! the connection"), above TLS where that is asked for.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use openssl::base64::encode_block;
use openssl::pkey::Public;
use openssl::rsa::{Padding, Rsa};
use openssl::sha::sha256;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use zeroize::Zeroizing;

use super::cancel::{Cancel, Ticket, addresses, reach};
use super::error::{ClientError, HANDSHAKE, Result};
use super::extension::Extension;
use super::program::{Program, Via};
use crate::bbftp;
use crate::net::link::LinkError;
use crate::net::tls::client::{HelloError, Tls};
use crate::net::{Link, tls};
use crate::tf::status::{REASON, Reply, Status};
use crate::tf::wire::{ALPN, Wire, WireError};
use crate::vault;

/// The length of the session keys made here, in bytes.
const KEY_LENGTH: usize = 32;

/// The most bytes of a reply that an error quotes.
const LONGEST_QUOTE: usize = 256;

/// A server's public RSA key.
#[derive(Clone, Debug)]
pub struct PublicKey(Rsa<Public>);

impl PublicKey {
    /// Reads a key in PEM, `PUBLIC KEY` or `RSA PUBLIC KEY`.
    ///
    /// # Errors
    /// `Key`, with what is wrong.
    pub fn from_file(path: &Path) -> Result<PublicKey> {
        let pem = fs::read(path).map_err(|e| ClientError::Key {
            path: path.to_owned(),
            why: e.to_string(),
        })?;
        PublicKey::from_text(&String::from_utf8_lossy(&pem), path)
    }

    /// Reads a key from the text of a file.
    ///
    /// # Errors
    /// `Key`, with the file's name.
    pub fn from_text(text: &str, file: &Path) -> Result<PublicKey> {
        PublicKey::from_pem(text.as_bytes()).ok_or_else(|| ClientError::Key {
            path: file.to_owned(),
            why: "no RSA public key in PEM".to_owned(),
        })
    }

    /// The key in a PEM text, if there is one.
    #[must_use]
    pub fn from_pem(pem: &[u8]) -> Option<PublicKey> {
        Rsa::public_key_from_pem(pem)
            .or_else(|_| Rsa::public_key_from_pem_pkcs1(pem))
            .ok()
            .map(PublicKey)
    }

    /// The key in PEM, `PUBLIC KEY`.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let pem = self.0.public_key_to_pem().unwrap_or_default();
        String::from_utf8_lossy(&pem).into_owned()
    }

    /// SHA-256 of the key in DER, base64 without padding.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let der = self.0.public_key_to_der().unwrap_or_default();
        encode_block(&sha256(&der)).trim_end_matches('=').to_owned()
    }
}

/// What protects a connection.
#[derive(Clone, Debug)]
pub enum Transport {
    /// The session cipher alone, its key encrypted with this key of the server.
    Tcp(PublicKey),
    /// TLS. A server that wants the session cipher inside needs its public key,
    /// too.
    Tls(Tls, Option<PublicKey>),
}

/// A server, and what its handshake asks for.
#[derive(Clone, Debug)]
pub struct Target {
    /// `host:port`.
    pub server: String,
    /// What protects the connection.
    pub transport: Transport,
    /// The version string it is configured with.
    pub version: String,
    /// The hash it is configured with.
    pub hash: String,
    /// How long connecting and handshake may take.
    pub timeout: Duration,
    /// The machine through which it is reached.
    pub via: Option<Via>,
    /// Ends its connections from another thread.
    pub cancel: Cancel,
}

impl Target {
    /// A server with the usual version string `0.0` and a time limit of 15 s.
    #[must_use]
    pub fn new(server: &str, key: PublicKey, hash: &str) -> Target {
        Target::over(server, Transport::Tcp(key), hash)
    }

    /// The same over TLS. Copies of it resume each other's sessions.
    #[must_use]
    pub fn tls(server: &str, tls: Tls, hash: &str) -> Target {
        Target::over(server, Transport::Tls(tls, None), hash)
    }

    /// The same over either.
    #[must_use]
    pub fn over(server: &str, transport: Transport, hash: &str) -> Target {
        Target {
            server: server.to_owned(),
            transport,
            version: "0.0".to_owned(),
            hash: hash.to_owned(),
            timeout: Duration::from_secs(15),
            via: None,
            cancel: Cancel::default(),
        }
    }
}

/// A session with a server.
pub struct Connection {
    wire: Wire,
    pub(super) body: Vec<u8>,
    /// Commands of version 2.5 that the server is not asked for.
    pub(super) lacks: Vec<&'static str>,
    /// What is known of tfd's extension there.
    pub(super) extension: Extension,
    /// Its place in its target's [`Cancel`].
    _ticket: Option<Ticket>,
    /// What connects it with a server behind another machine. Ends after the wire.
    _program: Option<Program>,
}

impl Connection {
    /// Connects to the first address of the server that answers and passes
    /// version, key and hash. All three go out at once, so the handshake
    /// takes one round trip, and over TLS one more. Over TLS no key is sent if
    /// the server can do without the cipher inside.
    ///
    /// # Errors
    /// Which step failed.
    pub fn open(target: &Target) -> Result<Connection> {
        let Some(via) = &target.via else {
            let socket = reach(&target.server, target.timeout, &target.cancel)?;
            return Connection::on(socket, target);
        };
        let (mut program, socket) = via.reach(&target.server)?;
        match Connection::on(socket, target) {
            Ok(connection) => Ok(Connection {
                _program: Some(program),
                ..connection
            }),
            Err(e) => Err(via.blame(&mut program, &target.server, e)),
        }
    }

    /// The same on a socket.
    fn on(socket: TcpStream, target: &Target) -> Result<Connection> {
        let mut link = link(socket, Instant::now() + target.timeout)?;
        let ticket = target.cancel.follow(link.socket())?;
        let (key, alpn) = match &target.transport {
            Transport::Tcp(key) => (Some(key), None),
            Transport::Tls(tls, key) => {
                let alpn = tls.connect(&mut link, host(&target.server), &ALPN);
                let alpn = alpn.map_err(|e| hello_error(e, &target.server))?;
                (key.as_ref(), alpn)
            }
        };
        link.expect_transfers();
        let wire = Wire::on(link, alpn.as_deref());
        let mut connection = Connection {
            wire,
            body: Vec::new(),
            lacks: Vec::new(),
            extension: Extension::default(),
            _ticket: Some(ticket),
            _program: None,
        };
        connection.shake_hands(target, key)?;
        connection
            .wire
            .set_deadline(None)
            .map_err(|e| ClientError::Lost(e.into()))?;
        Ok(connection)
    }

    /// A session on a wire whose server waits for a request.
    #[must_use]
    pub fn from_wire(wire: Wire) -> Connection {
        Connection {
            wire,
            body: Vec::new(),
            lacks: Vec::new(),
            extension: Extension::default(),
            _ticket: None,
            _program: None,
        }
    }

    fn shake_hands(&mut self, target: &Target, key: Option<&PublicKey>) -> Result<()> {
        self.wire.write_message_later(target.version.as_bytes());
        let session = match (self.wire.is_plain_in_tls(), key) {
            (true, _) => None,
            (false, None) => return Err(ClientError::NoKey),
            (false, Some(key)) => Some((key, self.send_session_key(key)?)),
        };
        self.wire
            .write_message(target.hash.as_bytes())
            .map_err(ClientError::Handshake)?;
        self.expect_ok(Status::IncompatibleProtocol, || {
            ClientError::Version(target.version.clone())
        })?;
        if let Some((key, session_key)) = session {
            self.expect_ok(Status::BadKey, || ClientError::WrongKey(key.fingerprint()))?;
            self.wire.encipher_receiving(&*session_key);
        }
        self.expect_ok(Status::InvalidHash, || ClientError::Hash)
    }

    /// Makes a session key, sends it for the owner of `key`, and enciphers what
    /// is sent next.
    fn send_session_key(&mut self, key: &PublicKey) -> Result<Zeroizing<[u8; KEY_LENGTH]>> {
        let mut session_key = Zeroizing::new([0; KEY_LENGTH]);
        getrandom::fill(&mut *session_key)
            .map_err(|e| ClientError::Lost(WireError::Io(std::io::Error::other(e))))?;
        let mut block = vec![0; key.0.size() as usize];
        key.0
            .public_encrypt(&*session_key, &mut block, Padding::PKCS1_OAEP)
            .map_err(|_| ClientError::WrongKey(key.fingerprint()))?;
        self.wire.write_message_later(&block);
        self.wire.encipher_sending(&*session_key);
        Ok(session_key)
    }

    /// Takes one reply of the handshake.
    fn expect_ok(&mut self, refusal: Status, error: impl Fn() -> ClientError) -> Result<()> {
        let read = self.wire.read_message(&mut self.body);
        match read {
            Ok(()) if self.body == b"OK" => Ok(()),
            Ok(()) if self.body == Reply::from(refusal).into_bytes() => Err(error()),
            Ok(()) => Err(ClientError::Odd {
                request: HANDSHAKE.to_owned(),
                reply: quoted(&self.body),
            }),
            Err(e) => Err(ClientError::Handshake(e)),
        }
    }

    /// Whether TLS is around the session.
    #[must_use]
    pub fn is_over_tls(&self) -> bool {
        self.wire.is_over_tls()
    }

    /// The address of the server.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn peer(&self) -> Result<SocketAddr> {
        self.wire
            .socket()
            .peer_addr()
            .map_err(|e| ClientError::Lost(e.into()))
    }

    /// The connection itself, for requests this library has no method for.
    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// Whether the server is known to have ended the session, or the way to it
    /// to be cut.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        let lost = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        let mut fds = [PollFd::new(self.wire.socket(), lost)];
        matches!(poll(&mut fds, Some(&Timespec::default())), Ok(n) if n > 0)
    }

    /// The socket beneath it, for its options.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        self.wire.socket()
    }

    /// The connection itself.
    #[must_use]
    pub fn into_wire(self) -> Wire {
        self.wire
    }

    /// Sends a request and returns the reply as it is.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn request(&mut self, request: &[u8]) -> Result<Vec<u8>> {
        self.wire.write_message(request)?;
        self.wire.read_message(&mut self.body)?;
        Ok(self.body.clone())
    }

    /// Sends a request and returns the data after `OK`.
    ///
    /// # Errors
    /// `Refused` or `Odd` for any other reply, or the connection is lost.
    pub fn command(&mut self, request: &str) -> Result<Vec<u8>> {
        let reply = self.request(request.as_bytes())?;
        let data = ok_data(request, &reply).map(<[u8]>::to_vec);
        data.or_else(|e| Err(self.explained(e)?))
    }

    /// The failure of the last request, with what the server has no room for
    /// where it may be that and the server says it (TFD_WHY).
    ///
    /// # Errors
    /// When the connection is lost.
    pub(super) fn explained(&mut self, failure: ClientError) -> Result<ClientError> {
        let path = match &failure {
            ClientError::Cancelled { path } => path.clone(),
            ClientError::Refused {
                request,
                status:
                    Status::QuotaExceeded | Status::Copy | Status::TreeCopy | Status::FileCreation,
            } => request
                .split_once(' ')
                .map_or("", |(_, path)| path)
                .to_owned(),
            _ => return Ok(failure),
        };
        let reply = self.request(b"TFD_WHY")?;
        Ok(match reply.strip_prefix(b"OK ") {
            Some(why) => ClientError::NoRoom {
                path,
                why: quoted(why),
            },
            None => failure,
        })
    }

    /// Ends the session (document, "END").
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn end(mut self) -> Result<()> {
        self.wire.write_message(b"END")?;
        self.wire.link().close();
        Ok(())
    }
}

/// The first address of `host:port`.
///
/// # Errors
/// `Resolve` when it has none.
pub fn resolve(server: &str) -> Result<SocketAddr> {
    addresses(server)?
        .next()
        .ok_or_else(|| ClientError::Resolve {
            server: server.to_owned(),
            source: std::io::ErrorKind::NotFound.into(),
        })
}

pub(super) fn link(socket: TcpStream, deadline: Instant) -> Result<Link> {
    Link::new(socket)
        .and_then(|mut link| {
            link.set_deadline(Some(deadline))?;
            Ok(link)
        })
        .map_err(|e| ClientError::Lost(e.into()))
}

/// The machine in `host:port`, as its certificate names it.
pub(super) fn host(server: &str) -> &str {
    let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

pub(super) fn hello_error(e: HelloError, server: &str) -> ClientError {
    match e {
        HelloError::Link(LinkError::Closed) => ClientError::TlsClosed {
            server: server.to_owned(),
        },
        HelloError::Link(e) => ClientError::Handshake(e.into()),
        HelloError::NotPinned => ClientError::NotPinned {
            server: server.to_owned(),
        },
        HelloError::Refused(why) => ClientError::Tls {
            server: server.to_owned(),
            why,
        },
    }
}

/// The certificate that a server shows over TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// SHA-256 of its public key in DER, base64 without padding: a pin.
    pub fingerprint: String,
    /// The subject it names, as `CN = files.example.org`.
    pub subject: String,
    /// When it expires, as OpenSSL writes it.
    pub expires: String,
}

/// Connects with TLS and returns the certificate that the server shows. It is
/// not verified: have its fingerprint confirmed by the server's operator.
///
/// # Errors
/// `Resolve`, `Connect`, `Tls`, or the connection is lost.
pub fn fetch_certificate(server: &str, timeout: Duration) -> Result<Certificate> {
    fetch_certificate_via(server, None, timeout)
}

/// The same through another machine.
///
/// # Errors
/// As [`fetch_certificate`].
pub fn fetch_certificate_via(
    server: &str,
    via: Option<&Via>,
    timeout: Duration,
) -> Result<Certificate> {
    let (mut link, program) = bare_link(server, via, timeout)?;
    let shown = shown_certificate(&mut link, server);
    match (via, program) {
        (Some(via), Some(mut program)) => shown.map_err(|e| via.blame(&mut program, server, e)),
        _ => shown,
    }
}

/// A link without a session, and the program behind it.
fn bare_link(
    server: &str,
    via: Option<&Via>,
    timeout: Duration,
) -> Result<(Link, Option<Program>)> {
    let (program, socket) = match via {
        Some(via) => via
            .reach(server)
            .map(|(program, socket)| (Some(program), socket))?,
        None => (None, reach(server, timeout, &Cancel::default())?),
    };
    Ok((link(socket, Instant::now() + timeout)?, program))
}

fn shown_certificate(link: &mut Link, server: &str) -> Result<Certificate> {
    let chain = tls::client::look(link, host(server), &both_protocols())
        .map_err(|e| hello_error(e, server))?;
    let shown = chain.first().and_then(|first| {
        let (subject, expires) = tls::certificate::describe(first)?;
        Some(Certificate {
            fingerprint: tls::certificate::fingerprint(first)?,
            subject,
            expires,
        })
    });
    let why = || "its certificate is damaged".to_owned();
    shown.ok_or_else(|| ClientError::Tls {
        server: server.to_owned(),
        why: why(),
    })
}

/// Connects with TLS and makes sure that the server's certificate is trusted. Does
/// not log in.
///
/// # Errors
/// `Resolve`, `Connect`, `Tls`, `NotPinned`, or the connection is lost.
pub fn check_certificate(
    server: &str,
    tls: &Tls,
    via: Option<&Via>,
    timeout: Duration,
) -> Result<()> {
    let (mut link, _program) = bare_link(server, via, timeout)?;
    tls.connect(&mut link, host(server), &both_protocols())
        .map_err(|e| hello_error(e, server))?;
    link.close();
    Ok(())
}

/// What a server may be asked for that serves one protocol or another.
fn both_protocols() -> Vec<&'static [u8]> {
    ALPN.into_iter()
        .chain(bbftp::ALPN)
        .chain([vault::own::ALPN])
        .collect()
}

/// The data after `OK` in a reply.
///
/// # Errors
/// `Refused` or `Odd` for any other reply.
pub(super) fn ok_data<'a>(request: &str, reply: &'a [u8]) -> Result<&'a [u8]> {
    match reply.strip_prefix(b"OK") {
        Some(b"") => Ok(b""),
        Some([b' ', data @ ..]) => Ok(data),
        _ => Err(refusal(request, reply)),
    }
}

/// The error in a reply that is not `OK`: `Refused`, or `Odd`.
#[must_use]
pub fn refusal(request: &str, reply: &[u8]) -> ClientError {
    let request = request.escape_debug().to_string();
    let text = String::from_utf8_lossy(&reply[..reply.len().min(LONGEST_QUOTE)]);
    let code = text
        .strip_prefix("FAILED ")
        .and_then(|rest| rest.split([' ', ':']).next());
    match code
        .and_then(|code| code.parse().ok())
        .and_then(Status::from_code)
    {
        Some(status) => match text.split_once(REASON) {
            Some((_, why)) if matches!(status, Status::LoginFailed | Status::BeforeLogin) => {
                let why = why.trim_end_matches('.').escape_debug().to_string();
                ClientError::NotLetIn {
                    request,
                    status,
                    why,
                }
            }
            _ => ClientError::Refused { request, status },
        },
        None => ClientError::Odd {
            request,
            reply: quoted(reply),
        },
    }
}

/// The beginning of a reply, escaped: a server may send anything, at any
/// length.
fn quoted(reply: &[u8]) -> String {
    let begin = &reply[..reply.len().min(LONGEST_QUOTE)];
    let rest = if begin.len() < reply.len() { "..." } else { "" };
    format!("{}{rest}", begin.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_in_both_spacings() {
        assert_eq!(ok_data("X", b"OK").expect("ok"), b"");
        assert_eq!(ok_data("X", b"OK a b").expect("ok"), b"a b");
        for reply in [
            "FAILED 9 : File does not exist.",
            "FAILED 9: File does not exist.",
        ] {
            let error = ok_data("X", reply.as_bytes()).expect_err("failed");
            assert_eq!(error.status(), Some(Status::FileMissing), "{reply}");
        }
        for reply in ["", "UNKNOWN", "OKAY", "FAILED ", "FAILED 99 : x"] {
            let error = ok_data("X", reply.as_bytes()).expect_err("failed");
            assert!(matches!(error, ClientError::Odd { .. }), "{reply}");
        }
    }
}
