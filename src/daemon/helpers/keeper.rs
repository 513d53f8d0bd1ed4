//! The keeper: the one process that holds the private keys and the hash. A gate
//! may ask it to decrypt one block and to compare one hash; one that speaks TLS
//! may have it sign one handshake, and seal and open tickets, too. For a hash that
//! fits it gets the root's handle or, where doors are left, a channel whose
//! other end the keeper gives to the daemon. The keeper answers
//! nothing else, runs unprivileged, and any other bytes end the gate's
//! channel.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, OwnedFd};

use openssl::pkey::Private;
use openssl::rsa::{Padding, Rsa};
use rustix::event::epoll;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::ipc::channel::{Channel, pair};
use crate::ipc::tag::Tag;
use crate::net::tls::secrets::TlsSecrets;
use crate::session::keeper::{
    COMPARE, DECRYPT, Extras, GRANTED, MAX_MESSAGE, OPEN, REFUSED, SEAL, SIGN,
};

/// The most tickets that a gate may have opened: what a client offers, twice.
const MAX_OPENED: u32 = 8;

/// What the keeper knows.
pub struct Secrets {
    /// The RSA private key.
    pub key: Rsa<Private>,
    /// The lengths that a decrypted session key may have.
    pub key_lengths: RangeInclusive<usize>,
    /// What TLS needs, where it is spoken.
    pub tls: Option<TlsSecrets>,
    /// The hash clients must send.
    pub hash: Zeroizing<Vec<u8>>,
    /// What a gate that has shown the hash is handed: the root, the counters
    /// of quotas, and the way to the auditor if there is one; nothing where
    /// doors are left.
    pub granted: Vec<OwnedFd>,
    /// Which of those that may be missing are among them.
    pub extras: Extras,
}

impl Secrets {
    /// Decrypts a block once, so that OpenSSL has set itself up before the
    /// first client waits for it.
    pub fn warm(&self) {
        let mut block = vec![0; self.key.size() as usize];
        let mut plain = block.clone();
        let _ = self
            .key
            .public_encrypt(&[1; 16], &mut block, Padding::PKCS1_OAEP);
        let _ = self
            .key
            .private_decrypt(&block, &mut plain, Padding::PKCS1_OAEP);
    }

    /// The session key in an RSA block, if it is one.
    fn decrypt(&self, block: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        if block.len() != self.key.size() as usize {
            return None;
        }
        let mut plain = Zeroizing::new(vec![0; block.len()]);
        let len = self
            .key
            .private_decrypt(block, &mut plain, Padding::PKCS1_OAEP)
            .ok()?;
        self.key_lengths
            .contains(&len)
            .then(|| Zeroizing::new(plain[..len].to_vec()))
    }

    /// Whether a hash is the right one; a trailing NUL is accepted.
    fn fits(&self, hash: &[u8]) -> bool {
        let hash = hash.strip_suffix(&[0]).unwrap_or(hash);
        hash.ct_eq(&self.hash).into()
    }
}

/// A gate, and what it may still ask; a hash comes last.
struct Client {
    tag: Tag,
    channel: Channel,
    may_decrypt: bool,
    /// Whether it speaks TLS, so that there may be no block.
    tls: bool,
    may_sign: bool,
    may_seal: bool,
    /// How many tickets it may have opened.
    may_open: u32,
}

impl Client {
    fn new(tag: Tag, tls: bool, channel: Channel) -> Client {
        Client {
            tag,
            channel,
            may_decrypt: true,
            tls,
            may_sign: tls,
            may_seal: tls,
            may_open: if tls { MAX_OPENED } else { 0 },
        }
    }
}

/// Bytes of the daemon's message with a gate's channel.
const GATE_LEN: usize = Tag::LEN + 1;

/// The daemon's message with a gate's channel: its tag, and whether it speaks
/// TLS. A shorter one says that no more will come.
#[must_use]
pub fn gate_message(tag: Tag, tls: bool) -> [u8; GATE_LEN] {
    let mut bytes = [u8::from(tls); GATE_LEN];
    bytes[..Tag::LEN].copy_from_slice(&tag.to_bytes());
    bytes
}

/// The message that says that no more gates will come.
pub const RETIRE: &[u8] = &[0];

/// The tag in the keeper's message, beside which comes the channel to a gate
/// that has shown the hash.
#[must_use]
pub fn read_admission(bytes: &[u8]) -> Option<Tag> {
    Tag::split_from(bytes)
        .filter(|(_, rest)| rest.is_empty())
        .map(|(tag, _)| tag)
}

/// Channels to gates on their way to the daemon. The keeper never waits for
/// the daemon, since the daemon may be waiting for the keeper.
#[derive(Default)]
struct Outbox(VecDeque<(Tag, Channel)>);

impl Outbox {
    /// Sends as much as there is room for.
    fn flush(&mut self, daemon: &Channel) {
        while let Some((tag, channel)) = self.0.front() {
            match daemon.try_send(&tag.to_bytes(), &[channel.as_fd()]) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                _ => drop(self.0.pop_front()),
            }
        }
    }
}

/// Serves gates until no more will come and all have ended. New gates'
/// channels come over `daemon`, one a message.
///
/// # Errors
/// The system's, when the keeper can't go on.
pub fn run(secrets: &Secrets, daemon: &Channel) -> io::Result<()> {
    const DAEMON: u64 = u64::MAX;
    let poller = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let readable = epoll::EventFlags::IN;
    epoll::add(&poller, daemon, epoll::EventData::new_u64(DAEMON), readable)?;
    let mut clients: HashMap<u64, Client> = HashMap::new();
    let mut outbox = Outbox::default();
    let mut next = 0;
    let mut retired = false;
    let mut events = Vec::with_capacity(64);
    while !(retired && clients.is_empty() && outbox.0.is_empty()) {
        events.clear();
        match epoll::wait(&poller, rustix::buffer::spare_capacity(&mut events), None) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        let waited = !outbox.0.is_empty();
        for event in &events {
            let (id, flags) = (event.data.u64(), event.flags);
            if id == DAEMON && flags.contains(epoll::EventFlags::IN) {
                let mut message = [0; GATE_LEN];
                match daemon.receive(&mut message) {
                    Ok((GATE_LEN, handles)) => {
                        for handle in handles {
                            let Some((tag, tls)) = Tag::split_from(&message) else {
                                continue;
                            };
                            let channel = Channel::from_handle(handle);
                            let client = Client::new(tag, tls == [1], channel);
                            let data = epoll::EventData::new_u64(next);
                            epoll::add(&poller, &client.channel, data, readable)?;
                            clients.insert(next, client);
                            next += 1;
                        }
                    }
                    Ok((1, _)) => retired = true,
                    _ => return Ok(()),
                }
            } else if id == DAEMON && flags.contains(epoll::EventFlags::HUP) {
                return Ok(());
            } else if let Some(client) = clients.get_mut(&id)
                && !answer(secrets, client, &mut outbox)
            {
                clients.remove(&id);
            }
        }
        outbox.flush(daemon);
        if waited == outbox.0.is_empty() {
            let writable = if waited {
                readable
            } else {
                readable | epoll::EventFlags::OUT
            };
            epoll::modify(&poller, daemon, epoll::EventData::new_u64(DAEMON), writable)?;
        }
    }
    Ok(())
}

/// Answers one message of a gate; `false` when its channel is to be closed,
/// as it is once there is nothing left to ask.
fn answer(secrets: &Secrets, client: &mut Client, outbox: &mut Outbox) -> bool {
    let mut buffer = Zeroizing::new([0; MAX_MESSAGE]);
    let Ok((len, _)) = client.channel.receive(&mut *buffer) else {
        return false;
    };
    match &buffer[..len] {
        [DECRYPT, block @ ..] if client.may_decrypt => {
            client.may_decrypt = false;
            let reply = match secrets.decrypt(block) {
                Some(key) => Zeroizing::new([&[GRANTED], key.as_slice()].concat()),
                None => Zeroizing::new(vec![REFUSED]),
            };
            client.channel.try_send(&reply, &[]).is_ok()
        }
        [COMPARE, hash @ ..] if client.tls || !client.may_decrypt => {
            // Whether a gate that is gone hears the answer is all the same.
            let _ = match secrets.fits(hash) {
                false => client.channel.try_send(&[REFUSED], &[]),
                true => grant(secrets, client, outbox),
            };
            false
        }
        [SIGN, a, b, content @ ..] if client.may_sign => {
            client.may_sign = false;
            let scheme = u16::from_be_bytes([*a, *b]);
            tell(
                client,
                secrets
                    .tls
                    .as_ref()
                    .and_then(|tls| tls.sign(scheme, content)),
            )
        }
        [SEAL, session @ ..] if client.may_seal => {
            client.may_seal = false;
            tell(
                client,
                secrets.tls.as_ref().and_then(|tls| tls.seal(session)),
            )
        }
        [OPEN, ticket @ ..] if client.may_open > 0 => {
            client.may_open -= 1;
            tell(
                client,
                secrets.tls.as_ref().and_then(|tls| tls.open(ticket)),
            )
        }
        _ => false,
    }
}

/// Tells a gate what came of its question; whether it still listens.
fn tell(client: &Client, answer: Option<Vec<u8>>) -> bool {
    let reply = match answer.map(Zeroizing::new) {
        Some(answer) => Zeroizing::new([&[GRANTED], answer.as_slice()].concat()),
        None => Zeroizing::new(vec![REFUSED]),
    };
    client.channel.try_send(&reply, &[]).is_ok()
}

/// Hands a gate whose client has shown the hash what is behind it.
fn grant(secrets: &Secrets, client: &Client, outbox: &mut Outbox) -> io::Result<()> {
    if !secrets.granted.is_empty() {
        let granted: Vec<_> = secrets.granted.iter().map(AsFd::as_fd).collect();
        return client
            .channel
            .try_send(&[GRANTED, secrets.extras.to_byte()], &granted);
    }
    let (gates, daemons) = pair()?;
    outbox.0.push_back((client.tag, daemons));
    client.channel.try_send(&[GRANTED, 0], &[gates.as_fd()])
}

#[cfg(test)]
mod tests;
