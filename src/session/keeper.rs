//! A gate's side of the keeper: what it may ask of the process with the private
//! keys. It never sees a key.

use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use zeroize::Zeroizing;

use crate::ipc::Pipe;
use crate::ipc::channel::Channel;
use crate::ipc::codec::codec;
use crate::net::tls::secrets::MAX_TICKET;
use crate::net::tls::server::Keyholder;
use crate::session::login::LoginPipe;

/// The longest RSA block, in bytes (4096 bits).
pub const MAX_BLOCK: usize = 512;
/// Bytes of the modulus of a key for logins.
pub const LOGIN_KEY_BYTES: usize = 128;
/// The public exponent of these keys, 65537.
pub const LOGIN_EXPONENT: [u8; 3] = [1, 0, 1];
/// The longest hash, in bytes, with the NUL some clients send.
pub const MAX_HASH: usize = 256;

/// What a gate asks.
#[derive(Debug)]
pub enum Question {
    /// The session key in this RSA block.
    Decrypt(Vec<u8>),
    /// Whether this is the hash, of this client.
    Compare {
        /// The client, whom a proxy may have brought.
        client: SocketAddr,
        /// What it has sent.
        hash: Zeroizing<Vec<u8>>,
    },
    /// A signature of a handshake.
    Sign {
        /// The scheme of TLS.
        scheme: u16,
        /// What is signed.
        content: Vec<u8>,
    },
    /// A ticket of this TLS session.
    Seal(Zeroizing<Vec<u8>>),
    /// The TLS session in this ticket.
    Open(Vec<u8>),
    /// The login, for a protocol without a shared secret, of this client.
    Enter {
        /// As above.
        client: SocketAddr,
    },
    /// The modulus of a key for the client's name and password, for a protocol
    /// that has such keys.
    LoginKey,
    /// What a block holds that is encrypted by that key.
    DecryptLogin(Vec<u8>),
}

codec!(enum Question {
    1 => Decrypt(block),
    2 => Compare { client, hash },
    3 => Sign { scheme, content },
    4 => Seal(session),
    5 => Open(ticket),
    6 => Enter { client },
    7 => LoginKey,
    8 => DecryptLogin(block),
});

/// What the keeper answers.
#[derive(Debug)]
pub enum Reply {
    /// No.
    Refused,
    /// What was asked for.
    Granted(Zeroizing<Vec<u8>>),
    /// The hash is right: the channel of the login.
    Passed(LoginPipe),
}

codec!(enum Reply { 0 => Refused, 1 => Granted(what), 2 => Passed(login) });

/// A gate's view of the keeper.
#[derive(Debug)]
pub struct Keeper {
    channel: Pipe<Question, Reply>,
    client: SocketAddr,
}

impl Keeper {
    /// The keeper at the other end of the channel of this client's gate.
    pub fn new(channel: Channel, client: SocketAddr) -> Keeper {
        let channel = channel.into();
        Keeper { channel, client }
    }

    /// The session key in an RSA block; `None` when it holds none of these
    /// lengths.
    ///
    /// # Errors
    /// When the keeper is out of reach.
    pub fn session_key(
        &self,
        block: &[u8],
        lengths: &RangeInclusive<usize>,
    ) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        let key = self.decrypt(block)?;
        Ok(key.filter(|key| lengths.contains(&key.len())))
    }

    /// What an RSA block holds; `None` when it holds nothing.
    ///
    /// # Errors
    /// When the keeper is out of reach.
    pub fn decrypt(&self, block: &[u8]) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        if block.len() > MAX_BLOCK {
            return Ok(None);
        }
        let reply = self.ask(&Question::Decrypt(block.to_vec()))?;
        Ok(granted(reply).filter(|key| !key.is_empty()))
    }

    /// The channel of the login, for a client that has shown the right hash;
    /// `None` for another hash.
    ///
    /// # Errors
    /// When the keeper is out of reach.
    pub fn compare(&self, hash: &[u8]) -> io::Result<Option<LoginPipe>> {
        if hash.len() > MAX_HASH {
            return Ok(None);
        }
        let question = Question::Compare {
            client: self.client,
            hash: Zeroizing::new(hash.to_vec()),
        };
        self.ask(&question).map(login)
    }

    /// The channel of the login, for a protocol without a shared secret; `None`
    /// where this gate may not have it.
    ///
    /// # Errors
    /// When the keeper is out of reach.
    pub fn enter(&self) -> io::Result<Option<LoginPipe>> {
        let client = self.client;
        self.ask(&Question::Enter { client }).map(login)
    }

    /// The modulus of a key for the client's name and password; the exponent is
    /// [`LOGIN_EXPONENT`]. `None` for a protocol that has no such keys.
    ///
    /// # Errors
    /// When the keeper is out of reach.
    pub fn login_key(&self) -> io::Result<Option<Vec<u8>>> {
        let reply = self.ask(&Question::LoginKey)?;
        Ok(granted(reply).map(|modulus| modulus.to_vec()))
    }

    /// What a block holds that is encrypted by that key, if it is one.
    ///
    /// # Errors
    /// When the keeper is out of reach, or has decrypted two already.
    pub fn decrypt_login(&self, block: &[u8]) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        if block.len() > MAX_BLOCK {
            return Ok(None);
        }
        let reply = self.ask(&Question::DecryptLogin(block.to_vec()))?;
        Ok(granted(reply))
    }

    fn ask(&self, question: &Question) -> io::Result<Reply> {
        self.channel.send(question)?;
        self.channel
            .receive()?
            .ok_or(io::ErrorKind::UnexpectedEof.into())
    }

    /// The channel to the keeper.
    #[cfg(test)]
    pub(crate) fn into_channel(self) -> Channel {
        self.channel.into_channel()
    }
}

fn login(reply: Reply) -> Option<LoginPipe> {
    match reply {
        Reply::Passed(login) => Some(login),
        _ => None,
    }
}

fn granted(reply: Reply) -> Option<Zeroizing<Vec<u8>>> {
    match reply {
        Reply::Granted(what) => Some(what),
        _ => None,
    }
}

impl Keyholder for Keeper {
    fn sign(&self, scheme: u16, content: &[u8]) -> Option<Vec<u8>> {
        let content = content.to_vec();
        let reply = self.ask(&Question::Sign { scheme, content }).ok()?;
        granted(reply).map(|signature| signature.to_vec())
    }

    fn seal(&self, session: &[u8]) -> Option<Vec<u8>> {
        let session = Zeroizing::new(session.to_vec());
        let reply = self.ask(&Question::Seal(session)).ok()?;
        granted(reply).map(|ticket| ticket.to_vec())
    }

    fn open(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        // A client may offer one of any length.
        let fits = ticket.len() <= MAX_TICKET;
        let question = fits.then(|| Question::Open(ticket.to_vec()))?;
        granted(self.ask(&question).ok()?).map(|session| session.to_vec())
    }
}
