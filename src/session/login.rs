//! What a gate asks about its client, over one channel: the authenticator
//! until the account is settled, from then on the process that becomes the
//! session. An answer is a verdict; each protocol puts it in its own words.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use zeroize::Zeroizing;

use crate::config::{Config, Mode};
use crate::ipc::Pipe;
use crate::ipc::codec::codec;
use crate::ipc::orders::Tag;
use crate::net::tls::login::Proof;
use crate::store::RootPath;
use crate::store::path::PATH_MAX;
use crate::users::account::{Closed, MAX_NAME};
use crate::users::hash::MAX_PASSWORD;

/// The longest token of a jail, in bytes.
pub const MAX_TOKEN: usize = 1024;

/// The longest state that a gate hands over, in bytes.
pub const MAX_STATE: usize = 64 * 1024;

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
            // Protocols with accounts of their own are alone in single-user mode.
            account: config.server.mode == Mode::MultiUser || config.has_own_accounts_alone(),
            jail: config.server.jail,
        }
    }

    /// None left.
    pub const NONE: Steps = Steps {
        account: false,
        jail: false,
    };
}

/// What a client reads that has to send a one-time code behind its password.
pub const CODE_NEEDED: &str = "a one-time code is needed behind the password";

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
    #[error("the account has all the sessions it may have")]
    TooMany,
    /// The server failed.
    #[error("internal error")]
    Internal,
    /// The account is locked. From here on the client has shown the right password or
    /// certificate, unless it says otherwise.
    #[error("the account is locked")]
    Locked,
    /// The last day of the account is over.
    #[error("the account has expired")]
    Expired,
    /// The account may not be used from the client's address.
    #[error("the account may not be used from this address")]
    Network,
    /// Too many logins have failed: until then, in seconds since the epoch. This is
    /// said whatever the password is.
    #[error("blocked until {} after failed logins", time(*until))]
    Blocked {
        /// The end of the block.
        until: u64,
    },
    /// A one-time code has to follow the password, which is right or was not looked
    /// at.
    #[error("{CODE_NEEDED}")]
    CodeNeeded,
    /// The password is right, and the one-time code behind it is not.
    #[error("the one-time code is wrong or was used before")]
    WrongCode,
    /// An operator has barred the account or the address until then.
    #[error("barred by the operator until {}", time(*until))]
    Barred {
        /// The end of that.
        until: u64,
    },
    /// The password is right, and too old.
    #[error("the password has expired: change it first")]
    PasswordExpired,
    /// The account may not be used now, for a reason that PAM keeps to itself.
    #[error("the account may not log in now")]
    Denied,
    /// Nobody can say whether the password is right.
    #[error("the server cannot check passwords now: try again later")]
    Unavailable,
}

impl Why {
    /// The reason that a client gets beyond the one sentence for all.
    pub fn reason(self) -> Option<Why> {
        match self {
            Why::Password | Why::Token | Why::TokenFile | Why::Path | Why::Internal => None,
            other => Some(other),
        }
    }
}

impl From<Closed> for Why {
    fn from(closed: Closed) -> Why {
        match closed {
            Closed::Locked => Why::Locked,
            Closed::Expired => Why::Expired,
            Closed::Network => Why::Network,
        }
    }
}

/// A time in UTC.
fn time(seconds: u64) -> String {
    let time = i64::try_from(seconds)
        .ok()
        .map(jiff::Timestamp::from_second);
    time.and_then(Result::ok)
        .map_or_else(|| "further notice".to_owned(), |time| time.to_string())
}

codec!(enum Why {
    1 => Password,
    2 => Token,
    3 => TokenFile,
    4 => Path,
    5 => TooMany,
    6 => Internal,
    7 => Locked,
    8 => Expired,
    9 => Network,
    10 => Blocked { until },
    11 => Barred { until },
    12 => CodeNeeded,
    13 => WrongCode,
    14 => PasswordExpired,
    15 => Denied,
    16 => Unavailable,
});

/// What a gate asks. Other bytes end its channel.
#[derive(Debug)]
pub enum Ask {
    /// Does this password open the account? Asked of the authenticator.
    Password {
        /// The name of the account.
        name: String,
        /// The password.
        password: Zeroizing<Vec<u8>>,
    },
    /// Does this token open this directory? Asked of the session to be.
    Jail {
        /// The token.
        token: Zeroizing<Vec<u8>>,
        /// The directory, as the client named it.
        path: Vec<u8>,
    },
    /// Take the session over.
    State {
        /// The protocol's state.
        state: Zeroizing<Vec<u8>>,
        /// The client's socket.
        socket: OwnedFd,
    },
    /// Does this open an account? Asked of the authenticator.
    Certificate(Proof),
}

codec!(enum Ask {
    1 => Password { name, password },
    2 => Jail { token, path },
    3 => State { state, socket },
    4 => Certificate(proof),
} if Ask::is_valid);

/// A gate's end of the channel for its login.
pub type LoginPipe = Pipe<Ask, Verdict>;

/// The other end of that.
pub type GatePipe = Pipe<Verdict, Ask>;

/// A gate that may ask for the login of its client: the daemon's message to the
/// process that decides.
#[derive(Debug)]
pub struct AskingGate {
    /// Its connection.
    pub tag: Tag,
    /// The client's address.
    pub peer: IpAddr,
    /// The channel to it.
    pub channel: GatePipe,
}

codec!(struct AskingGate { tag, peer, channel });

impl AsFd for AskingGate {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

impl Ask {
    /// Whether none of it is too long.
    fn is_valid(&self) -> bool {
        match self {
            Ask::Password { name, password } => {
                name.len() <= MAX_NAME && password.len() <= MAX_PASSWORD
            }
            Ask::Jail { token, path } => token.len() <= MAX_TOKEN && path.len() <= PATH_MAX,
            Ask::State { state, .. } => state.len() <= MAX_STATE,
            Ask::Certificate(_) => true,
        }
    }
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

impl HandOver<'_> {
    fn to_ask(self) -> io::Result<Ask> {
        Ok(Ask::State {
            state: Zeroizing::new(self.state.to_vec()),
            socket: self.socket.try_clone_to_owned()?,
        })
    }
}

/// A gate's side of its login.
#[derive(Debug)]
pub struct Login {
    channel: LoginPipe,
    steps: Steps,
    /// What the client has proved by a certificate.
    proof: Option<Proof>,
}

impl Login {
    /// The login over this channel.
    pub fn new(channel: LoginPipe, steps: Steps, proof: Option<Proof>) -> Login {
        Login {
            channel,
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
    pub(crate) fn into_channel(self) -> crate::ipc::channel::Channel {
        self.channel.into_channel()
    }

    /// Tries what the client has proved by a certificate in place of a
    /// password; `None` where it has proved nothing. `next` belongs to the
    /// last step.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn certificate(&mut self, next: Option<HandOver<'_>>) -> io::Result<Option<Verdict>> {
        let proof = self.proof.take().filter(Proof::is_valid);
        let Some(proof) = proof else { return Ok(None) };
        self.account(&Ask::Certificate(proof), next).map(Some)
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
        let (name, password) = (name.to_owned(), Zeroizing::new(password.to_vec()));
        self.account(&Ask::Password { name, password }, next)
    }

    fn account(&mut self, ask: &Ask, next: Option<HandOver<'_>>) -> io::Result<Verdict> {
        let state = next.map(HandOver::to_ask).transpose()?;
        self.channel.send(ask)?;
        if let Some(state) = state {
            // The other end may be closed by now; the verdict says so.
            let _ = self.channel.send(&state);
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
        let (token, path) = (Zeroizing::new(token.to_vec()), path.as_bytes().to_vec());
        self.channel.send(&Ask::Jail { token, path })?;
        let verdict = self.verdict()?;
        self.steps.jail = verdict.is_err();
        Ok(verdict)
    }

    /// Hands the session over; this process has no part in it afterwards.
    ///
    /// # Errors
    /// When nobody takes it.
    pub fn hand_over(self, socket: impl AsFd, state: &[u8]) -> io::Result<()> {
        let socket = socket.as_fd();
        self.channel.send(&HandOver { socket, state }.to_ask()?)
    }

    /// The same for a client that is let in already, and waits until its session has
    /// begun.
    ///
    /// # Errors
    /// When nobody takes it.
    pub fn enter(self, socket: impl AsFd, state: &[u8]) -> io::Result<Verdict> {
        let socket = socket.as_fd();
        self.channel.send(&HandOver { socket, state }.to_ask()?)?;
        self.verdict()
    }

    fn verdict(&self) -> io::Result<Verdict> {
        let received = match self.channel.receive() {
            // The other end was closed with a message of ours unread. What it
            // said before comes next.
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => self.channel.receive(),
            other => other,
        };
        received?.ok_or(io::ErrorKind::UnexpectedEof.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::channel::pair;
    use crate::ipc::codec::{Decode, Encode};
    use proptest::prelude::*;

    fn zeroizing(len: usize) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(vec![1; len])
    }

    fn password(name: usize, password: usize) -> Ask {
        Ask::Password {
            name: "n".repeat(name),
            password: zeroizing(password),
        }
    }

    fn jail(token: usize, path: usize) -> Ask {
        Ask::Jail {
            token: zeroizing(token),
            path: vec![b'p'; path],
        }
    }

    fn state(len: usize) -> Ask {
        Ask::State {
            state: zeroizing(len),
            socket: pair().expect("pair").0.into_handle(),
        }
    }

    fn proof(certificates: usize) -> Ask {
        Ask::Certificate(Proof {
            chain: vec![vec![2]; certificates],
            ..Proof::default()
        })
    }

    #[test]
    fn what_a_gate_asks_arrives_as_sent_and_nothing_too_long_does() {
        let (gate, other) = crate::ipc::pipe::pair::<Ask, Verdict>().expect("pair");
        for ask in [
            password(MAX_NAME, MAX_PASSWORD),
            password(0, 0),
            jail(MAX_TOKEN, PATH_MAX),
            jail(0, 0),
            state(MAX_STATE),
            proof(1),
        ] {
            gate.send(&ask).expect("send");
            let read = other.receive().expect("receive").expect("one");
            assert_eq!(read.to_bytes(), ask.to_bytes());
        }
        for bad in [
            password(MAX_NAME + 1, 0),
            password(0, MAX_PASSWORD + 1),
            jail(MAX_TOKEN + 1, 0),
            jail(0, PATH_MAX + 1),
            state(MAX_STATE + 1),
            proof(0),
        ] {
            gate.send(&bad).expect("send");
            let error = other.receive().expect_err("too long").kind();
            assert_eq!(error, io::ErrorKind::InvalidData);
        }
        assert!(Ask::from_bytes(&state(1).to_bytes()).is_none(), "no socket");
    }

    #[test]
    fn a_verdict_arrives_also_from_who_left_the_state_unread() {
        let account = Steps {
            account: true,
            jail: false,
        };
        for why in [
            Why::Password,
            Why::Token,
            Why::TokenFile,
            Why::Path,
            Why::TooMany,
            Why::Internal,
        ] {
            let (ours, theirs): (_, GatePipe) = crate::ipc::pipe::pair().expect("pair");
            let mut login = Login::new(ours, account, None);
            let (socket, _other) = pair().expect("pair");
            theirs.send(&Err(why)).expect("answer");
            let asking = std::thread::spawn(move || {
                let next = HandOver {
                    socket: socket.as_fd(),
                    state: b"state",
                };
                login.password(b"ann", b"x", Some(next))
            });
            theirs.receive().expect("question");
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
