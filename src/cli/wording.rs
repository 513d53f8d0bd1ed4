//! Errors as sentences about files, with the next step in them where one is
//! known. The protocol's own words follow with `-v` only.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::client::ClientError;
use crate::text::reason;
use crate::tf::status::Status;

/// Whether the protocol's words are added.
static VERBOSE: AtomicBool = AtomicBool::new(false);

/// Sets whether the protocol's words are added.
pub(super) fn set_verbose(verbose: bool) {
    VERBOSE.store(verbose, Ordering::Relaxed);
}

/// What an error says to a person.
pub(super) fn sentence(error: &ClientError) -> String {
    let (text, request, status) = match error {
        ClientError::Refused { request, status } => (refused(request, *status), request, status),
        ClientError::Explained {
            path,
            why,
            request,
            status,
        } => (format!("{path}: {why}"), request, status),
        ClientError::NotLetIn {
            request,
            status,
            why,
        } => (format!("login refused: {why}"), request, status),
        ClientError::Tls { server, why } if why.contains("UnknownIssuer") => {
            return format!(
                "no TLS with {server}: its certificate is not trusted (self-signed, or of an unknown \
                 authority): tf trust {server}"
            );
        }
        error => return error.to_string(),
    };
    match VERBOSE.load(Ordering::Relaxed) {
        true => format!("{text} ({}: {status})", request.trim_end()),
        false => text,
    }
}

/// What many failures have in common: the sentence without the names in it.
pub(super) fn kind(error: &ClientError) -> String {
    match error {
        ClientError::Refused { request, status } => {
            let word = request.split(' ').next().unwrap_or_default();
            of_session(*status)
                .or_else(|| of_path(word, *status))
                .map_or_else(|| status.text().to_owned(), str::to_owned)
        }
        ClientError::Explained { why, .. } => why.clone(),
        ClientError::BadName { why, .. } | ClientError::Untold { why, .. } => (*why).to_owned(),
        ClientError::Local { source, .. } => reason(source),
        ClientError::NoRoom { why, .. } => why.clone(),
        ClientError::Cancelled { .. } => "the server cancelled the transfer".to_owned(),
        ClientError::Changed { .. } => "changed during the transfer".to_owned(),
        ClientError::Mismatch { .. } => "SHA-256 differs".to_owned(),
        error => error.to_string(),
    }
}

fn refused(request: &str, status: Status) -> String {
    let (word, arguments) = request.split_once(' ').unwrap_or((request, ""));
    if let Some(text) = of_session(status) {
        return text.to_owned();
    }
    let text = of_path(word, status).map_or_else(
        || {
            format!(
                "the server refused: {}",
                status.text().trim_end_matches('.')
            )
        },
        str::to_owned,
    );
    let path = path(word, arguments);
    match path.is_empty() {
        true => text,
        false => format!("{path}: {text}"),
    }
}

/// The path that a request is about.
fn path(word: &str, arguments: &str) -> String {
    let without = |count| arguments.rsplitn(count, ' ').last().unwrap_or(arguments);
    match (word, arguments.split_once(" | ")) {
        ("CHMOD", _) => without(2).to_owned(),
        ("CHOWN", _) => without(3).to_owned(),
        ("LOGIN" | "INJAIL" | "TLB" | "TLBUDP", _) => String::new(),
        // A part stands for the file that it becomes.
        ("RENAM", Some((from, to))) if is_part(from) => to.to_owned(),
        ("RENAM" | "COPY" | "CPDIR" | "XCOPY", Some((from, to))) => format!("{from} to {to}"),
        ("LS" | "LSR" | "LSRV2" | "LSRV2DOWN", _) if arguments.is_empty() => "/".to_owned(),
        _ => arguments.to_owned(),
    }
}

fn is_part(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.starts_with(".tf-") && name.ends_with(".part")
}

/// What a status says about the session, whatever the request.
fn of_session(status: Status) -> Option<&'static str> {
    Some(match status {
        Status::BeforeLogin => "the server requires a login: --user NAME",
        Status::LoginFailed => {
            "login refused: wrong name or password; the server's log has the reason"
        }
        Status::AlreadyLoggedIn => "this server does not use accounts: leave the user out",
        Status::AlreadyInJail => "this server does not use jails: leave the jail out",
        Status::BeforeJail => "the server requires a jail: --jail DIR",
        Status::JailFile => "that directory is not a jail: a jail has a file jail.key",
        Status::JailToken => "the token is not valid for that jail: ask the server's administrator",
        Status::Balance => {
            "the server has no pool to choose from, or no server of the pool is alive"
        }
        _ => return None,
    })
}

/// What a status says about the path of a request.
fn of_path(word: &str, status: Status) -> Option<&'static str> {
    Some(match status {
        Status::AccessDenied => {
            "permission denied, missing parent directory, or path outside the root"
        }
        Status::FileMissing | Status::SourceFileMissing | Status::SourcePathMissing => {
            "no such file or directory"
        }
        Status::DirectoryMissing => "no such directory",
        Status::IsDirectory if word == "put" => "is a directory: name a file in it",
        Status::IsDirectory => "is a directory: see -r",
        Status::SourceNotDirectory => "not a directory",
        Status::SourceNotFile => "not a file",
        Status::FileExists | Status::DirectoryExists => "exists already",
        Status::NotifyAdd => "can't be watched: no such directory, or you may not read it",
        Status::HpOpen if word.starts_with("PUT") => {
            "can't be written: its directory is missing, or you may not write there"
        }
        Status::FileCreation => {
            "can't be created: its directory is missing, or you may not write there"
        }
        Status::HpOpen | Status::Sha256 => {
            "can't be read: it is missing or a directory, or you may not read it"
        }
        Status::Rename => "the old path is missing, or can't replace the new one",
        Status::QuotaExceeded => "quota exceeded: see tf df, and remove something",
        Status::DirectoryLocked => {
            "the directory is locked: wait, or remove the lock with tf unlock"
        }
        Status::DirectoryRemains if word == "rmdir" => {
            "not empty: rm -r removes it with its content"
        }
        Status::DirectoryRemains => {
            "something in it could not be removed: a secure directory, or another user's file"
        }
        Status::ChangeOwner | Status::ChangeMode => "only its owner or root may do that",
        Status::UserMissing => "no such user on the server",
        Status::GroupMissing => "no such group on the server",
        Status::SecureDirectory => "the secure directory could not be removed",
        Status::Listing => "the server could not list it",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_refuses_is_a_sentence_about_a_path() {
        for (request, status, text) in [
            (
                "FSTAT a b",
                Status::FileMissing,
                "a b: no such file or directory",
            ),
            ("LS ", Status::DirectoryMissing, "/: no such directory"),
            (
                "CHMOD a 644",
                Status::ChangeMode,
                "a: only its owner or root may do that",
            ),
            (
                "CHOWN a b c",
                Status::UserMissing,
                "a: no such user on the server",
            ),
            (
                "RENAM d/.tf-0123456789abcdef.part | d/f",
                Status::DirectoryLocked,
                "d/f: the directory is locked: wait, or remove the lock with tf unlock",
            ),
            (
                "COPY a | b",
                Status::Copy,
                "a to b: the server refused: Copy general error",
            ),
            (
                "FSTAT x",
                Status::BeforeLogin,
                "the server requires a login: --user NAME",
            ),
        ] {
            assert_eq!(refused(request, status), text);
        }
    }
}
