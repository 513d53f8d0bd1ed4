//! BBFTP's gate: the handshake of TLS where that is spoken, the greeting with a
//! key that the keeper has made, and the login. It holds no key and reaches no
//! file.

use std::borrow::Cow;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::ALPN;
use super::stream::sealed::LABEL;
use super::wire::{Code, Control, Greeting, LOGIN_BYTES, Login, WireError};
use crate::config::PasswordLogins;
use crate::ipc::codec::{Encode, codec};
use crate::net::Link;
use crate::net::link::LinkState;
use crate::net::tls::server::HelloError;
use crate::session::context::End;
use crate::session::keeper::{Keeper, LOGIN_EXPONENT};
use crate::session::login::{self, HandOver, Verdict, Why};
use crate::session::protocol::Gate;

/// What the client reads who has to come over TLS.
const TLS_ONLY: &[u8] = b"this server takes passwords over TLS only: use bbftp of tfd with --tls";

/// What every client reads whose name and password don't fit, whatever the
/// reason.
const WRONG: &[u8] = b"Incorrect password";

/// How long it waits for that beyond the check.
const PENALTY: Duration = Duration::from_secs(1);

/// What gates follow of the configuration.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Where passwords are accepted.
    pub password_logins: PasswordLogins,
    /// The versions that are spoken.
    pub versions: Vec<u32>,
}

/// Why a client did not pass.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The client has been told this.
    #[error("{}", String::from_utf8_lossy(.0))]
    Answered(Cow<'static, [u8]>),
    /// The client asked for the server's status, and got it.
    #[error("status asked for")]
    Left,
    /// The connection ended or broke a rule of the wire.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The handshake of TLS came to nothing.
    #[error("{0}")]
    Tls(String),
    /// The keeper or the system failed.
    #[error("internal: {0}")]
    Internal(#[from] io::Error),
}

impl From<HelloError> for Refusal {
    fn from(e: HelloError) -> Refusal {
        match e {
            HelloError::Link(e) => Refusal::Wire(e.into()),
            HelloError::Refused(text) => Refusal::Tls(text),
        }
    }
}

/// The state that a gate hands over.
struct State {
    link: LinkState,
}

codec!(struct State { link });

/// Most states are no longer.
const USUAL_STATE_BYTES: usize = 1024;

impl State {
    fn of(control: &mut Control) -> Option<Zeroizing<Vec<u8>>> {
        let link = control.link().state()?;
        let state = State { link };
        let mut out = crate::ipc::codec::Writer::default();
        // Memory that grows would leave copies behind that nobody wipes.
        out.bytes.reserve(USUAL_STATE_BYTES);
        state.encode(&mut out);
        Some(out.bytes)
    }
}

/// The control connection that a gate has handed over.
///
/// # Errors
/// `InvalidData` for bytes that are not a state, or the system's.
pub fn take_over(socket: TcpStream, state: &[u8]) -> io::Result<Control> {
    use crate::ipc::codec::Decode;
    let state = State::from_bytes(state).ok_or(io::ErrorKind::InvalidData)?;
    Link::from_state(socket, &state.link).map(Control::new)
}

/// Takes a client through TLS, where its listener speaks that, and the login.
/// Its session answers the login.
///
/// # Errors
/// Why it did not pass; it has been told where the protocol has a word for it.
pub fn admit(gate: Gate<'_>, rules: &Rules) -> Result<(), Refusal> {
    let keeper = Arc::new(gate.keeper);
    let mut link = Link::new(gate.socket)?;
    link.count_on(gate.meter);
    link.set_deadline(Some(gate.deadline))?;
    link.stop_on(&crate::sys::signal::STOP);
    let proof = match gate.tls {
        Some(tls) => {
            link.export_as(LABEL);
            tls.accept(&mut link, Arc::clone(&keeper) as _, &ALPN)?
                .proof
        }
        None => None,
    };
    let mut control = Control::new(link);
    let modulus = keeper.login_key()?;
    let modulus = modulus.ok_or_else(|| io::Error::other("the keeper has no key"))?;
    let greeting = Greeting {
        modulus,
        exponent: LOGIN_EXPONENT.to_vec(),
    };
    control.send(Code::Crypt, &greeting.encode())?;
    let login = read_login(&mut control, rules)?;
    // What can't be decrypted takes as long as a wrong password.
    let who = name_and_password(&mut control, &keeper, login, rules)?.unwrap_or_default();
    let channel = keeper.enter()?;
    let channel = channel.ok_or_else(|| io::Error::other("the keeper lets nobody in"))?;
    let login = login::Login::new(channel, gate.steps, proof);
    match try_login(&mut control, login, &who)? {
        Ok(()) => Ok(()),
        Err(Why::TooMany) => Err(refuse(
            &mut control,
            Code::Bad,
            b"Too many sessions of this user",
        )),
        Err(Why::Internal) => Err(refuse(&mut control, Code::Bad, b"Internal error")),
        Err(why) => {
            std::thread::sleep(PENALTY);
            let reason = why.reason().map(|why| format!("Login refused: {why}"));
            let text = reason.map_or(Cow::Borrowed(WRONG), |text| text.into_bytes().into());
            Err(refuse(&mut control, Code::BadNoRetry, text))
        }
    }
}

/// Reads messages up to a login, and answers those before it.
fn read_login(control: &mut Control, rules: &Rules) -> Result<Login, Refusal> {
    loop {
        let header = control.read_header()?;
        match Code::try_from(header.code) {
            Ok(Code::Log) if header.len as usize == LOGIN_BYTES => {
                let payload = Zeroizing::new(control.read_payload(&header, LOGIN_BYTES)?);
                let login = Login::decode(&payload);
                return login.map_err(|_| {
                    refuse(
                        control,
                        Code::BadNoRetry,
                        b"Login not understood: unknown encryption",
                    )
                });
            }
            // This announces a payload that nobody sends.
            Ok(Code::Crypt) if control.link().is_over_tls() => {
                control.send(Code::Ok, b"Uncrypted login dialog accepted")?;
            }
            Ok(Code::Crypt) => {
                let text = b"The server requires encrypted login";
                return Err(refuse(control, Code::BadNoRetry, text));
            }
            // So does this.
            Ok(Code::ServerStatus) => {
                control.send(Code::Ok, status(rules).as_bytes())?;
                control.link().close_slowly();
                return Err(Refusal::Left);
            }
            Ok(Code::PrivLog | Code::CertLog) => {
                let text = b"This server knows logins by name and password only";
                return Err(refuse(control, Code::BadNoRetry, text));
            }
            known => {
                control.discard(header.len)?;
                let text: &[u8] = match known {
                    Ok(Code::Log) => b"Incorrect length for MSG_LOG command",
                    _ => b"Unknown message in connected state",
                };
                return Err(refuse(control, Code::BadNoRetry, text));
            }
        }
    }
}

/// What anybody may know.
fn status(rules: &Rules) -> String {
    let versions = rules.versions.iter().map(ToString::to_string);
    let versions = versions.collect::<Vec<_>>().join(" ");
    let logins = match rules.password_logins {
        PasswordLogins::Rsa => "encrypted by RSA, or inside TLS",
        PasswordLogins::Tls => "inside TLS",
    };
    format!("tfd\nProtocol versions: {versions}\nPasswords: {logins}\n")
}

/// Whom a client says it is.
#[derive(Default)]
struct Who {
    user: Zeroizing<Vec<u8>>,
    password: Zeroizing<Vec<u8>>,
    /// Whether it has left both out, for its certificate to say it.
    is_by_certificate: bool,
}

/// Name and password of a login; `None` where they can't be decrypted.
fn name_and_password(
    control: &mut Control,
    keeper: &Keeper,
    login: Login,
    rules: &Rules,
) -> Result<Option<Who>, Refusal> {
    let is_over_tls = control.link().is_over_tls();
    if !is_over_tls && rules.password_logins == PasswordLogins::Tls {
        return Err(refuse(control, Code::BadNoRetry, TLS_ONLY));
    }
    let (user, password) = match login {
        Login::Clear { .. } if !is_over_tls => {
            let text = b"The server requires encrypted login";
            return Err(refuse(control, Code::BadNoRetry, text));
        }
        Login::Clear { user, password } => {
            let is_by_certificate = user.is_empty() && password.is_empty();
            return Ok(Some(Who {
                user: user.into(),
                password,
                is_by_certificate,
            }));
        }
        Login::Encrypted { user, password } => (user, password),
    };
    let (user, password) = (
        keeper.decrypt_login(&user)?,
        keeper.decrypt_login(&password)?,
    );
    Ok(user.zip(password).map(|(user, password)| Who {
        user,
        password,
        is_by_certificate: false,
    }))
}

/// Asks whether the client may begin, with what its session goes on with.
fn try_login(control: &mut Control, mut login: login::Login, who: &Who) -> io::Result<Verdict> {
    let state = State::of(control).ok_or(io::ErrorKind::InvalidInput)?;
    let next = Some(HandOver {
        socket: std::os::fd::AsFd::as_fd(control.link().socket()),
        state: &state,
    });
    if who.is_by_certificate
        && let Some(verdict) = login.certificate(next)?
    {
        return Ok(verdict);
    }
    login.password(&who.user, &who.password, next)
}

/// Sends the client the reason and closes so that it can read it.
fn refuse(control: &mut Control, code: Code, text: impl Into<Cow<'static, [u8]>>) -> Refusal {
    let text = text.into();
    if let Err(e) = control.send(code, &text) {
        return e.into();
    }
    control.link().close_slowly();
    Refusal::Answered(text)
}

/// One log line on a client that did not pass.
pub fn log_refusal(peer: std::net::SocketAddr, refusal: &Refusal) {
    match refusal {
        Refusal::Left | Refusal::Wire(WireError::Closed | WireError::Stopped) => {
            log::debug!(peer:%, stage:% = "handshake"; "left");
        }
        Refusal::Internal(e) => log::error!(peer:%, error:% = e; "gate failed"),
        _ => log::warn!(peer:%, stage:% = "handshake", reason:% = refusal; "refused"),
    }
}

impl From<Result<(), WireError>> for End {
    fn from(ended: Result<(), WireError>) -> End {
        match ended {
            Ok(()) => End::Orderly("CLOSE_CONN".to_owned()),
            Err(e @ (WireError::Closed | WireError::Stopped)) => End::Orderly(e.to_string()),
            Err(e) => End::Failed(e.to_string()),
        }
    }
}
