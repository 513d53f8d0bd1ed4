//! What can go wrong for a client, with the cause and the next step.

use std::io;
use std::path::{Path, PathBuf};

use crate::session::login::CODE_NEEDED;
use crate::text::reason;
use crate::tf::status::Status;
use crate::tf::wire::WireError;

/// The name of the handshake in an error about an odd reply.
pub(super) const HANDSHAKE: &str = "handshake";

/// The result of what a client does.
pub type Result<T> = std::result::Result<T, ClientError>;

/// A failure, by its cause.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server's name has no address.
    #[error("can't find {server}: {}: check the name", reason(.source))]
    Resolve {
        /// `host:port` as given.
        server: String,
        /// The system's error.
        source: io::Error,
    },
    /// No address of the server took the connection.
    #[error("can't connect to {server}: {}: {}", reason(.source), way_out(.source.kind()))]
    Connect {
        /// `host:port` as given.
        server: String,
        /// The system's error for the last address tried.
        source: io::Error,
    },
    /// The server's public key can't be used.
    #[error("{path}: {why}: give the server's public.pem", path = .path.display())]
    Key {
        /// The file it was read from.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The server refused the version.
    #[error("the server refused version \"{0}\": give the one in its configuration")]
    Version(String),
    /// The server could not read the session key. With the fingerprint of
    /// the public key used.
    #[error("the public key SHA256:{0} is not the server's: it could not read the session key")]
    WrongKey(String),
    /// The server refused the hash.
    #[error("the server refused the hash: give the one in its configuration")]
    Hash,
    /// The handshake ended without a reply from the server.
    #[error(
        "no handshake: {0}: is this a TF server, is TLS on or off as it expects, is this its public key, and does it allow this address another session?"
    )]
    Handshake(WireError),
    /// The TLS handshake failed.
    #[error("no TLS with {server}: {why}")]
    Tls {
        /// `host:port` as given.
        server: String,
        /// What was wrong.
        why: String,
    },
    /// The server closed the connection in the TLS handshake.
    #[error("no TLS with {server}: the server closed the connection: is this its port for TLS?")]
    TlsClosed {
        /// `host:port` as given.
        server: String,
    },
    /// The server has another certificate than the one pinned.
    #[error("no TLS with {server}: its certificate is not the one pinned")]
    NotPinned {
        /// `host:port` as given.
        server: String,
    },
    /// The server wants a session key, over TCP or inside TLS, and its public key
    /// is not known.
    #[error("the server uses the session cipher: give its public key")]
    NoKey,
    /// The server refused a request with a status.
    #[error("{request}: {status}")]
    Refused {
        /// The command and its path.
        request: String,
        /// What it said.
        status: Status,
    },
    /// As `Refused`, with a cause that was found out, see
    /// [`Connection::explain`](super::Connection::explain).
    #[error("{path}: {why}")]
    Explained {
        /// The path.
        path: String,
        /// The cause.
        why: String,
        /// The command and its path.
        request: String,
        /// What the server said.
        status: Status,
    },
    /// The server refused the login, and said why.
    #[error("{request}: {why}")]
    NotLetIn {
        /// The command, without what is secret.
        request: String,
        /// What it said.
        status: Status,
        /// Its reason.
        why: String,
    },
    /// The server answered with a failure without a known code, or does not know
    /// the command.
    #[error("{request}: the server answered \"{reply}\"")]
    Odd {
        /// The command and its path.
        request: String,
        /// The reply.
        reply: String,
    },
    /// An entry that the listing of a remote directory cannot express.
    #[error("{path}: {why}")]
    Untold {
        /// The remote path, as far as it is known.
        path: String,
        /// Why not.
        why: &'static str,
    },
    /// The server failed to store or read in the middle of a transfer.
    #[error("{path}: the server cancelled the transfer: its disk may be full or the file changed")]
    Cancelled {
        /// The remote path.
        path: String,
    },
    /// The server has no room for it.
    #[error("{path}: {why}")]
    NoRoom {
        /// The remote path.
        path: String,
        /// What there is too little of, as the server says it.
        why: String,
    },
    /// A path that a request cannot name, because it would end earlier.
    #[error("{path}: {word} cannot name a path with \"{end}\" in it: rename it first")]
    NoWord {
        /// The path.
        path: String,
        /// What ends a path there.
        end: &'static str,
        /// The command.
        word: &'static str,
    },
    /// The connection was lost.
    #[error("connection lost: {0}")]
    Lost(#[from] WireError),
    /// The user of the library cancelled, see [`Cancel`](super::Cancel).
    #[error("interrupted")]
    Interrupted,
    /// A local failure.
    #[error("{path}: {}", reason(.source), path = .path.display())]
    Local {
        /// The local path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A name on one side that cannot be transferred to the other.
    #[error("{name}: {why}", name = .name.escape_ascii())]
    BadName {
        /// The path.
        name: Vec<u8>,
        /// Why not.
        why: &'static str,
    },
    /// A file changed during its transfer.
    #[error("{path}: changed during the transfer: try again")]
    Changed {
        /// Its path.
        path: String,
    },
    /// A mirror would delete more than it may; it deletes nothing.
    #[error("{found} entries would be deleted, but --max-delete allows {allowed}: deleted none")]
    TooManyDeletions {
        /// How many would have gone.
        found: u64,
        /// How many may.
        allowed: u64,
    },
    /// What arrived is not what was sent.
    #[error("{path}: SHA-256 differs, the old file is untouched: try again")]
    Mismatch {
        /// The path that was to be written.
        path: String,
    },
}

/// A kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// The server refused a request, or answered with nonsense.
    Refused,
    Unreachable,
    /// The handshake, the login or the jail failed.
    NotLetIn,
    Lost,
    /// A file is not what it was.
    Mismatch,
    Local,
    Interrupted,
}

/// What to check when a connection fails.
fn way_out(kind: io::ErrorKind) -> &'static str {
    use io::ErrorKind as K;
    match kind {
        K::ConnectionRefused => "nothing listens there: check the port, and that tfd runs",
        K::TimedOut => "no answer: the host is down, or a firewall drops what is sent to it",
        K::HostUnreachable | K::NetworkUnreachable => "no route: check this machine's network",
        _ => "check that tfd runs there and that no firewall blocks it",
    }
}

impl ClientError {
    /// A failure of a local file.
    pub(crate) fn local(path: &Path, source: io::Error) -> ClientError {
        ClientError::Local {
            path: path.to_owned(),
            source,
        }
    }

    /// What kind of failure it is.
    pub(crate) fn class(&self) -> Class {
        use ClientError as E;
        use Status as S;
        match self {
            E::Refused { status, .. } => match status {
                S::LoginFailed | S::BeforeLogin | S::AlreadyLoggedIn => Class::NotLetIn,
                S::JailFile | S::JailToken | S::BeforeJail | S::AlreadyInJail => Class::NotLetIn,
                _ => Class::Refused,
            },
            E::Odd { request, .. } => match request.split(' ').next() {
                Some(HANDSHAKE | "LOGIN" | "INJAIL") => Class::NotLetIn,
                _ => Class::Refused,
            },
            E::NoWord { .. } | E::Untold { .. } | E::Cancelled { .. } | E::NoRoom { .. } => {
                Class::Refused
            }
            E::Explained { .. } => Class::Refused,
            E::Resolve { .. } | E::Connect { .. } => Class::Unreachable,
            E::NotLetIn { .. } => Class::NotLetIn,
            E::Version(_) | E::WrongKey(_) | E::NoKey | E::Hash => Class::NotLetIn,
            E::Tls { .. } | E::TlsClosed { .. } | E::NotPinned { .. } => Class::NotLetIn,
            E::Handshake(_) => Class::NotLetIn,
            E::Lost(_) => Class::Lost,
            E::Mismatch { .. } | E::Changed { .. } => Class::Mismatch,
            E::Interrupted => Class::Interrupted,
            E::Key { .. } | E::Local { .. } => Class::Local,
            E::BadName { .. } | E::TooManyDeletions { .. } => Class::Local,
        }
    }

    /// Whether it ends a run of transfers, and not only one file.
    pub(crate) fn ends_a_run(&self) -> bool {
        matches!(
            self.class(),
            Class::Unreachable | Class::NotLetIn | Class::Lost | Class::Interrupted
        )
    }

    /// Whether the next attempt may succeed: the connection was lost, or could not be
    /// made.
    pub(crate) fn is_loss(&self) -> bool {
        use ClientError as E;
        let is_handshake = matches!(self, E::Handshake(_) | E::TlsClosed { .. });
        is_handshake || matches!(self.class(), Class::Lost | Class::Unreachable)
    }

    /// Whether the server closed the connection in the handshake without a word, as one
    /// does that is being restarted.
    pub(crate) fn is_cut_handshake(&self) -> bool {
        use ClientError as E;
        let is_cut = |e: &WireError| matches!(e, WireError::Closed | WireError::Cut);
        matches!(self, E::TlsClosed { .. }) || matches!(self, E::Handshake(e) if is_cut(e))
    }

    /// Whether the password is right, and the server wants a one-time code behind it.
    pub(crate) fn wants_code(&self) -> bool {
        matches!(self, ClientError::NotLetIn { why, .. } if why == CODE_NEEDED)
    }

    /// The status the server gave, if it gave one.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        match self {
            ClientError::Refused { status, .. }
            | ClientError::Explained { status, .. }
            | ClientError::NotLetIn { status, .. } => Some(*status),
            _ => None,
        }
    }
}
