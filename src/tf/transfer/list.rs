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
use crate::store::RootPath;
use crate::store::tree::{Met, Step, walk_whole};
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
        let visit = match met {
            Met::Entry(visit) => visit,
            Met::Unread(path) => {
                log::debug!("not listed, unreadable path={path}");
                line.clear();
                write_line(
                    &mut line,
                    dialect,
                    FileType::Unknown,
                    &[path.as_bytes(), b"//"],
                );
                stream.push(&line)?;
                return Ok(Step::Over);
            }
        };
        let name = visit.path.name().unwrap_or_default();
        if policy.hides(name) || visit.kind.is_dir() && policy.keeps(name) {
            return Ok(Step::Over);
        }
        line.clear();
        if name.contains(&b'\n') {
            log::debug!("not listed, newline in path={}", visit.path);
            let path = visit
                .path
                .as_bytes()
                .split(|c| *c == b'\n')
                .collect::<Vec<_>>();
            write_line(
                &mut line,
                dialect,
                FileType::Unknown,
                &[&path.join(&b"/./"[..])],
            );
            stream.push(&line)?;
            return Ok(Step::Over);
        }
        let slash = dialect == Dialect::Deployed && visit.kind.is_dir();
        let end: &[u8] = if slash { b"/" } else { b"" };
        write_line(
            &mut line,
            dialect,
            visit.kind,
            &[visit.path.as_bytes(), end],
        );
        stream.push(&line)?;
        Ok(if recursive { Step::Enter } else { Step::Over })
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
