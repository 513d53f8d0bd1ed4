//! What a session does and did, for the audit log and `tfd status`.

use super::request::Request;
use super::status::{Reply, Status};
use super::wire::{Result, Wire};
use crate::session::audit::{Outcome, Subject};

impl From<&Reply> for Outcome {
    fn from(reply: &Reply) -> Outcome {
        match reply {
            Reply::Failed(status) => failed(*status),
            Reply::FailedBare | Reply::Unknown => Outcome::Failed(None),
            _ => Outcome::Done,
        }
    }
}

/// Tells the client a status in place of what it wanted.
///
/// # Errors
/// When the connection can't go on.
pub(super) fn refuse(wire: &mut Wire, status: Status) -> Result<Outcome> {
    wire.write_message(&Reply::from(status).into_bytes())?;
    Ok(failed(status))
}

/// A failure with its code, as the audit log has it.
fn failed(status: Status) -> Outcome {
    Outcome::Failed(Some(status.code().into()))
}

impl Request {
    /// What the request is about; `None` where it names no path.
    #[must_use]
    pub fn subject(&self) -> Option<Subject> {
        use Request as R;
        let one = |command, path: &[u8]| (command, path.to_vec(), Vec::new());
        let two = |command, path: &[u8], other: &[u8]| (command, path.to_vec(), other.to_vec());
        let raw = |command, path: &super::request::RawPath| {
            one(
                command,
                path.as_ref().map_or(&[][..], |path| path.as_bytes()),
            )
        };
        let (command, path, other) = match self {
            R::Mkdir { path } => one("MKDIR", path.as_bytes()),
            R::Del { path } => one("DEL", path.as_bytes()),
            R::Rmdir { path } => one("RMDIR", path.as_bytes()),
            R::Copy { from, to } => two("COPY", from.as_bytes(), to.as_bytes()),
            R::Touch { path } => one("TOUCH", path.as_bytes()),
            R::Fstat { path } => one("FSTAT", path.as_bytes()),
            R::Fupd { path } => one("FUPD", path.as_bytes()),
            R::Cpdir { from, to } => two("CPDIR", from.as_bytes(), to.as_bytes()),
            R::Xcopy {
                name,
                from,
                pattern,
            } => {
                let to = [pattern.as_bytes(), b"/", name].concat();
                two("XCOPY", from.as_bytes(), &to)
            }
            R::Xcpdir {
                name,
                from,
                pattern,
            } => {
                let to = [pattern.as_bytes(), b"/", name].concat();
                two("XCPDIR", from.as_bytes(), &to)
            }
            R::Xdel { start, pattern } => two("XDEL", start.as_bytes(), pattern.as_bytes()),
            R::Xrmdir { start, pattern } => two("XRMDIR", start.as_bytes(), pattern.as_bytes()),
            R::Sndfile { path, .. } => one("SNDFILE", path.as_bytes()),
            R::Rcvfile {
                delete: false,
                path,
            } => one("RCVFILE", path.as_bytes()),
            R::Rcvfile { delete: true, path } => two("RCVFILE", path.as_bytes(), b"delete"),
            R::Ls { path } => one("LS", path.as_bytes()),
            R::Lsr { path } => one("LSR", path.as_bytes()),
            R::Renam { from, to } => two("RENAM", from.as_bytes(), to.as_bytes()),
            R::Put(request) => one("PUT", request.path.as_bytes()),
            R::Get(request) => one("GET", request.path.as_bytes()),
            R::Putcan(request) => one("PUTCAN", request.path.as_bytes()),
            R::Getcan(request) => one("GETCAN", request.path.as_bytes()),
            R::Chmod { path, mode } => two("CHMOD", path.as_bytes(), mode),
            R::Chown { path, user, group } => two(
                "CHOWN",
                path.as_bytes(),
                &[user.as_slice(), b" ", group].concat(),
            ),
            R::Sha256 { path } => one("SHA256", path.as_bytes()),
            R::Rmsecdir { path, .. } => one("RMSECDIR", path.as_bytes()),
            R::Addntfy { token, path } => two("ADDNTFY", path.as_bytes(), token),
            R::Sdown { path } => raw("SDOWN", path),
            R::Sup { path } => raw("SUP", path),
            R::Fsize { path } => raw("FSIZE", path),
            R::Fsizels { path } => raw("FSIZELS", path),
            R::End
            | R::Echo { .. }
            | R::Date
            | R::Udate
            | R::Ndate
            | R::Datef
            | R::Dtof { .. }
            | R::Ftod { .. }
            | R::Lock { .. }
            | R::Keepalive { .. }
            | R::Prockey
            | R::Freesp
            | R::Login { .. }
            | R::Nigma { .. }
            | R::Injail { .. }
            | R::Tlb
            | R::Startntfy { .. } => return None,
        };
        Some(Subject {
            command,
            path,
            other,
        })
    }
}
