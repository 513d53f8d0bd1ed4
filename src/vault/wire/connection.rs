//! A connection: packets over a link, in clear and encrypted. It answers no packet
//! by itself but those that are not one.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::net::TcpStream;

use zeroize::Zeroizing;

use super::cipher::{Keys, Nonce};
use super::frame::{Frame, Frames, packet};
use crate::ipc::codec::codec;
use crate::net::link::LinkState;
use crate::net::{Link, LinkError};
use crate::vault::Dialect;

codec!(enum Dialect { 1 => G1, 2 => G2, 3 => G3 });

/// The most nonces that are remembered of a connection.
const MOST_NONCES: usize = 1 << 16;

/// Bytes asked of the system at once.
const AT_ONCE: usize = 16 * 1024;

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The client, or the way to it.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The client was sent away with this word.
    #[error("sent away: {0}")]
    SentAway(&'static str),
    /// The client has said good-bye.
    #[error("client has finished")]
    Finished,
    /// A process of ours, or the system.
    #[error("internal: {0}")]
    Internal(#[from] io::Error),
}

/// Both directions.
pub struct Connection {
    link: Link,
    frames: Frames,
    /// The longest packet.
    longest: usize,
    keys: Option<(Keys, Dialect)>,
    nonces: HashSet<Nonce>,
    /// The same in their order.
    order: VecDeque<Nonce>,
    /// Whether a session has it.
    is_in_session: bool,
}

/// What goes on in another process, but for the socket.
pub struct State {
    link: LinkState,
    waiting: Zeroizing<Vec<u8>>,
    keys: Keys,
    dialect: Dialect,
    nonces: Vec<Nonce>,
}

codec!(struct State { link, waiting, keys, dialect, nonces });

impl Connection {
    /// Packets on a link, none longer than this.
    pub fn new(link: Link, longest: usize) -> Connection {
        Connection {
            link,
            frames: Frames::default(),
            longest,
            keys: None,
            nonces: HashSet::new(),
            order: VecDeque::new(),
            is_in_session: false,
        }
    }

    /// The link beneath it, for its limits.
    pub fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    /// The socket, for the process that takes the connection over.
    pub fn socket(&self) -> &TcpStream {
        self.link.socket()
    }

    /// The state, once there are keys.
    pub fn state(&self) -> Option<State> {
        let (keys, dialect) = self.keys.clone()?;
        Some(State {
            link: self.link.state()?,
            waiting: Zeroizing::new(self.frames.rest().to_vec()),
            keys,
            dialect,
            nonces: self.order.iter().copied().collect(),
        })
    }

    /// The connection with this socket and state.
    ///
    /// # Errors
    /// `InvalidData` for a state that no connection has.
    pub fn from_state(socket: TcpStream, state: State, longest: usize) -> io::Result<Connection> {
        let link = Link::from_state(socket, &state.link)?;
        let mut connection = Connection::new(link, longest);
        connection.frames = Frames::new(state.waiting.to_vec());
        connection.keys = Some((state.keys, state.dialect));
        connection.is_in_session = true;
        for nonce in state.nonces {
            connection.remember(nonce);
        }
        Ok(connection)
    }

    /// What the client speaks.
    pub fn dialect(&self) -> Dialect {
        self.keys.as_ref().map_or(Dialect::G3, |(_, known)| *known)
    }

    /// Encrypts from now on.
    pub fn agree(&mut self, keys: Keys, dialect: Dialect) {
        self.keys = Some((keys, dialect));
    }

    /// The next packet.
    ///
    /// # Errors
    /// When there is none; a client whose bytes are not packets was sent away.
    pub fn packet(&mut self) -> Result<(char, String), WireError> {
        loop {
            match self.frames.next() {
                Some(Frame::Packet(letter, text)) => return Ok((letter, text)),
                Some(Frame::Noise) => {}
                Some(Frame::Broken) => return Err(self.send_away("UNKNOWN")),
                None if self.frames.waiting() > self.longest => {
                    return Err(self.send_away("PACKET_TOO_LONG"));
                }
                None => self.fill()?,
            }
        }
    }

    fn fill(&mut self) -> Result<(), LinkError> {
        self.link.wait_for_input(true)?;
        let mut room = [0; AT_ONCE];
        let read = self.link.read(&mut room)?;
        self.frames.add(&room[..read]);
        Ok(())
    }

    /// Opens the body of an encrypted packet: its text, `None` for one that
    /// nobody answers.
    ///
    /// # Errors
    /// When it is not what the client has encrypted just now; it was sent away.
    pub fn open(&mut self, body: &str) -> Result<Option<Zeroizing<String>>, WireError> {
        let Some((keys, dialect)) = &self.keys else {
            return Err(self.send_away("UNKNOWN"));
        };
        if *dialect != Dialect::G1 && !keys.has_mac(body) {
            return Err(self.refuse_mac());
        }
        let (dialect, sealed) = (*dialect, keys.open(*dialect, body));
        match sealed {
            Some(sealed) if self.nonces.contains(&sealed.nonce) => {
                Err(self.send_away("SECURITY_EXCEPTION_REPEATED_PACKET"))
            }
            Some(sealed) => {
                self.remember(sealed.nonce);
                // Without a MAC every fault looks the same.
                match sealed.text {
                    None if dialect == Dialect::G1 => Err(self.send_away("UNKNOWN")),
                    text => Ok(text),
                }
            }
            None => Err(self.send_away("UNKNOWN")),
        }
    }

    /// Sends a client away whose packet has a wrong MAC.
    pub fn refuse_mac(&mut self) -> WireError {
        let text = "INFERRerrno%eq!31!;code%eq!IMAC!;\
                    message%eq!INVALID_MESSAGE_AUTHENTICATION_CODE!;";
        match self.send_clear('U', text) {
            Ok(()) => self.send_away("SECURITY_EXCEPTION_INVALID_HMAC_CHECKSUM"),
            Err(e) => e.into(),
        }
    }

    fn remember(&mut self, nonce: Nonce) {
        if self.nonces.insert(nonce) {
            self.order.push_back(nonce);
        }
        if self.order.len() > MOST_NONCES
            && let Some(oldest) = self.order.pop_front()
        {
            self.nonces.remove(&oldest);
        }
    }

    /// Sends a packet in clear.
    ///
    /// # Errors
    /// The link's.
    pub fn send_clear(&mut self, letter: char, text: &str) -> Result<(), LinkError> {
        self.link.write(&mut packet(letter, text))
    }

    /// Sends an encrypted packet, by one write: there are clients that lose the
    /// begin of one that is cut.
    ///
    /// # Errors
    /// The link's, or the system's.
    pub fn send(&mut self, text: &str) -> Result<(), WireError> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(io::Error::other)?;
        // The client may not send it back as its own.
        self.remember(nonce);
        let keys = self.keys.as_ref();
        let (keys, dialect) = keys.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        let body = keys.seal(*dialect, nonce, text).map_err(io::Error::from)?;
        Ok(self.send_clear('E', &body)?)
    }

    /// Ends the connection with a word that the client can read.
    pub fn send_away(&mut self, word: &'static str) -> WireError {
        let sent = self.send_clear('U', &format!("FINmessage%eq!{word}!;"));
        match sent {
            Ok(()) => {
                match self.is_in_session {
                    true => self.link.close_in_session(),
                    false => self.link.close_slowly(),
                }
                WireError::SentAway(word)
            }
            Err(e) => e.into(),
        }
    }
}
