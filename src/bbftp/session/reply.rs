//! What is answered: the one place with codes and texts.

use rustix::io::Errno;

use crate::bbftp::wire::{Code, Control, Result};
use crate::session::audit::Outcome;

/// The answer to a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// OK with a text.
    Ok(Vec<u8>),
    /// BAD: the client may try again.
    Bad(Vec<u8>),
    /// BAD_NO_RETRY: it may not.
    BadNoRetry(Vec<u8>),
    /// Another message.
    Message(Code, Vec<u8>),
    /// Nothing.
    None(Outcome),
}

impl Reply {
    /// OK.
    pub fn ok(text: impl Into<Vec<u8>>) -> Reply {
        Reply::Ok(text.into())
    }

    /// BAD_NO_RETRY.
    pub fn no(text: impl Into<Vec<u8>>) -> Reply {
        Reply::BadNoRetry(text.into())
    }

    /// What failed, of which file, and why.
    pub fn failed(what: &str, name: &[u8], error: Errno) -> Reply {
        let reason = reason(error);
        let text = [what.as_bytes(), b" ", name, b" : ", reason.as_bytes()].concat();
        match is_transient(error) {
            true => Reply::Bad(text),
            false => Reply::BadNoRetry(text),
        }
    }

    /// The account may not do it.
    pub fn forbidden(what: &str, name: &[u8]) -> Reply {
        Reply::failed(what, name, Errno::ACCESS)
    }

    /// What a person reads of it.
    pub fn into_text(self) -> Vec<u8> {
        match self {
            Reply::Ok(text) | Reply::Bad(text) | Reply::BadNoRetry(text) => text,
            Reply::Message(..) | Reply::None(_) => Vec::new(),
        }
    }

    /// How the request ended that it answers.
    pub fn outcome(&self) -> Outcome {
        let code = |code: Code| Outcome::Failed(u16::try_from(code.number()).ok());
        match self {
            Reply::Ok(_) | Reply::Message(..) => Outcome::Done,
            Reply::Bad(_) => code(Code::Bad),
            Reply::BadNoRetry(_) => code(Code::BadNoRetry),
            Reply::None(outcome) => *outcome,
        }
    }

    /// Sends it, together with the next where the client has sent more already.
    ///
    /// # Errors
    /// Any failure of the connection.
    pub fn send(&self, control: &mut Control) -> Result<()> {
        match self {
            Reply::Ok(text) => control.hold(Code::Ok, text)?,
            Reply::Bad(text) => control.hold(Code::Bad, text)?,
            Reply::BadNoRetry(text) => control.hold(Code::BadNoRetry, text)?,
            Reply::Message(code, payload) => control.hold(*code, payload)?,
            Reply::None(_) => return Ok(()),
        }
        Ok(control.link().flush_in_time()?)
    }
}

/// The system's text for an error. A path that leads out of the root is one that
/// may not be reached.
pub fn reason(error: Errno) -> &'static str {
    let error = match error {
        Errno::XDEV => Errno::ACCESS,
        other => other,
    };
    nix::errno::Errno::from_raw(error.raw_os_error()).desc()
}

/// Whether it may work the next time.
fn is_transient(error: Errno) -> bool {
    matches!(
        error,
        Errno::AGAIN
            | Errno::INTR
            | Errno::BUSY
            | Errno::NOMEM
            | Errno::NFILE
            | Errno::MFILE
            | Errno::NOBUFS
            | Errno::TIMEDOUT
            | Errno::CONNREFUSED
            | Errno::CONNRESET
            | Errno::CONNABORTED
            | Errno::HOSTUNREACH
            | Errno::NETUNREACH
            | Errno::PIPE
            | Errno::STALE
            | Errno::CANCELED
            | Errno::ADDRINUSE
            | Errno::TXTBSY
    )
}
