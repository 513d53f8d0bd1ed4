//! What a gate asks about its client, over one channel: the authenticator
//! until the account is settled, from then on the process that becomes the
//! session. An answer is a verdict, one byte; each protocol puts it in its own
//! words.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use zeroize::Zeroizing;

use crate::config::{Config, Mode};
use crate::ipc::channel::Channel;
use crate::net::tls::login::{MAX_PROOF, Proof};
use crate::store::RootPath;
use crate::users::account::MAX_NAME;
use crate::users::hash::MAX_PASSWORD;

/// The longest token of a jail, in bytes.
pub const MAX_TOKEN: usize = 1024;

/// The longest state that a gate hands over, in bytes.
pub const MAX_STATE: usize = 64 * 1024;

/// The longest question that the authenticator answers, in bytes.
pub const MAX_CLAIM: usize = 1 + MAX_PROOF + 2 + MAX_NAME + MAX_PASSWORD;

/// The longest message of a gate, in bytes.
pub const MAX_ASK: usize = MAX_CLAIM + MAX_STATE;

const PASSWORD: u8 = 1;
const JAIL: u8 = 2;
const STATE: u8 = 3;
const CERTIFICATE: u8 = 4;

/// The login steps that a client has left, behind what its protocol asks of
/// everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// An account, in multi-user mode.
    pub account: bool,
    /// A jail.
    pub jail: bool,
}

impl Steps {
    /// Those of a configuration.
    pub fn of(config: &Config) -> Steps {
        Steps {
            account: config.server.mode == Mode::MultiUser,
            jail: config.server.jail,
        }
    }

    /// None left.
    pub const NONE: Steps = Steps {
        account: false,
        jail: false,
    };
}

/// Whether a client may go on.
pub type Verdict = Result<(), Why>;

/// Why a client may not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// Name and password don't match, or the certificate names no account.
    #[error("wrong name or password")]
    Password,
    /// The token does not open the jail.
    #[error("wrong token")]
    Token,
    /// The directory has no readable token file.
    #[error("no token file")]
    TokenFile,
    /// The path leads out of the root.
    #[error("the path leads out of the root")]
    Path,
    /// The account has as many sessions as it may have.
    #[error("too many sessions of this user")]
    TooMany,
    /// The server failed.
    #[error("internal error")]
    Internal,
}

const REASONS: [Why; 6] = [
    Why::Password,
    Why::Token,
    Why::TokenFile,
    Why::Path,
    Why::TooMany,
    Why::Internal,
];

/// Sends a verdict to a gate, unless its queue is full: then it is hostile.
pub fn answer(gate: &Channel, verdict: Verdict) -> io::Result<()> {
    let reason = |why| REASONS.iter().zip(1..).find(|(reason, _)| **reason == why);
    let byte = verdict
        .err()
        .and_then(reason)
        .map_or(0, |(_, number)| number);
    gate.try_send(&[byte], &[])
}

/// What a gate asks. Other bytes end its channel.
#[derive(Debug, PartialEq, Eq)]
pub enum Ask<'a> {
    /// Does this password open the account? Asked of the authenticator.
    Password {
        /// The name of the account.
        name: &'a str,
        /// The password.
        password: &'a [u8],
    },
    /// Does this [`Proof`] open an account? Asked of the authenticator.
    Certificate(&'a [u8]),
    /// Does this token open this directory? Asked of the session to be.
    Jail {
        /// The token.
        token: &'a [u8],
        /// The directory, as the client named it.
        path: &'a [u8],
    },
    /// Take the session over: the protocol's state, with the socket next to it.
    State(&'a [u8]),
}

impl<'a> Ask<'a> {
    /// Reads a message.
    pub fn from_bytes(bytes: &'a [u8]) -> Option<Ask<'a>> {
        let (what, rest) = bytes.split_first()?;
        match *what {
            PASSWORD => {
                let (name, password) = split(rest)?;
                let name = std::str::from_utf8(name).ok()?;
                let is_short = name.len() <= MAX_NAME && password.len() <= MAX_PASSWORD;
                is_short.then_some(Ask::Password { name, password })
            }
            CERTIFICATE => (rest.len() <= MAX_PROOF).then_some(Ask::Certificate(rest)),
            JAIL => {
                let (token, path) = split(rest)?;
                (token.len() <= MAX_TOKEN).then_some(Ask::Jail { token, path })
            }
            STATE => (rest.len() <= MAX_STATE).then_some(Ask::State(rest)),
            _ => None,
        }
    }

    /// The message; `None` where a part is too long for its length.
    pub fn to_bytes(&self) -> Option<Zeroizing<Vec<u8>>> {
        Some(Zeroizing::new(match self {
            Ask::Password { name, password } => join(PASSWORD, name.as_bytes(), password)?,
            Ask::Certificate(proof) => [&[CERTIFICATE], *proof].concat(),
            Ask::Jail { token, path } => join(JAIL, token, path)?,
            Ask::State(state) => [&[STATE], *state].concat(),
        }))
    }
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}

fn join(what: u8, first: &[u8], second: &[u8]) -> Option<Vec<u8>> {
    let len = u16::try_from(first.len()).ok()?.to_be_bytes();
    Some([&[what], &len[..], first, second].concat())
}

/// What the session goes on with, sent right behind the question of the last
/// login step, so that it begins without another round.
#[derive(Clone, Copy, Debug)]
pub struct HandOver<'a> {
    /// The client's socket.
    pub socket: BorrowedFd<'a>,
    /// The protocol's state.
    pub state: &'a [u8],
}

/// A gate's side of its login.
#[derive(Debug)]
pub struct Login {
    channel: Channel,
    steps: Steps,
    /// What the client has proved by a certificate.
    proof: Option<Proof>,
}

impl Login {
    /// The login over this channel.
    pub fn new(channel: OwnedFd, steps: Steps, proof: Option<Proof>) -> Login {
        Login {
            channel: Channel::from_handle(channel),
            steps,
            proof,
        }
    }

    /// The steps that are left.
    pub fn steps(&self) -> Steps {
        self.steps
    }

    /// Whether the account is the last step, behind which the session begins.
    pub fn account_is_last(&self) -> bool {
        self.steps.account && !self.steps.jail
    }

    #[cfg(test)]
    pub(crate) fn into_channel(self) -> Channel {
        self.channel
    }

    /// Tries what the client has proved by a certificate in place of a
    /// password; `None` where it has proved nothing. `next` belongs to the
    /// last step.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn certificate(&mut self, next: Option<HandOver<'_>>) -> io::Result<Option<Verdict>> {
        let proof = self.proof.take().and_then(|proof| proof.to_bytes());
        let Some(proof) = proof else { return Ok(None) };
        self.account(&Ask::Certificate(&proof), next).map(Some)
    }

    /// Tries a name and a password. A name that no account can have is asked
    /// for all the same, as one that no file can hold, so that the answer takes
    /// its time.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn password(
        &mut self,
        name: &[u8],
        password: &[u8],
        next: Option<HandOver<'_>>,
    ) -> io::Result<Verdict> {
        let is_short = name.len() <= MAX_NAME && password.len() <= MAX_PASSWORD;
        let name = std::str::from_utf8(name).ok().filter(|_| is_short);
        let (name, password) = name.map_or((" ", &b" "[..]), |name| (name, password));
        self.account(&Ask::Password { name, password }, next)
    }

    fn account(&mut self, ask: &Ask<'_>, next: Option<HandOver<'_>>) -> io::Result<Verdict> {
        self.send(ask, &[])?;
        if let Some(HandOver { socket, state }) = next {
            // The other end may be closed by now; the verdict says so.
            let _ = self.send(&Ask::State(state), &[socket]);
        }
        let verdict = self.verdict()?;
        self.steps.account = verdict.is_err();
        Ok(verdict)
    }

    /// Tries a token on a directory.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn jail(&mut self, token: &[u8], path: &RootPath) -> io::Result<Verdict> {
        if token.len() > MAX_TOKEN {
            return Ok(Err(Why::Token));
        }
        let path = path.as_bytes();
        self.send(&Ask::Jail { token, path }, &[])?;
        let verdict = self.verdict()?;
        self.steps.jail = verdict.is_err();
        Ok(verdict)
    }

    /// Hands the session over and waits until its process has it; this one has no
    /// part in it afterwards. The daemon must not hear of the end of this process
    /// before it has started the other.
    ///
    /// # Errors
    /// When nobody takes it.
    pub fn hand_over(self, socket: impl AsFd, state: &[u8]) -> io::Result<()> {
        self.send(&Ask::State(state), &[socket.as_fd()])?;
        let _ = self.channel.receive(&mut [0; 1]);
        Ok(())
    }

    fn send(&self, ask: &Ask<'_>, handles: &[BorrowedFd<'_>]) -> io::Result<()> {
        let message = ask.to_bytes().ok_or(io::ErrorKind::InvalidInput)?;
        self.channel.send(&message, handles)
    }

    fn verdict(&self) -> io::Result<Verdict> {
        let mut byte = [0; 1];
        let received = match self.channel.receive(&mut byte) {
            // The other end was closed with a message of ours unread. What it
            // said before comes next.
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => self.channel.receive(&mut byte),
            other => other,
        };
        match (received?.0, byte[0]) {
            (1, 0) => Ok(Ok(())),
            (1, number) => {
                let why = REASONS.get(usize::from(number) - 1);
                Ok(Err(*why.ok_or(io::ErrorKind::InvalidData)?))
            }
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::channel::pair;
    use proptest::prelude::*;

    #[test]
    fn what_a_gate_asks_arrives_as_sent() {
        for ask in [
            Ask::Password {
                name: "ann",
                password: b"a b",
            },
            Ask::Certificate(&[1, 2]),
            Ask::Jail {
                token: b"",
                path: b"sites",
            },
            Ask::State(&[7]),
        ] {
            let bytes = ask.to_bytes().expect("bytes");
            assert_eq!(Ask::from_bytes(&bytes), Some(ask));
        }
        for bad in [
            &[][..],
            &[0],
            &[9, 0, 0],
            &[PASSWORD, 0],
            &[PASSWORD, 0, 9, 1],
            &[PASSWORD, 0, 1, 255],
        ] {
            assert_eq!(Ask::from_bytes(bad), None, "{bad:?}");
        }
        let proof = [0; MAX_PROOF + 1];
        let password = [1; MAX_PASSWORD + 1];
        for long in [
            Ask::Password {
                name: "ann",
                password: &password,
            },
            Ask::Certificate(&proof),
        ] {
            let bytes = long.to_bytes().expect("bytes");
            assert_eq!(Ask::from_bytes(&bytes), None);
        }
    }

    #[test]
    fn a_verdict_arrives_also_from_who_left_the_state_unread() {
        let account = Steps {
            account: true,
            jail: false,
        };
        for why in REASONS {
            let (ours, theirs) = pair().expect("pair");
            let mut login = Login::new(ours.into_handle(), account, None);
            let (socket, _other) = pair().expect("pair");
            answer(&theirs, Err(why)).expect("answer");
            let asking = std::thread::spawn(move || {
                let next = HandOver {
                    socket: socket.as_fd(),
                    state: b"state",
                };
                login.password(b"ann", b"x", Some(next))
            });
            let mut question = [0; 64];
            theirs.receive(&mut question).expect("question");
            drop(theirs);
            let verdict = asking.join().expect("thread").expect("verdict");
            assert_eq!(verdict, Err(why));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Ask::from_bytes(&bytes);
        }
    }
}
