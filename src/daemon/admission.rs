//! What a gate says to whoever stands behind its next door, over one channel:
//! to the porter until LOGIN, to the usher from then on. An answer is one
//! byte: 0, or the status that the client is told.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};

use zeroize::Zeroizing;

use super::channel::Channel;
use crate::store::RootPath;
use crate::tf::doors::Doorkeeper;
use crate::tf::status::Status;
use crate::tf::wire::{MAX_STATE, Wire};
use crate::users::account::MAX_NAME;
use crate::users::hash::MAX_PASSWORD;

/// The longest token of a jail, in bytes.
pub const MAX_TOKEN: usize = 1024;

/// No message of a gate is longer.
pub const MAX_ASK: usize = 1 + MAX_STATE;

const LOGIN: u8 = 1;
const JAIL: u8 = 2;
const STATE: u8 = 3;

/// What a gate asks. Other bytes end its channel.
#[derive(Debug, PartialEq, Eq)]
pub enum Ask<'a> {
    /// Does this password fit?
    Login {
        /// The name of the account.
        name: &'a str,
        /// The password.
        password: &'a [u8],
    },
    /// Does this token open this directory?
    Jail {
        /// The token.
        token: &'a [u8],
        /// The directory, as the client named it.
        path: &'a [u8],
    },
    /// All doors are open: take the session over. The socket is beside it.
    State(&'a [u8]),
}

impl<'a> Ask<'a> {
    /// Reads a message.
    #[must_use]
    pub fn from_bytes(bytes: &'a [u8]) -> Option<Ask<'a>> {
        let (what, rest) = bytes.split_first()?;
        let two = || {
            let (len, rest) = rest.split_first_chunk::<2>()?;
            rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
        };
        match *what {
            LOGIN => {
                let (name, password) = two()?;
                let fine = name.len() <= MAX_NAME && password.len() <= MAX_PASSWORD;
                let name = std::str::from_utf8(name).ok().filter(|_| fine)?;
                Some(Ask::Login { name, password })
            }
            JAIL => {
                let (token, path) = two()?;
                (token.len() <= MAX_TOKEN).then_some(Ask::Jail { token, path })
            }
            STATE if rest.len() <= MAX_STATE => Some(Ask::State(rest)),
            _ => None,
        }
    }

    /// The message.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let two = |what: u8, first: &[u8], second: &[u8]| {
            let len = (first.len() as u16).to_be_bytes();
            Zeroizing::new([&[what], &len[..], first, second].concat())
        };
        match self {
            Ask::Login { name, password } => two(LOGIN, name.as_bytes(), password),
            Ask::Jail { token, path } => two(JAIL, token, path),
            Ask::State(state) => Zeroizing::new([&[STATE], *state].concat()),
        }
    }
}

/// A gate's view of its next door.
#[derive(Debug)]
pub struct NextDoor(Channel);

impl NextDoor {
    /// The door at the other end of a channel.
    #[must_use]
    pub fn new(handle: OwnedFd) -> NextDoor {
        NextDoor(Channel::from_handle(handle))
    }

    fn ask(&self, ask: &Ask<'_>) -> io::Result<Option<Status>> {
        self.0.send(&ask.to_bytes(), &[])?;
        let mut answer = [0; 1];
        match self.0.receive(&mut answer)? {
            (1, _) if answer[0] == 0 => Ok(None),
            (1, _) => Ok(Some(Status::from_code(answer[0].into()).unwrap_or(Status::LoginFailed))),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Hands the session over; this process has no part in it afterwards.
    ///
    /// # Errors
    /// When nobody is there to take it.
    pub fn hand_over(self, wire: Wire) -> io::Result<()> {
        let state = wire.into_state();
        let (socket, state): (TcpStream, _) = state.ok_or(io::ErrorKind::InvalidInput)?;
        self.0.send(&Ask::State(&state).to_bytes(), &[socket.as_fd()])
    }
}

impl Doorkeeper for NextDoor {
    fn login(&mut self, user: &[u8], password: &[u8]) -> io::Result<Option<Status>> {
        let fine = user.len() <= MAX_NAME && password.len() <= MAX_PASSWORD;
        let name = std::str::from_utf8(user).ok().filter(|_| fine);
        // What no account can have is asked for all the same, as an account
        // that no file can have: the answer takes its time.
        let (name, password) = name.map_or((" ", &b" "[..]), |name| (name, password));
        self.ask(&Ask::Login { name, password })
    }

    fn injail(&mut self, token: &[u8], path: &RootPath) -> io::Result<Option<Status>> {
        if token.len() > MAX_TOKEN {
            return Ok(Some(Status::JailToken));
        }
        self.ask(&Ask::Jail { token, path: path.as_bytes() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_gate_asks_arrives_as_sent() {
        let login = Ask::Login { name: "ann", password: b"a b" };
        for ask in [login, Ask::Jail { token: b"", path: b"sites" }, Ask::State(&[7])] {
            assert_eq!(Ask::from_bytes(&ask.to_bytes()), Some(ask));
        }
        for bad in [&[][..], &[0], &[9, 0, 0], &[LOGIN, 0], &[LOGIN, 0, 9, 1], &[LOGIN, 0, 1, 255]]
        {
            assert_eq!(Ask::from_bytes(bad), None, "{bad:?}");
        }
        let long = Ask::Login { name: "ann", password: &[1; MAX_PASSWORD + 1] };
        assert_eq!(Ask::from_bytes(&long.to_bytes()), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Ask::from_bytes(&bytes);
        }
    }
}
