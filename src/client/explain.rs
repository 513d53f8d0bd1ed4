//! Why a server refused a path, as far as another request or two can tell:
//! the protocol has one code for several causes.

use super::connect::Connection;
use super::error::ClientError;
use super::listing::Kind;
use crate::tf::status::Status;

/// What may be wrong with a path.
const DENIED: &str = "permission denied";
const OUTSIDE: &str = "permission denied, or the path leads outside the root";
const MISSING: &str = "no such file or directory";
const DIRECTORY: &str = "is a directory";

impl Connection {
    /// The same error, or a more exact one. It asks the server about the path
    /// and the directory that it lies in, if the code has several meanings.
    #[must_use]
    pub fn explain(&mut self, error: ClientError) -> ClientError {
        let ClientError::Refused { request, status } = &error else {
            return error;
        };
        let (word, arguments) = request.split_once(' ').unwrap_or((request, ""));
        let target = arguments.split_once(" | ").filter(|_| word == "RENAM");
        let arguments = target.map_or(arguments, |(_, target)| target);
        let is_reading = matches!(word, "GET" | "GETCAN" | "SHA256" | "FSTAT" | "TFD_LIST");
        let is_writing = matches!(
            word,
            "PUT" | "SNDFILE" | "MKDIR" | "TOUCH" | "DEL" | "RENAM" | "TFD_STORE"
        );
        let is_vague = matches!(
            status,
            Status::AccessDenied | Status::HpOpen | Status::FileCreation | Status::Sha256
        );
        if !is_vague || arguments.is_empty() || !(is_reading || is_writing) {
            return error;
        }
        match self.cause(arguments, is_writing) {
            Some(why) => ClientError::Explained {
                path: arguments.to_owned(),
                why,
                request: request.clone(),
                status: *status,
            },
            None => error,
        }
    }

    /// `None` when the server did not say.
    fn cause(&mut self, path: &str, is_writing: bool) -> Option<String> {
        let status = match self.stat(path) {
            Ok(stat) if stat.kind == Kind::Directory => return Some(DIRECTORY.to_owned()),
            Ok(_) => return Some(DENIED.to_owned()),
            Err(e) => e.status()?,
        };
        match status {
            Status::FileMissing if is_writing => self.cause_above(path),
            Status::FileMissing => Some(MISSING.to_owned()),
            Status::AccessDenied => Some(OUTSIDE.to_owned()),
            _ => None,
        }
    }

    /// Why nothing can be made in the directory of a path.
    fn cause_above(&mut self, path: &str) -> Option<String> {
        let Some((parent, _)) = path.trim_end_matches('/').rsplit_once('/') else {
            return Some(DENIED.to_owned());
        };
        match self.stat(parent) {
            Ok(stat) if stat.kind == Kind::Directory => Some(DENIED.to_owned()),
            Ok(_) => Some(format!("{parent} is not a directory")),
            Err(e) if e.status() == Some(Status::FileMissing) => {
                Some(format!("no such directory: {parent}"))
            }
            Err(e) => e.status().map(|_| OUTSIDE.to_owned()),
        }
    }
}
