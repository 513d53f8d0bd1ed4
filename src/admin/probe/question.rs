//! What `tfd probe` asks a server of each protocol: as a client does, up to the first
//! answer that needs no secret. It never sends one, and takes leave so that the server
//! does not log a failure.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::bbftp;
use crate::bbftp::wire::{Code, Control};
use crate::client::{Answer, Question};
use crate::config::Protocol;
use crate::hub::{gate, peer};
use crate::net::tls::Alpn;
use crate::net::tls::client::{HelloError, Tls};
use crate::net::{Link, LinkError, proxy_header};
use crate::tf;
use crate::tf::wire::Wire;
use crate::vault;
use crate::vault::own;
use crate::vault::wire::{Connection, Format};

/// The longest packet of a vault that is read, and the longest message of its own
/// dialect.
const LONGEST_PACKET: usize = 64 * 1024;

/// Which question, to which port.
pub(super) struct Port {
    /// What it speaks.
    pub protocol: Protocol,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Its name in the handshake of TLS.
    pub host: String,
    /// The version string that a server of TF Protocol has.
    pub version: String,
    /// Whether it answers by UDP, too.
    pub udp: bool,
}

impl Port {
    /// Asks the server at this address; `introduces` says of our own address whether
    /// a connection from there begins with a PROXY header.
    ///
    /// # Errors
    /// Why it is not healthy.
    pub(super) fn ask(
        &self,
        address: SocketAddr,
        timeout: Duration,
        introduces: impl Fn(SocketAddr) -> bool,
    ) -> Result<(), String> {
        let deadline = Instant::now() + timeout;
        let no_answer = || format!("no answer within {} s", timeout.as_secs());
        let io = |e: io::Error| match e.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => no_answer(),
            _ => e.to_string(),
        };
        let mut socket = TcpStream::connect_timeout(&address, timeout).map_err(io)?;
        if introduces(socket.local_addr().map_err(io)?) {
            let header = proxy_header::encode_own();
            socket.write_all(&header).map_err(io)?;
        }
        let mut link = Link::new(socket).map_err(io)?;
        link.set_deadline(Some(deadline)).map_err(io)?;
        self.converse(link).map_err(|e| match e {
            Unwell::Late => no_answer(),
            Unwell::Because(text) => text,
        })?;
        if self.udp {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = left.max(Duration::from_millis(1));
            match Question::Host.ask(address, left).map_err(io)? {
                Answer::Yes(_) => {}
                Answer::No => return Err("by UDP it says that it is not ready".to_owned()),
                Answer::Silence => return Err(format!("by UDP {}", no_answer())),
            }
        }
        Ok(())
    }

    fn converse(&self, link: Link) -> Result<(), Unwell> {
        match self.protocol {
            Protocol::Tf => self.tf(link),
            Protocol::Bbftp => self.bbftp(link),
            Protocol::Vault if self.tls => self.own_vault(link),
            Protocol::Vault => old_vault(link),
            // Neither the relay nor version 1.0 says anything before the peer has.
            Protocol::Hub if !self.tls => Ok(()),
            Protocol::Hub => self.shake_hands_only(link, gate::ALPN),
            Protocol::Holder => self.shake_hands_only(link, peer::ALPN),
            #[cfg(feature = "testing")]
            Protocol::Echo => Ok(()),
        }
    }

    /// Speaks TLS where the port does: the application protocol.
    fn shake_hands(&self, link: &mut Link, alpn: Alpn<'_>) -> Result<Option<Vec<u8>>, Unwell> {
        if !self.tls {
            return Ok(None);
        }
        let tls = Tls::looking().map_err(Unwell::Because)?;
        Ok(tls.connect(link, &self.host, alpn)?)
    }

    /// The server's signature is its answer.
    fn shake_hands_only(&self, mut link: Link, alpn: &[u8]) -> Result<(), Unwell> {
        let chosen = self.shake_hands(&mut link, &[alpn])?;
        link.close();
        match chosen.as_deref() == Some(alpn) {
            true => Ok(()),
            false => Err(unexpected(self.protocol)),
        }
    }

    fn tf(&self, mut link: Link) -> Result<(), Unwell> {
        let alpn = self.shake_hands(&mut link, &tf::wire::ALPN)?;
        let mut wire = Wire::on(link, alpn.as_deref());
        wire.write_message(self.version.as_bytes())?;
        let mut reply = Vec::new();
        wire.read_message(&mut reply)?;
        wire.link().close();
        if reply == b"OK" {
            return Ok(());
        }
        Err(Unwell::Because(match reply.starts_with(b"FAILED") {
            true => format!("its version is not {}: see --tf-version", self.version),
            false => return Err(unexpected(self.protocol)),
        }))
    }

    fn bbftp(&self, mut link: Link) -> Result<(), Unwell> {
        self.shake_hands(&mut link, &bbftp::ALPN)?;
        let mut control = Control::new(link);
        let greeting = control.read_header()?;
        control.discard(greeting.len)?;
        control.link().close();
        match greeting.code == Code::Crypt.number() {
            true => Ok(()),
            false => Err(unexpected(self.protocol)),
        }
    }

    fn own_vault(&self, mut link: Link) -> Result<(), Unwell> {
        self.shake_hands(&mut link, &[own::ALPN])?;
        own::frame::send(&mut link, &own::message::Request::LogOut)?;
        let reply: own::message::Reply = own::frame::receive(&mut link, LONGEST_PACKET)?;
        link.close();
        match reply {
            own::message::Reply::Done => Ok(()),
            _ => Err(unexpected(self.protocol)),
        }
    }
}

fn old_vault(link: Link) -> Result<(), Unwell> {
    let mut connection = Connection::new(link, LONGEST_PACKET);
    connection.send_clear('U', &format!("INI{}", Format::Pem.name()))?;
    let (letter, text) = connection.packet()?;
    if letter != 'U' || !text.starts_with("KEY") {
        return Err(unexpected(Protocol::Vault));
    }
    Ok(connection.send_clear('U', "FIN")?)
}

fn unexpected(protocol: Protocol) -> Unwell {
    let section = protocol.section();
    Unwell::Because(format!("what answers does not speak {section}"))
}

/// Why a server is not healthy.
enum Unwell {
    /// It has not answered in time.
    Late,
    /// This.
    Because(String),
}

/// The causes that links, wires and frames report, of which one is time.
macro_rules! unwell {
    ($($late:pat => $error:ty,)*) => {$(
        impl From<$error> for Unwell {
            fn from(e: $error) -> Unwell {
                match e {
                    $late => Unwell::Late,
                    other => Unwell::Because(other.to_string()),
                }
            }
        }
    )*};
}

unwell! {
    LinkError::TimedOut => LinkError,
    HelloError::Link(LinkError::TimedOut) => HelloError,
    tf::wire::WireError::TimedOut => tf::wire::WireError,
    bbftp::wire::WireError::TimedOut => bbftp::wire::WireError,
    vault::wire::WireError::Link(LinkError::TimedOut) => vault::wire::WireError,
    own::frame::FrameError::Link(LinkError::TimedOut) => own::frame::FrameError,
}
