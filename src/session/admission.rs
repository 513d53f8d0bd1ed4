//! What a gate says to whoever stands behind its next door, over one channel:
//! to the authenticator until LOGIN, to the launcher from then on. An answer is one
//! byte: 0, or the status that the client is told.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use zeroize::Zeroizing;

use crate::ipc::channel::Channel;
use crate::net::tls::login::{MAX_PROOF, Proof};
use crate::store::RootPath;
use crate::tf::doors::{Answer, Closed, Doorkeeper};
use crate::tf::status::Status;
use crate::tf::wire::{MAX_STATE, Wire};
use crate::users::account::MAX_NAME;
use crate::users::hash::MAX_PASSWORD;

/// The longest token of a jail, in bytes.
pub const MAX_TOKEN: usize = 1024;

/// No message of a gate is longer.
pub const MAX_ASK: usize = 1 + 2 + MAX_NAME + 2 + MAX_PASSWORD + MAX_PROOF + MAX_STATE;

const LOGIN: u8 = 1;
const JAIL: u8 = 2;
const STATE: u8 = 3;
const LAST_LOGIN: u8 = 4;
const CERTIFICATE: u8 = 5;
const LAST_CERTIFICATE: u8 = 6;

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
    /// Does this password fit? Then take the session over, and say `OK` to the
    /// client: LOGIN is the last door. The socket is beside it.
    LastLogin {
        /// The name of the account.
        name: &'a str,
        /// The password.
        password: &'a [u8],
        /// As in [`Ask::State`].
        state: &'a [u8],
    },
    /// Is this the [`Proof`] of an account?
    Certificate(&'a [u8]),
    /// Is it? Then take the session over: LOGIN is the last door. The client
    /// hears nothing of it. The socket is beside it.
    LastCertificate {
        /// The proof.
        proof: &'a [u8],
        /// As in [`Ask::State`].
        state: &'a [u8],
    },
}

impl<'a> Ask<'a> {
    /// Reads a message.
    #[must_use]
    pub fn from_bytes(bytes: &'a [u8]) -> Option<Ask<'a>> {
        let (what, rest) = bytes.split_first()?;
        let cut = |rest: &'a [u8]| {
            let (len, rest) = rest.split_first_chunk::<2>()?;
            rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
        };
        let account = |name: &'a [u8], password: &[u8]| {
            let fine = name.len() <= MAX_NAME && password.len() <= MAX_PASSWORD;
            std::str::from_utf8(name).ok().filter(|_| fine)
        };
        match *what {
            LOGIN => {
                let (name, password) = cut(rest)?;
                Some(Ask::Login {
                    name: account(name, password)?,
                    password,
                })
            }
            JAIL => {
                let (token, path) = cut(rest)?;
                (token.len() <= MAX_TOKEN).then_some(Ask::Jail { token, path })
            }
            LAST_LOGIN => {
                let (name, rest) = cut(rest)?;
                let (password, state) = cut(rest)?;
                let name = account(name, password).filter(|_| state.len() <= MAX_STATE)?;
                Some(Ask::LastLogin {
                    name,
                    password,
                    state,
                })
            }
            STATE if rest.len() <= MAX_STATE => Some(Ask::State(rest)),
            CERTIFICATE if rest.len() <= MAX_PROOF => Some(Ask::Certificate(rest)),
            LAST_CERTIFICATE => {
                let (proof, state) = cut(rest)?;
                let fine = proof.len() <= MAX_PROOF && state.len() <= MAX_STATE;
                fine.then_some(Ask::LastCertificate { proof, state })
            }
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
            Ask::LastLogin {
                name,
                password,
                state,
            } => {
                let mut bytes = two(LAST_LOGIN, name.as_bytes(), &[]);
                bytes.extend_from_slice(&(password.len() as u16).to_be_bytes());
                bytes.extend_from_slice(password);
                bytes.extend_from_slice(state);
                bytes
            }
            Ask::Certificate(proof) => Zeroizing::new([&[CERTIFICATE], *proof].concat()),
            Ask::LastCertificate { proof, state } => two(LAST_CERTIFICATE, proof, state),
        }
    }
}

/// A gate's view of its next door.
#[derive(Debug)]
pub struct NextDoor {
    channel: Channel,
    /// Whether nothing is behind LOGIN.
    last: bool,
    /// What the client has proved.
    proof: Option<Proof>,
}

impl NextDoor {
    /// The door at the other end of a channel; the first of those that are
    /// closed.
    #[must_use]
    pub fn new(handle: OwnedFd, closed: Closed) -> NextDoor {
        NextDoor {
            channel: Channel::from_handle(handle),
            last: !closed.jail,
            proof: None,
        }
    }

    /// The same for a client that has proved something.
    #[must_use]
    pub fn with_proof(self, proof: Option<Proof>) -> NextDoor {
        NextDoor { proof, ..self }
    }

    #[cfg(test)]
    pub(crate) fn into_channel(self) -> Channel {
        self.channel
    }

    fn ask(&self, ask: &Ask<'_>, beside: &[BorrowedFd<'_>]) -> io::Result<Answer> {
        self.channel.send(&ask.to_bytes(), beside)?;
        let mut answer = [0; 1];
        match (self.channel.receive(&mut answer)?.0, answer[0]) {
            (1, 0) => Ok(Answer::Open),
            (1, code) => {
                let status = Status::from_code(code.into()).unwrap_or(Status::LoginFailed);
                Ok(Answer::Closed(status))
            }
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
        self.channel
            .send(&Ask::State(&state).to_bytes(), &[socket.as_fd()])
    }
}

impl Doorkeeper for NextDoor {
    fn show_certificate(&mut self, wire: &Wire) -> io::Result<Option<Answer>> {
        let Some(proof) = self.proof.take().and_then(|proof| proof.to_bytes()) else {
            return Ok(None);
        };
        if !self.last {
            return self.ask(&Ask::Certificate(&proof), &[]).map(Some);
        }
        let state = wire.state().ok_or(io::ErrorKind::InvalidInput)?;
        let ask = Ask::LastCertificate {
            proof: &proof,
            state: &state,
        };
        Ok(Some(match self.ask(&ask, &[wire.socket().as_fd()])? {
            Answer::Open => Answer::TakenOver,
            other => other,
        }))
    }

    fn login(&mut self, wire: &Wire, user: &[u8], password: &[u8]) -> io::Result<Answer> {
        let fine = user.len() <= MAX_NAME && password.len() <= MAX_PASSWORD;
        let name = std::str::from_utf8(user).ok().filter(|_| fine);
        // What no account can have is asked for all the same, as an account
        // that no file can have: the answer takes its time.
        let (name, password) = name.map_or((" ", &b" "[..]), |name| (name, password));
        if !self.last {
            return self.ask(&Ask::Login { name, password }, &[]);
        }
        let state = wire.state().ok_or(io::ErrorKind::InvalidInput)?;
        let ask = Ask::LastLogin {
            name,
            password,
            state: &state,
        };
        Ok(match self.ask(&ask, &[wire.socket().as_fd()])? {
            Answer::Open => Answer::TakenOver,
            other => other,
        })
    }

    fn injail(&mut self, token: &[u8], path: &RootPath) -> io::Result<Answer> {
        if token.len() > MAX_TOKEN {
            return Ok(Answer::Closed(Status::JailToken));
        }
        self.ask(
            &Ask::Jail {
                token,
                path: path.as_bytes(),
            },
            &[],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_gate_asks_arrives_as_sent() {
        let login = Ask::Login {
            name: "ann",
            password: b"a b",
        };
        let last = Ask::LastLogin {
            name: "ann",
            password: b"a b",
            state: &[7, 8],
        };
        let (proof, state) = (&[1, 2][..], &[3][..]);
        let shown = [
            Ask::Certificate(proof),
            Ask::LastCertificate { proof, state },
        ];
        for ask in shown {
            assert_eq!(Ask::from_bytes(&ask.to_bytes()), Some(ask));
        }
        for ask in [
            login,
            Ask::Jail {
                token: b"",
                path: b"sites",
            },
            Ask::State(&[7]),
            last,
        ] {
            assert_eq!(Ask::from_bytes(&ask.to_bytes()), Some(ask));
        }
        for bad in [
            &[][..],
            &[0],
            &[9, 0, 0],
            &[LOGIN, 0],
            &[LOGIN, 0, 9, 1],
            &[LOGIN, 0, 1, 255],
        ] {
            assert_eq!(Ask::from_bytes(bad), None, "{bad:?}");
        }
        let long = Ask::Login {
            name: "ann",
            password: &[1; MAX_PASSWORD + 1],
        };
        assert_eq!(Ask::from_bytes(&long.to_bytes()), None);
        let proof = [0; MAX_PROOF + 1];
        assert_eq!(Ask::from_bytes(&Ask::Certificate(&proof).to_bytes()), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Ask::from_bytes(&bytes);
        }
    }
}
