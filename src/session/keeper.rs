//! A gate's side of the keeper: what it may ask of the process with the private
//! keys. It never sees a key.

use std::io;
use std::os::fd::OwnedFd;

use zeroize::Zeroizing;

use crate::ipc::channel::Channel;
use crate::net::tls::secrets::{MAX_SESSION, MAX_SIGNED, MAX_TICKET};
use crate::net::tls::server::Keyholder;

/// The longest RSA block, in bytes (4096 bits).
pub const MAX_BLOCK: usize = 512;
/// The longest hash, in bytes, with the NUL some clients send.
pub const MAX_HASH: usize = 256;

/// What a gate asks, as the first byte of a message.
pub(crate) const DECRYPT: u8 = 1;
pub(crate) const COMPARE: u8 = 2;
pub(crate) const SIGN: u8 = 3;
pub(crate) const SEAL: u8 = 4;
pub(crate) const OPEN: u8 = 5;
/// What the keeper answers, likewise.
pub(crate) const GRANTED: u8 = 1;
pub(crate) const REFUSED: u8 = 0;

/// No message between a gate and the keeper is longer.
pub(crate) const MAX_MESSAGE: usize = 1 + MAX_TICKET;

/// What a session may have next to its root and the counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// The channel to the auditor.
    pub records: bool,
    /// The channel to the protocol's service.
    pub service: bool,
}

impl Extras {
    pub(crate) fn to_byte(self) -> u8 {
        u8::from(self.records) | u8::from(self.service) << 1
    }

    fn from_byte(byte: u8) -> Extras {
        Extras {
            records: byte & 1 != 0,
            service: byte & 2 != 0,
        }
    }
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
            Some((&GRANTED, key)) if !key.is_empty() => Some(Zeroizing::new(key.to_vec())),
            _ => None,
        })
    }

    /// What there is for a client that has shown the right hash: the root's
    /// handle and what comes with it, or the channel of its login. Nothing for
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

    pub(crate) fn ask(
        &self,
        what: u8,
        data: &[u8],
    ) -> io::Result<(Zeroizing<Vec<u8>>, Vec<OwnedFd>)> {
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
