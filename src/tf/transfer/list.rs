//! LS and LSR (document, same names): the entries of a directory, one a line,
//! sent as RCVFILE sends a file. Secure directories and what is in them are
//! skipped. Two things that a line cannot express get a mark: names with a
//! newline, which could forge a line, and directories that can't be read.

use std::os::fd::AsFd;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::refuse;
use super::stream::{Interrupted, Stream};
use crate::config::Dialect;
use crate::session::audit::Outcome;
use crate::store::tree::{Met, Step, walk_whole};
use crate::store::{Policy, RootPath};
use crate::tf::env::Env;
use crate::tf::status::Status;
use crate::tf::wire::{Result, Wire};

/// Runs the command and sends its replies: 1, 10 or 30 on failure.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn run(wire: &mut Wire, env: &Env, recursive: bool, path: &RootPath) -> Result<Outcome> {
    let opened = env.check_lock_in(path).and_then(|()| {
        env.root.open_dir(path).map_err(|e| match e {
            Errno::ACCESS | Errno::PERM | Errno::XDEV => Status::AccessDenied,
            _ => Status::DirectoryMissing,
        })
    });
    let directory = match opened {
        Ok(directory) => directory,
        Err(status) => return refuse(wire, status),
    };
    let mut stream = Stream::new(wire);
    let mut line = Vec::new();
    let (dialect, policy) = (env.settings.dialect, env.root.policy());
    let listed = walk_whole(directory.as_fd(), |met| {
        line.clear();
        let step = describe(&mut line, dialect, policy, recursive, &met);
        stream.push(&line)?;
        Ok(step)
    });
    match listed.and_then(|()| stream.finish()) {
        Ok(()) => {}
        Err(Interrupted::Break) => return Ok(Outcome::BrokenOff),
        Err(Interrupted::Wire(e)) => return Err(e),
        Err(Interrupted::System(_)) => return refuse(wire, Status::DirectoryMissing),
    }
    wire.write_message(b"OK")?;
    Ok(Outcome::Done)
}

/// Writes the line for what a walk has met; none for what is not listed, and a
/// directory gets its line when it is entered.
fn describe(
    line: &mut Vec<u8>,
    dialect: Dialect,
    policy: &Policy,
    recursive: bool,
    met: &Met<'_>,
) -> Step {
    let visit = match met {
        Met::Entry(visit) => visit,
        Met::Entered(path) => {
            write_entry(line, dialect, FileType::Directory, path);
            return Step::Enter;
        }
        Met::Unread(path) => {
            log::debug!(path:%; "not listed, unreadable");
            let path = [path.as_bytes(), b"//"];
            write_line(line, dialect, FileType::Unknown, &path);
            return Step::Over;
        }
    };
    let name = visit.path.name().unwrap_or_default();
    if policy.hides(name) || visit.kind.is_dir() && policy.keeps(name) {
        return Step::Over;
    }
    if name.contains(&b'\n') {
        log::debug!(path:% = visit.path; "not listed, newline in path");
        let names = visit.path.as_bytes().split(|c| *c == b'\n');
        let path = names.collect::<Vec<_>>().join(&b"/./"[..]);
        write_line(line, dialect, FileType::Unknown, &[&path]);
        return Step::Over;
    }
    if recursive && visit.kind.is_dir() {
        return Step::Enter;
    }
    write_entry(line, dialect, visit.kind, visit.path);
    Step::Over
}

fn write_entry(line: &mut Vec<u8>, dialect: Dialect, kind: FileType, path: &RootPath) {
    let slash = dialect == Dialect::Deployed && kind.is_dir();
    let end: &[u8] = if slash { b"/" } else { b"" };
    write_line(line, dialect, kind, &[path.as_bytes(), end]);
}

fn write_line(line: &mut Vec<u8>, dialect: Dialect, kind: FileType, path: &[&[u8]]) {
    line.push(match kind {
        FileType::RegularFile => b'F',
        FileType::Directory => b'D',
        _ => b'U',
    });
    line.extend_from_slice(if dialect == Dialect::Deployed {
        b": "
    } else {
        b" "
    });
    path.iter().for_each(|part| line.extend_from_slice(part));
    line.push(b'\n');
}
