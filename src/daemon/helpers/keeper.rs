//! The keeper: the one process that holds the private keys and the hash. A gate
//! may ask it to decrypt one block and to compare one hash; one that speaks TLS
//! may have it sign one handshake, and seal and open tickets, too. A gate of a
//! protocol with keys for logins may have one, and two blocks decrypted by it. For a
//! hash that matches it gets a channel whose other end the keeper gives to the
//! daemon. The keeper answers nothing else, runs unprivileged, and any other bytes
//! end the gate's channel.

mod login_keys;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use openssl::rsa::Padding;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use self::login_keys::LoginKey;
pub use self::login_keys::LoginKeys;
use crate::ipc::Pipe;
use crate::ipc::codec::codec;
use crate::ipc::gates;
use crate::ipc::orders::Tag;
use crate::ipc::pipe::pair;
use crate::net::tls::secrets::{MAX_SESSION, MAX_SIGNED, MAX_TICKET, TlsSecrets};
use crate::session::keeper::{Question, Reply};
use crate::session::login::GatePipe;
use crate::session::protocol;

/// A gate that the daemon has the keeper answer.
#[derive(Debug)]
pub struct NewGate {
    /// Its connection.
    pub tag: Tag,
    /// Whether it speaks TLS, so that there may be no block.
    pub tls: bool,
    /// The number of its protocol.
    pub protocol: u8,
    /// Whether its protocol has no shared secret, so that it may ask for the
    /// login at once.
    pub is_open: bool,
    /// Whether its protocol has keys for logins.
    pub has_login_key: bool,
    /// The channel to it.
    pub channel: Pipe<Reply, Question>,
}

codec!(struct NewGate { tag, tls, protocol, is_open, has_login_key, channel });

/// A gate that has shown the hash.
#[derive(Debug)]
pub struct Admitted {
    /// Its connection.
    pub tag: Tag,
    /// The client, as the gate says.
    pub client: SocketAddr,
    /// The channel to it, for its login.
    pub gate: GatePipe,
}

codec!(struct Admitted { tag, client, gate });

/// What a client has not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A session key that the private key decrypts.
    Key,
    /// The hash.
    Hash,
}

codec!(enum Refusal { 1 => Key, 2 => Hash });

impl Refusal {
    /// All of them, in their order, by the names that metrics have for them.
    pub const ALL: [(Refusal, &'static str); 2] = [(Refusal::Key, "key"), (Refusal::Hash, "hash")];
}

/// What the daemon hears of a client.
pub type Outcome = Result<Admitted, Refusal>;

/// The most tickets that a gate may have opened: what a client offers, twice.
const MAX_OPENED: u32 = 8;

/// What the keeper knows.
pub struct Secrets {
    /// Those of each protocol that has any, by its number.
    pub of_protocols: Vec<Option<protocol::Secrets>>,
    /// What TLS needs, where it is spoken.
    pub tls: Option<TlsSecrets>,
    /// Whether clients have login steps, without which no gate may enter that
    /// has not shown the hash.
    pub has_steps: bool,
    /// Whether a protocol with keys for logins is served.
    pub has_login_keys: bool,
}

impl Secrets {
    /// Decrypts a block once, so that OpenSSL has set itself up before the
    /// first client waits for it.
    pub fn warm(&self) {
        for protocol::Secrets { key, .. } in self.of_protocols.iter().flatten() {
            let mut block = vec![0; key.size() as usize];
            let mut plain = block.clone();
            let _ = key.public_encrypt(&[1; 16], &mut block, Padding::PKCS1_OAEP);
            let _ = key.private_decrypt(&block, &mut plain, Padding::PKCS1_OAEP);
        }
    }

    /// Those of a protocol, if it has any.
    fn of(&self, protocol: u8) -> Option<&protocol::Secrets> {
        self.of_protocols.get(usize::from(protocol))?.as_ref()
    }

    /// The session key in an RSA block, if it is one.
    fn decrypt(&self, protocol: u8, block: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let protocol::Secrets {
            key, key_lengths, ..
        } = self.of(protocol)?;
        if block.len() != key.size() as usize {
            return None;
        }
        let mut plain = Zeroizing::new(vec![0; block.len()]);
        let padding = Padding::PKCS1_OAEP;
        let len = key.private_decrypt(block, &mut plain, padding).ok()?;
        key_lengths
            .contains(&len)
            .then(|| Zeroizing::new(plain[..len].to_vec()))
    }

    /// Whether a hash is the right one; a trailing NUL is accepted.
    fn fits(&self, protocol: u8, hash: &[u8]) -> bool {
        let hash = hash.strip_suffix(&[0]).unwrap_or(hash);
        let shared = self.of(protocol);
        shared.is_some_and(|secrets| hash.ct_eq(&secrets.shared).into())
    }
}

/// A gate, and what it may still ask; a hash comes last.
struct Client {
    tag: Tag,
    channel: Pipe<Reply, Question>,
    protocol: u8,
    may_decrypt: bool,
    tls: bool,
    is_open: bool,
    may_have_login_key: bool,
    login_key: Option<LoginKey>,
    may_sign: bool,
    may_seal: bool,
    /// How many tickets it may have opened.
    may_open: u32,
}

impl From<NewGate> for Client {
    fn from(gate: NewGate) -> Client {
        let NewGate {
            tag,
            tls,
            protocol,
            is_open,
            has_login_key,
            channel,
        } = gate;
        Client {
            tag,
            channel,
            protocol,
            may_decrypt: true,
            tls,
            is_open,
            may_have_login_key: has_login_key,
            login_key: None,
            may_sign: tls,
            may_seal: tls,
            may_open: if tls { MAX_OPENED } else { 0 },
        }
    }
}

impl Client {
    /// Whether it may show a hash now: with TLS at once, else once a block has been
    /// decrypted.
    fn may_compare(&self) -> bool {
        !self.is_open && (self.tls || !self.may_decrypt)
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

/// Serves gates until the daemon is gone.
pub fn run(
    secrets: Secrets,
    login_keys: Option<LoginKeys>,
    daemon: Pipe<Outcome, Option<NewGate>>,
) -> io::Result<()> {
    let daemon = Arc::new(daemon);
    let to_daemon = Arc::clone(&daemon);
    gates::serve(&daemon, 1, move |mut client: Client| {
        let keys = login_keys.as_ref();
        let is_open = answer((&secrets, keys), &mut client, &to_daemon)?;
        is_open.then_some(client)
    })
}

/// Answers one question of a gate; whether it may ask more. `None` for a gate
/// that is gone, or has asked what it may not.
fn answer(
    (secrets, login_keys): (&Secrets, Option<&LoginKeys>),
    client: &mut Client,
    daemon: &Pipe<Outcome, Option<NewGate>>,
) -> Option<bool> {
    let tls = secrets.tls.as_ref();
    let granted = match client.channel.receive().ok()?? {
        Question::Decrypt(block) if client.may_decrypt && secrets.of(client.protocol).is_some() => {
            client.may_decrypt = false;
            let key = secrets.decrypt(client.protocol, &block);
            if key.is_none() {
                refuse(Refusal::Key, daemon);
            }
            key
        }
        Question::Compare { client: from, hash } if client.may_compare() => {
            let reply = match secrets.fits(client.protocol, &hash) {
                false => {
                    refuse(Refusal::Hash, daemon);
                    Reply::Refused
                }
                true => pass((client.tag, from), daemon).ok()?,
            };
            client.channel.try_send(&reply).ok()?;
            return Some(false);
        }
        Question::Enter { client: from } if client.is_open && secrets.has_steps => {
            let reply = pass((client.tag, from), daemon).ok()?;
            client.channel.try_send(&reply).ok()?;
            return Some(false);
        }
        Question::LoginKey if client.may_have_login_key => {
            client.may_have_login_key = false;
            client.login_key = login_keys.map(LoginKeys::take);
            let key = client.login_key.as_ref();
            key.map(|key| Zeroizing::new(key.modulus()))
        }
        Question::DecryptLogin(block) => {
            let key = client.login_key.as_mut();
            let plain = key.filter(|key| key.has_left())?.decrypt(&block);
            if plain.is_none() {
                refuse(Refusal::Key, daemon);
            }
            plain
        }
        Question::Sign { scheme, content } if client.may_sign && content.len() <= MAX_SIGNED => {
            client.may_sign = false;
            tls.and_then(|tls| tls.sign(scheme, &content))
                .map(Zeroizing::new)
        }
        Question::Seal(session) if client.may_seal && session.len() <= MAX_SESSION => {
            client.may_seal = false;
            tls.and_then(|tls| tls.seal(&session)).map(Zeroizing::new)
        }
        Question::Open(ticket) if client.may_open > 0 && ticket.len() <= MAX_TICKET => {
            client.may_open -= 1;
            tls.and_then(|tls| tls.open(&ticket)).map(Zeroizing::new)
        }
        _ => return None,
    };
    let reply = granted.map_or(Reply::Refused, Reply::Granted);
    Some(client.channel.try_send(&reply).is_ok())
}

/// The channel of the login for a gate whose client has shown the hash. The
/// daemon gets the other end.
fn pass(
    (tag, client): (Tag, SocketAddr),
    daemon: &Pipe<Outcome, Option<NewGate>>,
) -> io::Result<Reply> {
    let (gates, gate) = pair()?;
    daemon.send(&Ok(Admitted { tag, client, gate }))?;
    Ok(Reply::Passed(gates))
}

/// Has the daemon count a refusal. A full channel costs the count, and nothing
/// else.
fn refuse(what: Refusal, daemon: &Pipe<Outcome, Option<NewGate>>) {
    let _ = daemon.try_send(&Err(what));
}

#[cfg(test)]
mod tests;
