//! RCVFILE (document, "RCVFILE"): a file to the client, in messages that are
//! acknowledged one by one. A file replaced meanwhile is sent as it was.

use rustix::io::Errno;

use super::refuse;
use super::stream::{Interrupted, Stream};
use crate::session::audit::Outcome;
use crate::store::RootPath;
use crate::store::read::{FileReader, ReadError};
use crate::tf::env::Env;
use crate::tf::status::Status;
use crate::tf::wire::{Result, Wire};

/// Runs the command and sends its replies: 1, 7, 8, 9 or 30 on failure. With
/// `delete` the file goes after the last acknowledgement, if it still is the
/// one that was sent.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn run(wire: &mut Wire, env: &Env, delete: bool, path: &RootPath) -> Result<Outcome> {
    let opened = env.check_lock_around(path).and_then(|()| open(env, path));
    let file = match opened {
        Ok(file) => file,
        Err(status) => return refuse(wire, status),
    };
    file.read_in_order();
    let mut offset = 0;
    let mut passing = env.digests.begin(file.handle());
    let sent = Stream::new(wire).fill(file.length, |part| {
        let len = file.read_at(part, offset)?;
        offset += len as u64;
        if let Some(passing) = &mut passing {
            passing.passed(&[], offset);
        }
        Ok(len)
    });
    match sent {
        Ok(()) => {}
        Err(Interrupted::Break) => return Ok(Outcome::BrokenOff),
        Err(Interrupted::Wire(e)) => return Err(e),
        Err(Interrupted::System(_)) => return refuse(wire, Status::TransferApi),
    }
    env.digests.keep_read(passing);
    if delete {
        delete_sent(env, path, &file);
    }
    wire.write_message(b"OK")?;
    Ok(Outcome::Done)
}

pub(in crate::tf) fn open(env: &Env, path: &RootPath) -> std::result::Result<FileReader, Status> {
    FileReader::open(&env.root, path).map_err(|e| match e {
        ReadError::Directory => Status::IsDirectory,
        ReadError::Special => Status::TransferApi,
        ReadError::System(Errno::NOENT | Errno::NOTDIR) => Status::FileMissing,
        ReadError::System(Errno::ACCESS | Errno::PERM | Errno::XDEV) => Status::AccessDenied,
        ReadError::System(_) => Status::TransferApi,
    })
}

fn delete_sent(env: &Env, path: &RootPath, file: &FileReader) {
    let deleted = env.root.final_entry(path).and_then(|entry| {
        let sent = rustix::fs::fstat(file.handle())?;
        env.quota
            .unlink_exactly(&entry.directory, entry.name(), &sent)
    });
    if let Err(e) = deleted {
        log::debug!(path:%, error:% = e; "RCVFILE left");
    }
}
