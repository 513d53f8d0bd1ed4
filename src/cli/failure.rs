//! Why a command of `tf` failed: the message, the next step if one is known,
//! and the exit status, see tf(1).

use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::ExitCode;

use super::output::complain;
use super::wording::sentence;
use crate::client::{Class, ClientError};
use crate::text::shown;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// At the server or on the way there.
    Client(ClientError),
    /// The arguments or the configuration make no sense.
    Usage(String),
    /// It has been reported already.
    Reported(Exit),
    /// A program that was run for the command ended with this status.
    Ended(u8),
    /// For this reason, with this status.
    Failed(Exit, String),
}

/// Shorthand for what a command can fail at.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        Failure::Client(error)
    }
}

impl Failure {
    /// The arguments or the configuration make no sense.
    pub(crate) fn usage(text: impl ToString) -> Failure {
        Failure::Usage(text.to_string())
    }

    /// Something on this machine failed.
    pub(crate) fn local(path: impl AsRef<Path>) -> impl Fn(io::Error) -> Failure {
        move |source| ClientError::local(path.as_ref(), source).into()
    }

    /// Whether another path of the same command may fare better: not where the
    /// server refuses the login.
    pub(crate) fn is_of_one_path(&self) -> bool {
        match self {
            Failure::Client(ClientError::Mismatch { .. }) => true,
            Failure::Client(error) => error.class() == Class::Refused,
            Failure::Reported(exit) => matches!(exit, Exit::Refused | Exit::Mismatch),
            Failure::Usage(_) | Failure::Ended(_) | Failure::Failed(..) => false,
        }
    }

    /// Reports it on standard error and returns its exit status.
    pub(crate) fn report(&self) -> u8 {
        let exit = match self {
            Failure::Ended(status) => return *status,
            Failure::Reported(exit) => *exit,
            Failure::Usage(text) => {
                complain!("tf: {text}");
                Exit::Usage
            }
            Failure::Failed(exit, text) => {
                complain!("tf: {text}");
                *exit
            }
            // The reader of the output has stopped reading.
            Failure::Client(ClientError::Local { source, .. })
                if source.kind() == ErrorKind::BrokenPipe =>
            {
                Exit::Ok
            }
            Failure::Client(error) => {
                if let ClientError::WrongKey(_) | ClientError::NotPinned { .. } = error {
                    complain!("{WRONG_KEY}");
                }
                complain!("tf: {}", shown(sentence(error).as_bytes()));
                Exit::of(error)
            }
        };
        exit as u8
    }
}

/// Does the same for each. It reports a failure and continues with the next,
/// unless the connection is lost.
pub(crate) fn for_each<T>(
    all: impl IntoIterator<Item = T>,
    mut act: impl FnMut(T) -> Result<()>,
) -> Result<()> {
    let mut first = None;
    for one in all {
        match act(one) {
            Err(failure) if failure.is_of_one_path() => {
                let code = failure.report();
                first.get_or_insert(code);
            }
            other => other?,
        }
    }
    match first {
        None => Ok(()),
        Some(code) if code == Exit::Mismatch as u8 => Err(Failure::Reported(Exit::Mismatch)),
        Some(_) => Err(Failure::Reported(Exit::Refused)),
    }
}

/// Reports each failure, as [`for_each`] does.
pub(crate) fn report_all(failures: Vec<ClientError>) -> Result<()> {
    for_each(failures, |failure| Err(failure.into()))
}

/// Printed if a server has another key than the trusted one.
const WRONG_KEY: &str = "\
@@ THE SERVER DOES NOT HAVE THE KEY THAT YOU TRUST @@
Someone may be intercepting the connection, or the key was changed: ask the
server's administrator. If it was: tf trust NAME --replace (without TLS, with
--key public.pem).";

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
    /// The server was reached and refused the session.
    NotLetIn = 4,
    /// The connection was lost.
    Lost = 5,
    /// What arrived is not what was sent.
    Mismatch = 6,
    /// Something on this machine failed.
    Local = 7,
    /// Broken off by Ctrl-C.
    Interrupted = 130,
}

impl Exit {
    /// The class of a failure.
    pub fn of(error: &ClientError) -> Exit {
        match error.class() {
            Class::Refused => Exit::Refused,
            Class::Unreachable => Exit::NoConnection,
            Class::NotLetIn => Exit::NotLetIn,
            Class::Lost => Exit::Lost,
            Class::Mismatch => Exit::Mismatch,
            Class::Local => Exit::Local,
            Class::Interrupted => Exit::Interrupted,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}
