//! The account that a file is linked with: where it is, and the secrets of this
//! device. They are in the file's custom data, which is as secret as its entries.

use zeroize::Zeroizing;

use super::keys::{Key, random};
use super::shared::OWN;
use crate::client::vault::database::Database;
use crate::client::{Tls, Trust};
use crate::text::{hex, unhex};
use crate::vault::own::message::{Device, Id, Secret};

/// How a server is known.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    /// `host:port`.
    pub address: String,
    /// Whom its certificate is to be from.
    pub trust: Trust,
}

impl Server {
    /// How it is spoken to.
    ///
    /// # Errors
    /// One line: what is wrong with its certificates.
    pub fn tls(&self) -> Result<Tls, String> {
        Tls::new(&self.trust, None)
    }
}

/// An account, and this device of it.
#[derive(Clone)]
pub struct Account {
    /// Where it is.
    pub server: Server,
    /// Its name.
    pub user: String,
    /// The number of this device.
    pub device: Id,
    /// What only this device and the server know.
    pub token: Key,
    /// The account's secret.
    pub secret: Key,
    /// What seals the state of the last sync.
    pub base_key: Key,
}

impl Account {
    /// A new device of an account.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn new(server: Server, user: &str, secret: Key) -> Result<Account, String> {
        let mut device = Id::default();
        getrandom::fill(&mut device).map_err(|e| e.to_string())?;
        Ok(Account {
            server,
            user: user.to_owned(),
            device,
            token: random()?,
            secret,
            base_key: random()?,
        })
    }

    /// What the server is told of this device.
    pub fn as_device(&self) -> Device {
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy();
        let name: String = host.chars().filter(|c| !c.is_control()).take(60).collect();
        Device {
            id: self.device,
            token: Secret::from(*self.token),
            name,
        }
    }

    /// The account that a database is linked with.
    pub fn of(database: &Database) -> Option<Account> {
        let text = |name| database.custom_text(OWN, name);
        let key = |name| {
            let bytes = Zeroizing::new(unhex(text(name)?.as_bytes())?);
            Some(Zeroizing::new(bytes.as_slice().try_into().ok()?))
        };
        let trust = match text("trust")?.split_once(':') {
            Some(("pin", pin)) => Trust::Pin(pin.to_owned()),
            Some(("authorities", pem)) => Trust::Authorities(pem.as_bytes().to_vec()),
            _ => Trust::System,
        };
        Some(Account {
            server: Server {
                address: text("server")?.to_owned(),
                trust,
            },
            user: text("user")?.to_owned(),
            device: unhex(text("device")?.as_bytes())?.try_into().ok()?,
            token: key("token")?,
            secret: key("secret")?,
            base_key: key("base-key")?,
        })
    }

    /// Links a database with it.
    pub fn put_into(&self, database: &mut Database) {
        let trust = match &self.server.trust {
            Trust::Pin(pin) => format!("pin:{pin}"),
            Trust::Authorities(pem) => format!("authorities:{}", String::from_utf8_lossy(pem)),
            Trust::System => "system".to_owned(),
        };
        let texts = [
            ("server", self.server.address.as_str()),
            ("trust", &trust),
            ("user", &self.user),
            ("device", &hex(&self.device)),
            ("token", &Zeroizing::new(hex(&*self.token))),
            ("secret", &Zeroizing::new(hex(&*self.secret))),
            ("base-key", &Zeroizing::new(hex(&*self.base_key))),
        ];
        database.set_custom_texts(OWN, &texts);
    }

    /// Ends the link of a database.
    pub fn remove_from(database: &mut Database) {
        database.remove_custom_texts(OWN);
    }
}
