//! The keeper: the one process that holds the RSA key and the hash. A gate
//! may ask it to decrypt one block and to compare one hash. For a hash that
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

use super::channel::{Channel, pair};
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
/// What the keeper answers, likewise.
const GRANTED: u8 = 1;
const REFUSED: u8 = 0;

/// What the keeper knows.
pub struct Secrets {
    /// The RSA private key.
    pub key: Rsa<Private>,
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
        Extras { records: byte & 1 != 0, pool: byte & 2 != 0 }
    }
}

impl Secrets {
    /// Decrypts a block once, so that OpenSSL has set itself up before the
    /// first client waits for it.
    pub fn warm(&self) {
        let mut block = vec![0; self.key.size() as usize];
        let mut plain = block.clone();
        let _ = self.key.public_encrypt(&[1; 16], &mut block, Padding::PKCS1_OAEP);
        let _ = self.key.private_decrypt(&block, &mut plain, Padding::PKCS1_OAEP);
    }

    /// The session key in an RSA block, if it is one.
    fn decrypt(&self, block: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        if block.len() != self.key.size() as usize {
            return None;
        }
        let mut plain = Zeroizing::new(vec![0; block.len()]);
        let len = self.key.private_decrypt(block, &mut plain, Padding::PKCS1_OAEP).ok()?;
        KEY_LENGTHS.contains(&len).then(|| Zeroizing::new(plain[..len].to_vec()))
    }

    /// Whether a hash is the right one; a trailing NUL is accepted.
    fn fits(&self, hash: &[u8]) -> bool {
        let hash = hash.strip_suffix(&[0]).unwrap_or(hash);
        hash.ct_eq(&self.hash).into()
    }
}

/// A gate: it may ask for one block, then for one hash.
struct Client {
    slot: u32,
    channel: Channel,
    may_decrypt: bool,
}

impl Client {
    fn new(slot: u32, channel: Channel) -> Client {
        Client { slot, channel, may_decrypt: true }
    }
}

/// The daemon's message with a gate's channel: its slot. A shorter one says
/// that no more will come.
#[must_use]
pub fn gate_message(slot: u32) -> [u8; 4] {
    slot.to_be_bytes()
}

/// The message that says that no more gates will come.
pub const RETIRE: &[u8] = &[0];

/// The slot in the keeper's message, beside which comes the channel to a gate
/// that has shown the hash.
#[must_use]
pub fn read_admission(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// Channels to gates on their way to the daemon. The keeper never waits for
/// the daemon, since the daemon may be waiting for the keeper.
#[derive(Default)]
struct Outbox(VecDeque<(u32, Channel)>);

impl Outbox {
    /// Sends as much as there is room for.
    fn flush(&mut self, daemon: &Channel) {
        while let Some((slot, channel)) = self.0.front() {
            match daemon.try_send(&slot.to_be_bytes(), &[channel.as_fd()]) {
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
                let mut slot = [0; 4];
                match daemon.receive(&mut slot) {
                    Ok((4, handles)) => {
                        for handle in handles {
                            let slot = u32::from_be_bytes(slot);
                            let client = Client::new(slot, Channel::from_handle(handle));
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
            let writable = if waited { readable } else { readable | epoll::EventFlags::OUT };
            epoll::modify(&poller, daemon, epoll::EventData::new_u64(DAEMON), writable)?;
        }
    }
    Ok(())
}

/// Answers one message of a gate; `false` when its channel is to be closed,
/// as it is once there is nothing left to ask.
fn answer(secrets: &Secrets, client: &mut Client, outbox: &mut Outbox) -> bool {
    let mut buffer = Zeroizing::new([0; 1 + MAX_BLOCK]);
    let Ok((len, _)) = client.channel.receive(&mut *buffer) else { return false };
    match &buffer[..len] {
        [DECRYPT, block @ ..] if client.may_decrypt => {
            client.may_decrypt = false;
            let reply = match secrets.decrypt(block) {
                Some(key) => Zeroizing::new([&[GRANTED], key.as_slice()].concat()),
                None => Zeroizing::new(vec![REFUSED]),
            };
            client.channel.try_send(&reply, &[]).is_ok()
        }
        [COMPARE, hash @ ..] if !client.may_decrypt => {
            // Whether a gate that is gone hears the answer is all the same.
            let _ = match secrets.fits(hash) {
                false => client.channel.try_send(&[REFUSED], &[]),
                true => grant(secrets, client, outbox),
            };
            false
        }
        _ => false,
    }
}

/// Hands a gate whose client has shown the hash what is behind it.
fn grant(secrets: &Secrets, client: &Client, outbox: &mut Outbox) -> io::Result<()> {
    if !secrets.granted.is_empty() {
        let granted: Vec<_> = secrets.granted.iter().map(AsFd::as_fd).collect();
        return client.channel.try_send(&[GRANTED, secrets.extras.to_byte()], &granted);
    }
    let (gates, daemons) = pair()?;
    outbox.0.push_back((client.slot, daemons));
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
        let mut buffer = Zeroizing::new(vec![0; 1 + MAX_BLOCK]);
        let (len, handles) = self.0.receive(&mut buffer)?;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.truncate(len);
        Ok((buffer, handles))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::channel::pair;

    fn keeper_thread() -> (Channel, Rsa<openssl::pkey::Public>) {
        let key = Rsa::generate(2048).expect("key");
        let public = Rsa::public_key_from_pem(&key.public_key_to_pem().expect("pem")).expect("key");
        let (ours, theirs) = pair().expect("pair");
        let secrets = Secrets {
            key,
            hash: Zeroizing::new(b"testhash".to_vec()),
            granted: Vec::new(),
            extras: Extras::default(),
        };
        std::thread::spawn(move || run(&secrets, &theirs));
        (ours, public)
    }

    fn gate(daemon: &Channel) -> Keeper {
        let (ours, theirs) = pair().expect("pair");
        daemon.send(&gate_message(3), &[theirs.as_fd()]).expect("send");
        Keeper::new(ours)
    }

    fn block(public: &Rsa<openssl::pkey::Public>, key: &[u8]) -> Vec<u8> {
        let mut block = vec![0; 256];
        public.public_encrypt(key, &mut block, Padding::PKCS1_OAEP).expect("encrypt");
        block
    }

    #[test]
    fn session_keys_of_16_to_214_bytes_are_told_and_no_others() {
        let (daemon, public) = keeper_thread();
        for (len, fine) in [(15, false), (16, true), (214, true)] {
            let key = vec![9; len];
            let told = gate(&daemon).decrypt(&block(&public, &key)).expect("keeper");
            assert_eq!(told.map(|k| k.to_vec()), fine.then_some(key));
        }
        for bad in [vec![], vec![0; 255], vec![7; 256], vec![7; 257], vec![7; 600]] {
            assert!(gate(&daemon).decrypt(&bad).expect("keeper").is_none());
        }
    }

    #[test]
    fn a_gate_may_ask_each_thing_once_and_in_order() {
        let (daemon, public) = keeper_thread();
        let early = gate(&daemon);
        assert!(early.compare(b"testhash").is_err());
        let twice = gate(&daemon);
        assert!(twice.decrypt(&block(&public, &[1; 16])).expect("keeper").is_some());
        assert!(twice.compare(b"wrong").expect("keeper").0.is_empty());
        assert!(twice.compare(b"testhash").is_err());
        let fine = gate(&daemon);
        assert!(fine.decrypt(&block(&public, &[1; 16])).expect("keeper").is_some());
        assert!(!fine.compare(b"testhash\0").expect("keeper").0.is_empty());
        assert!(fine.decrypt(&block(&public, &[1; 16])).is_err());
        let odd = gate(&daemon);
        assert!(odd.ask(77, b"x").is_err());
    }

    #[test]
    fn a_session_key_of_no_such_length_is_not_taken_from_the_keeper() {
        for (len, fine) in [(0, false), (7, false), (16, true), (214, true), (215, false)] {
            let (gates, keepers) = pair().expect("pair");
            keepers.send(&[&[GRANTED], vec![9; len].as_slice()].concat(), &[]).expect("send");
            let told = Keeper::new(gates).decrypt(b"block").expect("keeper");
            assert_eq!(told.is_some(), fine, "{len}");
        }
    }
}
