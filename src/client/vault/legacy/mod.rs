//! The last old dialect of the vault (G3), as far as it takes to read an old account.
//! Its server sees a hash of the master password that has no salt, and anybody
//! in between sees all of it: what was read is to leave there.

mod entries;

use std::time::{Duration, Instant};

use openssl::base64::decode_block;
use openssl::pkey::Private;
use openssl::rsa::{Padding, Rsa};
use openssl::sha::sha256;
use openssl::symm::{Cipher, decrypt};
use zeroize::Zeroizing;

use super::VaultError;
use super::database::Database;
use crate::client::ClientError;
use crate::client::cancel::{Cancel, Ticket, reach};
use crate::client::connect::link;
use crate::net::LinkError;
use crate::text::hex;
use crate::vault::Dialect;
use crate::vault::wire::{Connection, Format, Keys, PublicKey, WireError};

use entries::entry;
pub use entries::{Entry, adopt, count};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// The longest packet of a server.
const LONGEST: usize = 16 << 20;

/// The bits of this client's key.
const KEY_BITS: u32 = 2048;

/// How many entries are asked for at once.
const AT_ONCE: usize = 100;

/// The prefix of what a file keeps of its old account.
pub const OWN: &str = "tf-vault-old.";

/// An old account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// `host:port`.
    pub address: String,
    /// Its name.
    pub user: String,
    /// The digest of the server's key.
    pub pin: String,
    /// The name of this device; empty before it has one.
    pub cookie: String,
}

impl Account {
    /// That of a database.
    pub fn of(database: &Database) -> Option<Account> {
        let text = |name| database.custom_text(OWN, name).map(str::to_owned);
        Some(Account {
            address: text("server")?,
            user: text("user")?,
            pin: text("pin")?,
            cookie: text("cookie")?,
        })
    }

    /// Keeps it in a database.
    pub fn put_into(&self, database: &mut Database) {
        let texts = [
            ("server", self.address.as_str()),
            ("user", &self.user),
            ("pin", &self.pin),
            ("cookie", &self.cookie),
        ];
        database.set_custom_texts(OWN, &texts);
    }

    /// Forgets it.
    pub fn remove_from(database: &mut Database) {
        database.remove_custom_texts(OWN);
    }
}

/// The keys of a master password, which all clients of the dialect make so.
pub struct MasterKeys {
    /// What the server is shown.
    online: Zeroizing<String>,
    /// What opens entries.
    vault: Zeroizing<[u8; 32]>,
}

impl MasterKeys {
    /// Those of a password.
    pub fn new(password: &str) -> MasterKeys {
        let digits = Zeroizing::new(hex(&sha256(password.as_bytes())));
        let (first, last) = digits.split_at(32);
        let text = Zeroizing::new(hex(&sha256(last.as_bytes())));
        MasterKeys {
            online: Zeroizing::new(hex(&sha256(first.as_bytes()))),
            vault: Zeroizing::new(sha256(text.as_bytes())),
        }
    }

    /// A value as it was typed; one that does not open was sent in the open.
    fn open(&self, value: &str) -> Zeroizing<String> {
        if matches!(value, "" | "\u{1}" | "None" | "EMPTY") {
            return Zeroizing::default();
        }
        let opened = decode_block(value).ok().and_then(|bytes| {
            let (iv, sealed) = bytes.split_at_checked(16)?;
            let plain = decrypt(Cipher::aes_256_cbc(), &*self.vault, Some(iv), sealed);
            String::from_utf8(plain.ok()?).ok()
        });
        Zeroizing::new(opened.unwrap_or_else(|| value.to_owned()))
    }
}

/// A connection.
pub struct Legacy {
    connection: Connection,
    /// The digest of the server's key.
    pub pin: String,
    _ticket: Ticket,
}

fn odd() -> VaultError {
    VaultError::Forged("it does not speak the old dialect G3")
}

fn lost(e: WireError) -> VaultError {
    match e {
        WireError::Link(e) => ClientError::Lost(e.into()).into(),
        WireError::Internal(e) => ClientError::Lost(LinkError::from(e).into()).into(),
        WireError::SentAway(_) | WireError::Finished => odd(),
    }
}

/// The value of a parameter.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let start = format!("{name}%eq!");
    let at = match text.starts_with(&start) {
        true => start.len(),
        false => text.find(&format!(";{start}"))? + 1 + start.len(),
    };
    text[at..].split_once('!').map(|(value, _)| value)
}

impl Legacy {
    /// Connects and agrees on keys.
    ///
    /// # Errors
    /// `Client` or `Forged`.
    pub fn open(address: &str, timeout: Duration, cancel: &Cancel) -> Result<Legacy, VaultError> {
        let failed = |_| VaultError::Forged("no keys could be made");
        let own = Rsa::generate(KEY_BITS).map_err(failed)?;
        let socket = reach(address, timeout, cancel)?;
        let link = link(socket, Instant::now() + timeout)?;
        let ticket = cancel.follow(link.socket())?;
        let mut legacy = Legacy {
            connection: Connection::new(link, LONGEST),
            pin: String::new(),
            _ticket: ticket,
        };
        legacy.say('U', "INIPEM")?;
        let hello = legacy.take('U')?;
        let key = match (hello.strip_prefix("KEYPEM"), hello.strip_prefix("KEYCRT")) {
            (Some(rest), _) => PublicKey::read(Format::Pem, value(rest, "key").ok_or_else(odd)?),
            (_, Some(rest)) => {
                PublicKey::of_certificate(value(rest, "key").ok_or_else(odd)?.as_bytes())
            }
            _ => None,
        };
        let key = key.ok_or_else(odd)?;
        let pem = key.write(Format::Pem).ok_or_else(odd)?;
        legacy.pin = hex(&sha256(pem.as_bytes()));
        let keys = legacy.exchange(&key, &own)?;
        legacy.connection.agree(keys, Dialect::G3);
        let test = "KEXACKnonce%eq!tf!;";
        match *legacy.ask(test)? == *test {
            true => Ok(legacy),
            false => Err(odd()),
        }
    }

    fn exchange(&mut self, key: &PublicKey, own: &Rsa<Private>) -> Result<Keys, VaultError> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|_| odd())?;
        let nonce = hex(&random);
        let pem = own.public_key_to_pem().ok();
        let pem = pem
            .and_then(|pem| String::from_utf8(pem).ok())
            .ok_or_else(odd)?;
        let sealed = key.encrypt(nonce.as_bytes()).ok_or_else(odd)?;
        self.say(
            'K',
            &format!(
                "CKEformat%eq!PEM!;key%eq!{}!;nonce%eq!{sealed}!;",
                pem.trim_end()
            ),
        )?;
        let block = decode_block(&self.take('K')?).map_err(|_| odd())?;
        let mut plain = Zeroizing::new(vec![0; own.size() as usize]);
        if block.len() != plain.len() {
            return Err(odd());
        }
        let opened = own.private_decrypt(&block, &mut plain, Padding::PKCS1_OAEP);
        let text = str::from_utf8(&plain[..opened.map_err(|_| odd())?]).map_err(|_| odd())?;
        let rest = text.strip_prefix("SKE").ok_or_else(odd)?;
        match (value(rest, "key"), value(rest, "nonce")) {
            (Some(aes), Some(back)) if back == nonce && aes.len() == 44 => {
                Ok(Keys::new(aes, &nonce))
            }
            _ => Err(odd()),
        }
    }

    fn say(&mut self, letter: char, text: &str) -> Result<(), VaultError> {
        let set = self
            .connection
            .link()
            .set_deadline(Some(Instant::now() + PATIENCE));
        set.map_err(|e| lost(WireError::Link(e.into())))?;
        let said = self.connection.send_clear(letter, text);
        said.map_err(|e| lost(e.into()))
    }

    /// The text of the next packet, which has this letter.
    fn take(&mut self, letter: char) -> Result<String, VaultError> {
        match self.connection.packet().map_err(lost)? {
            (own, text) if own == letter => Ok(text),
            (_, text) => Err(refused(&text)),
        }
    }

    /// The next answer.
    fn answer(&mut self) -> Result<Zeroizing<String>, VaultError> {
        let body = self.take('E')?;
        let text = self.connection.open(&body).map_err(lost)?.ok_or_else(odd)?;
        match text.starts_with("INFERR") {
            true => Err(refused(&text)),
            false => Ok(text),
        }
    }

    fn ask(&mut self, text: &str) -> Result<Zeroizing<String>, VaultError> {
        let set = self
            .connection
            .link()
            .set_deadline(Some(Instant::now() + PATIENCE));
        set.map_err(|e| lost(WireError::Link(e.into())))?;
        self.connection.send(text).map_err(lost)?;
        self.answer()
    }

    /// Logs in; the device gets a name where it has none. A new one needs a code.
    ///
    /// # Errors
    /// `Refused`, `Answered`, or those of the one who is asked.
    pub fn log_in(
        &mut self,
        account: &mut Account,
        keys: &MasterKeys,
        ask: &mut dyn FnMut() -> Result<Zeroizing<String>, VaultError>,
    ) -> Result<(), VaultError> {
        if account
            .user
            .contains(['!', ';', '%', '\'', '"', '\u{1}', '\u{4}'])
        {
            return Err(VaultError::Answered(
                "no old account has this name".to_owned(),
            ));
        }
        let is_known = match account.cookie.as_str() {
            "" => false,
            cookie => {
                let text = self.ask(&format!("MNGCCKcookie%eq!{cookie}!;"))?;
                text.contains("COOKIE_DOES_EXIST")
            }
        };
        if !is_known {
            let text = self.ask("MNGCKI")?;
            let cookie = text
                .strip_prefix("DTACKI")
                .and_then(|rest| value(rest, "cookie"));
            cookie.ok_or_else(odd)?.clone_into(&mut account.cookie);
        }
        let (cookie, user) = (&account.cookie, &account.user);
        let device = "{\u{a7}Name\u{a7}:\u{a7}tf\u{a7}}";
        let text = self.ask(&format!(
            "MNGATHcookie%eq!{cookie}!;device%eq!{device}!;is_mobile%eq!False!;version%eq!tf!;"
        ))?;
        if !text.contains("DEVICE_AUTHORIZED") {
            return Err(refused(&text));
        }
        let who = Zeroizing::new(format!(
            "username%eq!{user}!;password%eq!{}!;cookie%eq!{cookie}!;",
            *keys.online
        ));
        let mut text = self.ask(&Zeroizing::new(format!("MNGLGI{}", *who)))?;
        if text.contains("SEND_VERIFICATION_NEW_DEVICE") {
            let code = ask()?;
            let code = code.trim().trim_start_matches("PM-");
            if !code.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return Err(VaultError::NoCode);
            }
            text = self.ask(&Zeroizing::new(format!(
                "MNGCND{}code%eq!PM-{code}!;",
                *who
            )))?;
        }
        match text.contains("LOGIN_SUCCESSFUL") {
            true => Ok(()),
            false => Err(refused(&text)),
        }
    }

    /// All entries.
    ///
    /// # Errors
    /// `Answered`, `Forged`, or the connection is lost.
    pub fn entries(&mut self, keys: &MasterKeys) -> Result<Vec<Entry>, VaultError> {
        let text = self.ask("REQSYNfetch_mode%eq!FETCH_SYNC!;")?;
        let headers = value(&text, "headers").ok_or_else(odd)?;
        let quoted: Vec<&str> = headers.split('\'').skip(1).step_by(2).collect();
        let ids: Vec<&str> = quoted.chunks(2).map(|pair| pair[0]).collect();
        let mut entries = Vec::with_capacity(ids.len());
        for some in ids.chunks(AT_ONCE) {
            let list: String = some.iter().map(|id| format!("{id};")).collect();
            let mut text = self.ask(&format!("REQSEL{list}"))?;
            while !text.contains("SELECT_FINISHED") {
                // One that is gone by now has nothing but its id.
                if value(&text, "datetime").is_some() {
                    entries.push(entry(&text, keys).ok_or_else(odd)?);
                }
                text = self.answer()?;
            }
        }
        Ok(entries)
    }

    /// Has the server forget this device, which ends what it may do there.
    ///
    /// # Errors
    /// `Answered`, or the connection is lost.
    pub fn unlink(&mut self, account: &Account) -> Result<(), VaultError> {
        let text = self.ask(&format!("MNGULKcookie%eq!{}!;", account.cookie))?;
        match text.contains("UNLINK_SUCCESSFUL") {
            true => Ok(()),
            false => Err(refused(&text)),
        }
    }

    /// Says good-bye.
    pub fn end(mut self) {
        let _ = self.say('U', "FIN");
        self.connection.link().close();
    }
}

/// What a server has refused.
fn refused(text: &str) -> VaultError {
    let word = value(text.trim_start_matches("INFERR"), "code")
        .or_else(|| {
            value(
                text.trim_start_matches("INFERR")
                    .trim_start_matches("INFRET"),
                "msg",
            )
        })
        .or_else(|| value(text.trim_start_matches("FIN"), "message"))
        .unwrap_or("something else than was asked");
    VaultError::Answered(word.chars().filter(|c| !c.is_control()).take(80).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_has_the_keys_that_old_clients_make_of_it() {
        let keys = MasterKeys::new("correct horse");
        let online = "bc2d16e7c176a03d8def2b0c0507b1a4f0d7217dd522b432ea148f3ecfe99404";
        assert_eq!(*keys.online, online);
        let field = "AAECAwQFBgcICQoLDA0OD8ErfooQoKCid7GIxVS2O0U=";
        assert_eq!(*keys.open(field), "example.org");
        assert_eq!(*keys.open("typed in the open"), "typed in the open");
        assert!(keys.open("\u{1}").is_empty());
    }

    #[test]
    fn a_value_is_found_by_its_whole_name() {
        let text = "DTARETmode%eq!SELECT!;host%eq!a!;name%eq!b!;hid%eq!c!;";
        assert_eq!(value(text, "host"), Some("a"));
        assert_eq!(value(text, "hid"), Some("c"));
        assert_eq!(value(text, "me"), None);
        assert_eq!(value("key%eq!x!;nonce%eq!y!;", "nonce"), Some("y"));
        assert_eq!(value("key%eq!x", "key"), None);
    }
}
