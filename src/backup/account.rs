//! An account at a hub: where the hub is, who it is, and who the owner is there.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::{BackupError, Result};
use crate::hub::peer::holder_key::is_address;
use crate::hub::wire::{Factor, Label, User, Value};
use crate::net::Link;
use crate::net::tls::certificate::fingerprint;
use crate::net::tls::client::{Tls, Trust, look};
use crate::text::reason;

/// The port of a hub.
const PORT: u16 = 7170;

/// Stands for the fingerprint of a hub that was gone.
const UNSEEN: &str = "unseen";

/// How long an address may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a hub is, and by which key one knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entrance {
    /// `HOST:PORT`.
    pub(crate) address: String,
    /// `SHA256:` and the digest of its certificate's key.
    pub(crate) pin: String,
}

impl Entrance {
    /// `HOST[:PORT]` as `HOST:PORT`.
    pub(crate) fn address(text: &str) -> Result<String> {
        let with_port = format!("{text}:{PORT}");
        let is_bare = text.ends_with(']') || !text.contains(':');
        let address = if is_bare { with_port } else { text.to_owned() };
        match is_address(&address) {
            true => Ok(address),
            false => Err(BackupError::Failed(format!("{text}: not HOST[:PORT]"))),
        }
    }

    /// Looks which key the hub at an address shows.
    pub(crate) fn look(address: String) -> Result<Entrance> {
        let shown = first_certificate(&address, crate::hub::peer::HUB_ALPN)?;
        let none = || BackupError::NoHub(format!("{address}: its certificate has no key"));
        let pin = fingerprint(&shown).ok_or_else(none)?;
        Ok(Entrance {
            address,
            pin: format!("SHA256:{pin}"),
        })
    }

    /// Where it is now.
    pub(super) fn addresses(&self) -> Result<Vec<SocketAddr>> {
        resolve(&self.address)
    }

    /// Its name in the handshake.
    pub(super) fn host(&self) -> &str {
        host(&self.address)
    }

    /// One that nobody has looked at: its hub is gone.
    pub(crate) fn unseen(address: String, pin: Option<String>) -> Entrance {
        Entrance {
            address,
            pin: pin.unwrap_or_else(|| UNSEEN.to_owned()),
        }
    }

    pub(super) fn tls(&self) -> Result<Tls> {
        if self.pin == UNSEEN {
            let address = &self.address;
            let text = format!(
                "{address}: its key was not looked at when this key file was made: tf hub recover"
            );
            return Err(BackupError::NoHub(text));
        }
        Tls::new(&Trust::Pin(self.pin.clone()), None)
            .map_err(|why| BackupError::Failed(format!("the key of {}: {why}", self.address)))
    }
}

fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// The certificate that is shown at `HOST:PORT`, in DER.
pub(super) fn first_certificate(address: &str, alpn: &[u8]) -> Result<Vec<u8>> {
    let failed = |why: String| BackupError::NoHub(format!("{address}: {why}"));
    let mut socket = Err(failed("no address".to_owned()));
    for one in resolve(address)? {
        socket = TcpStream::connect_timeout(&one, PATIENCE).map_err(|e| failed(reason(&e)));
        if socket.is_ok() {
            break;
        }
    }
    shown_over(socket?, host(address), alpn).map_err(failed)
}

/// The certificate that the other end of a connection shows, in DER, or why it shows none.
pub(super) fn shown_over(
    socket: TcpStream,
    host: &str,
    alpn: &[u8],
) -> std::result::Result<Vec<u8>, String> {
    let mut link = Link::new(socket).map_err(|e| reason(&e))?;
    let until = Instant::now() + PATIENCE;
    link.set_deadline(Some(until)).map_err(|e| reason(&e))?;
    let shown = look(&mut link, host, &[alpn]);
    let mut shown = shown.map_err(|e| e.to_string())?;
    match shown.is_empty() {
        true => Err("no certificate".to_owned()),
        false => Ok(shown.swap_remove(0)),
    }
}

/// The addresses of `HOST:PORT`.
pub(super) fn resolve(address: &str) -> Result<Vec<SocketAddr>> {
    let found = address.to_socket_addrs();
    let found = found.map_err(|e| BackupError::NoHub(format!("{address}: {}", reason(&e))))?;
    Ok(found.collect())
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// Where the hub is.
    pub(crate) entrance: Entrance,
    /// What it calls itself.
    pub(crate) hub: Label,
    /// The owner's name there.
    pub(crate) user: User,
    /// How many copies each file is to have.
    pub(crate) factor: Factor,
}

impl Account {
    /// The one at a hub that is gone; its name is as good as its address.
    pub(crate) fn unseen(entrance: Entrance, user: User, factor: Factor) -> Result<Account> {
        let name = Label::read(entrance.host());
        let wrong = || BackupError::Failed(format!("{}: no name of a hub", entrance.address));
        Ok(Account {
            hub: name.ok_or_else(wrong)?,
            entrance,
            user,
            factor,
        })
    }

    /// What the hub calls itself.
    pub(crate) fn hub(&self) -> &str {
        self.hub.as_str()
    }

    /// The owner's name there.
    pub(crate) fn user(&self) -> &str {
        self.user.as_str()
    }

    /// How many copies each file is to have.
    pub(crate) fn copies(&self) -> u8 {
        self.factor.get()
    }

    /// Its lines in a key file.
    pub(super) fn text(&self) -> String {
        let Entrance { address, pin } = &self.entrance;
        let (hub, user) = (self.hub.as_str(), self.user.as_str());
        let factor = self.factor.get();
        format!("hub {address} {hub}\npin {pin}\nuser {user}\nfactor {factor}\n")
    }

    /// The one of these lines.
    pub(super) fn parse(lines: &[(&str, &str)]) -> Option<Account> {
        let [
            ("hub", hub),
            ("pin", pin),
            ("user", user),
            ("factor", factor),
        ] = lines
        else {
            return None;
        };
        let (address, hub) = hub.split_once(' ')?;
        Some(Account {
            entrance: Entrance {
                address: Some(address).filter(|it| is_address(it))?.to_owned(),
                pin: (*pin).to_owned(),
            },
            hub: Label::read(hub)?,
            user: User::read(user)?,
            factor: Factor::read(factor)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_port() {
        for (given, address, host_of) in [
            ("hub.example.org", "hub.example.org:7170", "hub.example.org"),
            ("192.0.2.1:70", "192.0.2.1:70", "192.0.2.1"),
            ("[2001:db8::1]", "[2001:db8::1]:7170", "2001:db8::1"),
        ] {
            let found = Entrance::address(given).expect(given);
            assert_eq!((found.as_str(), host(&found)), (address, host_of));
        }
        for wrong in ["", "a b", "host:0", "host:x"] {
            assert!(Entrance::address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_account_is_written_as_it_is_read() {
        let lines = [
            ("hub", "hub.example.org:7170 hub.example.org"),
            ("pin", "SHA256:AAAA"),
            ("user", "anna"),
            ("factor", "2"),
        ];
        let account = Account::parse(&lines).expect("account");
        let text: String = lines
            .map(|(name, value)| format!("{name} {value}\n"))
            .concat();
        assert_eq!(account.text(), text);
        assert_eq!(Account::parse(&lines[1..]), None);
    }
}
