//! From a target to a session: connection, login, version.

use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use super::error::{CONNECT, Error, Fate, HOST, INTERRUPTED, KEY, NO_GREETING, Result, VERSIONS};
use super::login::log_in;
use super::observe::{Event, Observer};
use super::session::{Ends, Session};
use super::target::{Target, Transport};
use crate::bbftp::ALPN;
use crate::bbftp::stream::sealed::LABEL;
use crate::bbftp::wire::{Code, Control, MAX_TEXT, Versions};
use crate::client::ClientError;
use crate::client::cancel::{addresses, notice_silence, reach};
use crate::net::Link;
use crate::net::tls::client::HelloError;

impl Session {
    /// Connects to the first address of the server that answers, logs in, and
    /// finds out which version to speak.
    ///
    /// # Errors
    /// Which step failed.
    pub fn open(target: &Target, observer: &dyn Observer) -> Result<Session> {
        match &target.transport {
            Transport::Command(arguments) => Session::open_by_command(target, arguments),
            _ => Session::open_by_socket(target, observer),
        }
    }

    fn open_by_socket(target: &Target, observer: &dyn Observer) -> Result<Session> {
        let socket = reach_server(target, observer)?;
        let io = |e: std::io::Error| Error::new(CONNECT, Fate::Reconnect, e.to_string());
        let ends = Ends {
            ours: socket.local_addr().map_err(io)?.ip(),
            theirs: socket.peer_addr().map_err(io)?.ip(),
        };
        let _ = notice_silence(&socket, target.limits.receive);
        let mut link = Link::new(socket).map_err(io)?;
        let ticket = target.cancel.follow(link.socket());
        let ticket = ticket.map_err(|_| interrupted())?;
        let deadline = Instant::now() + target.limits.receive;
        link.set_deadline(Some(deadline)).map_err(io)?;
        if let Transport::Tls(tls) = &target.transport {
            link.export_as(LABEL);
            tls.connect(&mut link, &target.host, &ALPN)
                .map_err(|e| no_tls(target, &e))?;
        }
        let mut session = Session {
            control: Control::new(link),
            target: target.clone(),
            ends,
            version: 0,
            text: Vec::new(),
            remote: None,
            transfers: 0,
            has_answered: false,
            is_spent: false,
            _ticket: Some(ticket),
        };
        let Some((user, password)) = &target.login else {
            return Err(Error::new(18, Fate::End, "No user name"));
        };
        session.text =
            log_in(&mut session.control, user, password).map_err(|e| session.or_interrupted(e))?;
        session.choose_version()
    }

    fn open_by_command(target: &Target, arguments: &[std::ffi::OsString]) -> Result<Session> {
        let (remote, link) = super::remote::start(arguments)?;
        let ticket = target.cancel.follow(link.socket());
        let ticket = ticket.map_err(|_| interrupted())?;
        let mut control = Control::new(link);
        let ends = super::remote::exchange_addresses(&mut control, target)?;
        let session = Session {
            control,
            target: target.clone(),
            ends,
            version: 0,
            text: Vec::new(),
            remote: Some(remote),
            transfers: 0,
            has_answered: false,
            is_spent: false,
            _ticket: Some(ticket),
        };
        let mut session = session.choose_version()?;
        if session.version == 3 && super::remote::names_tfd(arguments) {
            session.ask_offer()?;
        }
        Ok(session)
    }

    /// Finds out which version to speak.
    fn choose_version(mut self) -> Result<Session> {
        let io = |e: std::io::Error| Error::new(NO_GREETING, Fate::Reconnect, e.to_string());
        let link = self.control.link();
        link.set_deadline(None).map_err(io)?;
        link.set_idle_limit(Some(self.target.limits.receive))
            .map_err(io)?;
        self.version = match *self.target.versions.end() {
            0 => return Err(self.incompatible(None)),
            1 => 1,
            _ => self.ask_versions()?,
        };
        Ok(self)
    }

    /// Asks for what a login says. No other server than tfd knows the question, and
    /// the public one ends at it.
    fn ask_offer(&mut self) -> Result<()> {
        match self.ask(Code::Offer, &[], (Code::Ok, MAX_TEXT)) {
            Ok(text) => self.text = text,
            Err(e) if e.ends_connection() => return Err(e),
            Err(_) => {}
        }
        Ok(())
    }

    /// Asks for the versions of the server; one that does not know the question
    /// speaks version 1.
    fn ask_versions(&mut self) -> Result<u32> {
        self.send(Code::Prot, &[])?;
        let versions = match self.answer(&()) {
            Ok(header) if header.code == Code::ProtAns.number() => {
                let payload = self.payload(&header, 8)?;
                Versions::decode(&payload).map_err(|e| self.reading(&e))?
            }
            Ok(header) => return Err(Error::unknown(header.code)),
            Err(e) if e.ends_connection() => return Err(e),
            Err(_) if self.target.versions.contains(&1) => return Ok(1),
            Err(_) => return Err(self.incompatible(Some(Versions { min: 1, max: 1 }))),
        };
        let ours = self.target.versions.clone();
        let chosen = versions.max.min(*ours.end());
        if chosen < versions.min.max(*ours.start()) {
            let _ = self.control.send(Code::BadNoRetry, &[]);
            return Err(self.incompatible(Some(versions)));
        }
        self.send(Code::ProtAns, &chosen.to_be_bytes())?;
        Ok(chosen)
    }

    fn incompatible(&self, theirs: Option<Versions>) -> Error {
        let ours = &self.target.versions;
        let theirs = theirs.map_or(String::new(), |v| {
            format!("remote protocol version ({},{}), ", v.min, v.max)
        });
        let text = format!(
            "Incompatible server and client ({theirs}local ({},{}))",
            ours.start(),
            ours.end()
        );
        Error::new(VERSIONS, Fate::End, text)
    }
}

/// A socket to the first address of the server that answers.
pub(super) fn reach_server(target: &Target, observer: &dyn Observer) -> Result<TcpStream> {
    let Target { host, port, .. } = target;
    let name = match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    };
    let unknown = |e: ClientError| Error::new(HOST, Fate::End, e.to_string());
    let mut last = Error::new(HOST, Fate::End, format!("{host} has no address"));
    for address in addresses(&name).map_err(unknown)? {
        observer.notify(&Event::Trying(address));
        match reach_address(address, target) {
            Ok(socket) => return Ok(socket),
            Err(e) => last = e,
        }
        if last.fate == Fate::End {
            break;
        }
    }
    Err(last)
}

pub(super) fn reach_address(address: SocketAddr, target: &Target) -> Result<TcpStream> {
    let reached = reach(&address.to_string(), target.limits.connect, &target.cancel);
    reached.map_err(|e| match e {
        ClientError::Interrupted => interrupted(),
        e => Error::new(CONNECT, Fate::Reconnect, e.to_string()),
    })
}

fn interrupted() -> Error {
    Error::new(INTERRUPTED, Fate::End, "Interrupted")
}

fn no_tls(target: &Target, e: &HelloError) -> Error {
    let fate = match e {
        HelloError::Link(_) => Fate::Reconnect,
        _ => Fate::End,
    };
    Error::new(KEY, fate, format!("No TLS with {}: {e}", target.host))
}
