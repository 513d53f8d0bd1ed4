//! Why a command of `tf` failed, and how that is told: the cause, and the
//! next step where one is known.

use std::io::ErrorKind;

use super::exit::Exit;
use super::output::complain;
use crate::client::ClientError;
use crate::text::shown;
use crate::tf::status::Status;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// On the way to the server or there.
    Client(ClientError),
    /// The arguments or the configuration make no sense.
    Usage(String),
    /// All was told already.
    Told(Exit),
    /// A program that was run for the command ended with this status.
    Ended(u8),
}

/// Shorthand for what a command can fail at.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        Failure::Client(error)
    }
}

impl Failure {
    /// Whether another path of the same command may fare better: not where the
    /// server lets nobody in.
    pub(crate) fn is_of_one_path(&self) -> bool {
        match self {
            Failure::Client(error) if Exit::of(error) == Exit::NotLetIn => false,
            Failure::Client(error) => matches!(
                error,
                ClientError::Refused { .. }
                    | ClientError::Odd { .. }
                    | ClientError::NoWord { .. }
                    | ClientError::Untold { .. }
                    | ClientError::Cancelled { .. }
                    | ClientError::Mismatch { .. }
            ),
            Failure::Told(exit) => matches!(exit, Exit::Refused | Exit::Mismatch),
            Failure::Usage(_) | Failure::Ended(_) => false,
        }
    }

    /// Tells it on standard error: its exit status.
    pub(crate) fn tell(&self) -> u8 {
        let exit = match self {
            Failure::Ended(status) => return *status,
            Failure::Told(exit) => *exit,
            Failure::Usage(text) => {
                complain!("tf: {text}");
                Exit::Usage
            }
            // The reader of our output has seen enough.
            Failure::Client(ClientError::Local { source, .. })
                if source.kind() == ErrorKind::BrokenPipe =>
            {
                Exit::Ok
            }
            Failure::Client(error) => {
                if let ClientError::WrongKey(_) | ClientError::NotPinned { .. } = error {
                    complain!("{WRONG_KEY}");
                }
                complain!("tf: {}", shown(error.to_string().as_bytes()));
                if let Some(step) = next_step(error) {
                    complain!("tf: {step}");
                }
                Exit::of(error)
            }
        };
        exit as u8
    }
}

/// Does the same for each, tells what fails on the way and goes on, unless the
/// connection is gone.
///
/// # Errors
/// What ended it, or that something failed.
pub(crate) fn for_each<T>(
    all: impl IntoIterator<Item = T>,
    mut act: impl FnMut(T) -> Result<()>,
) -> Result<()> {
    let mut first = None;
    for one in all {
        match act(one) {
            Err(failure) if failure.is_of_one_path() => {
                let code = failure.tell();
                first.get_or_insert(code);
            }
            other => other?,
        }
    }
    match first {
        None => Ok(()),
        Some(code) if code == Exit::Mismatch as u8 => Err(Failure::Told(Exit::Mismatch)),
        Some(_) => Err(Failure::Told(Exit::Refused)),
    }
}

/// Tells of each failure, as [`for_each`] does.
///
/// # Errors
/// That there was one.
pub(crate) fn tell_all(failures: Vec<ClientError>) -> Result<()> {
    for_each(failures, |failure| Err(failure.into()))
}

/// Told of a server that has another key than the one kept.
const WRONG_KEY: &str = "\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@ THE SERVER DOES NOT HAVE THE KEY THAT YOU TRUST         @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
Somebody may sit between you and the server, or its key was changed.
Ask its administrator for the key and its fingerprint, by another way than this
network. If it was changed: tf trust NAME --replace, with --key public.pem where
the server is reached without TLS.";

/// What may help.
pub(super) fn next_step(error: &ClientError) -> Option<&'static str> {
    const PLACE: &str = "is the directory there, and may you write in it?";
    if let ClientError::Refused {
        request,
        status: Status::HpOpen,
    } = error
        && request.starts_with("PUT")
    {
        return Some(PLACE);
    }
    if let ClientError::Refused {
        request,
        status: Status::DirectoryRemains,
    } = error
        && request.starts_with("rmdir")
    {
        return Some("it is not empty: rm -r removes it with all in it");
    }
    Some(match error.status()? {
        Status::BeforeLogin => "the server asks who you are: --user NAME",
        Status::LoginFailed => {
            "wrong name or password, or the account is locked or blocked for a while: its log tells"
        }
        Status::AlreadyLoggedIn => "this server asks for no account: leave the user out",
        Status::AlreadyInJail => "this server asks for no jail: leave it out",
        Status::BeforeJail => "the server asks for a jail: --jail DIR",
        Status::JailFile => "that directory is no jail: one has a file jail.key",
        Status::JailToken => "the token is none of that jail's: ask the server's administrator",
        Status::AccessDenied => {
            "you may not do that there, a directory on the way is missing, or the path leads outside"
        }
        Status::IsDirectory => "that is a directory: see -r",
        Status::FileExists => "there is one of that name: see -f, or choose another",
        Status::FileCreation => PLACE,
        Status::DirectoryMissing => "it is missing, or no directory",
        Status::HpOpen | Status::Sha256 => "it is missing, a directory, or not yours to open",
        Status::Rename => "the old path is missing, or can't take the place of the new one",
        Status::QuotaExceeded => "no room is left for you there: see tf df, and remove something",
        Status::DirectoryLocked => "somebody holds the lock: wait, or take it off by tf unlock",
        Status::DirectoryRemains => {
            "something in it could not be removed: a secure directory, or what is not yours"
        }
        Status::ChangeOwner | Status::ChangeMode => "only its owner may do that, or root",
        Status::Balance => "the server has no pool to choose from, or none of it is alive",
        _ => return None,
    })
}
