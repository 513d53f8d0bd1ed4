//! Exit statuses by class of failure, see tf(1).

use std::process::ExitCode;

use crate::client::ClientError;
use crate::tf::status::Status;

/// Why `tf` ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All was done.
    Ok = 0,
    /// The server refused something.
    Refused = 1,
    /// The arguments make no sense.
    Usage = 2,
    /// No connection to the server.
    NoConnection = 3,
    /// The server was reached and did not let us in.
    NotLetIn = 4,
    /// The connection was lost.
    Lost = 5,
    /// What arrived is not what was sent.
    Mismatch = 6,
    /// Something on this side failed.
    Local = 7,
    /// Broken off by Ctrl-C.
    Interrupted = 130,
}

impl Exit {
    /// The class of a failure.
    #[must_use]
    pub fn of(error: &ClientError) -> Exit {
        use Status as S;
        match error {
            ClientError::Refused {
                status:
                    S::LoginFailed
                    | S::BeforeLogin
                    | S::AlreadyLoggedIn
                    | S::JailFile
                    | S::JailToken
                    | S::BeforeJail
                    | S::AlreadyInJail,
                ..
            } => Exit::NotLetIn,
            ClientError::Odd { .. } if error.is_of_a_door() => Exit::NotLetIn,
            ClientError::Refused { .. }
            | ClientError::Odd { .. }
            | ClientError::NoWord { .. }
            | ClientError::Untold { .. }
            | ClientError::Cancelled { .. } => Exit::Refused,
            ClientError::Resolve { .. } | ClientError::Connect { .. } => Exit::NoConnection,
            ClientError::Version(_)
            | ClientError::WrongKey(_)
            | ClientError::Hash
            | ClientError::Tls { .. }
            | ClientError::NotPinned { .. }
            | ClientError::NoKey
            | ClientError::Handshake(_) => Exit::NotLetIn,
            ClientError::Lost(_) => Exit::Lost,
            ClientError::Mismatch { .. } | ClientError::Changed { .. } => Exit::Mismatch,
            ClientError::Interrupted => Exit::Interrupted,
            ClientError::Key { .. }
            | ClientError::Local { .. }
            | ClientError::BadName { .. }
            | ClientError::TooManyDeletions { .. } => Exit::Local,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}
