//! The keeper: the one process that holds the private keys and the hash. A gate
//! may ask it to decrypt one block and to compare one hash; one that speaks TLS
//! may have it sign one handshake, and seal and open tickets, too. For a hash that
//! fits it gets the root's handle or, where doors are left, a channel whose
//! other end the keeper gives to the daemon. The keeper answers
//! nothing else, runs unprivileged, and any other bytes end the gate's
//! channel.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use openssl::pkey::Private;
use openssl::rsa::{Padding, Rsa};
use rustix::event::epoll;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::ipc::channel::{Channel, pair};
use crate::ipc::tag::Tag;
use crate::net::tls::secrets::{MAX_SESSION, MAX_SIGNED, MAX_TICKET, TlsSecrets};
use crate::net::tls::server::Keyholder;
use crate::tf::cipher::MAX_KEY;

/// The longest RSA block, in bytes (4096 bits).
pub const MAX_BLOCK: usize = 512;
/// The longest hash, in bytes, with the NUL some clients send.
pub const MAX_HASH: usize = 256;
/// The lengths a session key may have (document, "The encryption system").
pub const KEY_LENGTHS: std::ops::RangeInclusive<usize> = 16..=MAX_KEY;

/// What a gate asks, as the first byte of a message.
const DECRYPT: u8 = 1;
const COMPARE: u8 = 2;
const SIGN: u8 = 3;
const SEAL: u8 = 4;
const OPEN: u8 = 5;
/// What the keeper answers, likewise.
const GRANTED: u8 = 1;
const REFUSED: u8 = 0;

/// No message between a gate and the keeper is longer.
const MAX_MESSAGE: usize = 1 + MAX_TICKET;

/// The most tickets that a gate may have opened: what a client offers, twice.
const MAX_OPENED: u32 = 8;

/// What the keeper knows.
pub struct Secrets {
    /// The RSA private key.
    pub key: Rsa<Private>,
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

/// What a session may have beside its root and the counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// The way to the auditor.
    pub records: bool,
    /// The way to the pool.
    pub pool: bool,
}

impl Extras {
    fn to_byte(self) -> u8 {
        u8::from(self.records) | u8::from(self.pool) << 1
    }

    fn from_byte(byte: u8) -> Extras {
        Extras {
            records: byte & 1 != 0,
            pool: byte & 2 != 0,
        }
    }
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
        KEY_LENGTHS
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

/// A gate's view of the keeper.
#[derive(Debug)]
pub struct Keeper(Channel);

impl Keeper {
    /// The keeper at the other end of a gate's channel.
    #[must_use]
    pub fn new(channel: Channel) -> Keeper {
        Keeper(channel)
    }

    /// The session key in an RSA block; `None` when it holds none.
    ///
    /// # Errors
    /// When the keeper is out of reach.
    pub fn decrypt(&self, block: &[u8]) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        if block.len() > MAX_BLOCK {
            return Ok(None);
        }
        let (answer, _) = self.ask(DECRYPT, block)?;
        Ok(match answer.split_first() {
            Some((&GRANTED, key)) if KEY_LENGTHS.contains(&key.len()) => {
                Some(Zeroizing::new(key.to_vec()))
            }
            _ => None,
        })
    }

    /// What there is for a client that has shown the right hash: the root's
    /// handle and what comes with it, or the channel to the next door. Nothing for
    /// another hash.
    ///
    /// # Errors
    /// When the keeper is out of reach.
    pub fn compare(&self, hash: &[u8]) -> io::Result<(Vec<OwnedFd>, Extras)> {
        let nothing = (Vec::new(), Extras::default());
        if hash.len() > MAX_HASH {
            return Ok(nothing);
        }
        let (answer, handles) = self.ask(COMPARE, hash)?;
        Ok(match answer[..] {
            [GRANTED, extras] => (handles, Extras::from_byte(extras)),
            _ => nothing,
        })
    }

    fn ask(&self, what: u8, data: &[u8]) -> io::Result<(Zeroizing<Vec<u8>>, Vec<OwnedFd>)> {
        self.0.send(&[&[what], data].concat(), &[])?;
        let mut buffer = Zeroizing::new(vec![0; MAX_MESSAGE]);
        let (len, handles) = self.0.receive(&mut buffer)?;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.truncate(len);
        Ok((buffer, handles))
    }

    /// What the keeper grants of a question of at most `max` bytes.
    fn granted(&self, what: u8, data: &[u8], max: usize) -> Option<Vec<u8>> {
        if data.len() > max {
            return None;
        }
        let (answer, _) = self.ask(what, data).ok()?;
        match answer.split_first() {
            Some((&GRANTED, granted)) => Some(granted.to_vec()),
            _ => None,
        }
    }
}

impl Keyholder for Keeper {
    fn sign(&self, scheme: u16, content: &[u8]) -> Option<Vec<u8>> {
        self.granted(
            SIGN,
            &[&scheme.to_be_bytes()[..], content].concat(),
            2 + MAX_SIGNED,
        )
    }

    fn seal(&self, session: &[u8]) -> Option<Vec<u8>> {
        self.granted(SEAL, session, MAX_SESSION)
    }

    fn open(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.granted(OPEN, ticket, MAX_TICKET)
    }
}

#[cfg(test)]
mod tests;
