//! SNDFILE (document, "SNDFILE"): a file from the client, in messages that are
//! acknowledged one by one. The file appears whole with the last `OK`.

use rustix::io::Errno;

use super::refuse;
use crate::session::audit::Outcome;
use crate::store::RootPath;
use crate::store::upload::{Upload, UploadError};
use crate::tf::env::Env;
use crate::tf::status::Status;
use crate::tf::wire::{Result, Wire};

/// Runs the command and sends its replies: 1, 7, 8, 12, 13 or 30 on failure.
/// `BREAK`, a failure and a lost connection leave everything as it was.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn run(
    wire: &mut Wire,
    env: &mut Env,
    overwrite: bool,
    path: &RootPath,
) -> Result<Outcome> {
    let begun = env.check_lock_around(path).and_then(|()| {
        let mode = env.settings.file_mode;
        Upload::begin(&env.root, path, overwrite, mode, env.quota)
            .map(|upload| upload.with_write_behind(env.sync()))
            .map_err(|e| begin_status(env.note_upload(e)))
    });
    let mut upload = match begun {
        Ok(upload) => upload,
        Err(status) => return refuse(wire, status),
    };
    let (mut passing, mut length) = (env.digests.begin(upload.part()), 0);
    wire.reply(b"CONT")?;
    let mut body = Vec::new();
    let ended = loop {
        wire.read_message(&mut body)?;
        let word = body
            .split(|c| matches!(c, b' ' | 0))
            .next()
            .unwrap_or_default();
        match word {
            b"OK" => {
                let published = env.publish(upload);
                env.digests
                    .keep_written(passing.filter(|_| published.is_ok()));
                break env.arrived(published, path).map(|()| Outcome::Done);
            }
            b"BREAK" => {
                drop(upload);
                break Ok(Outcome::BrokenOff);
            }
            _ => {}
        }
        let data = body.get(word.len() + 1..).unwrap_or_default();
        if let Err(e) = upload.write(data) {
            drop(upload);
            break Err(env.note(e));
        }
        length += data.len() as u64;
        if let Some(passing) = &mut passing {
            passing.passed(&[], length);
        }
        wire.count_data(data.len());
        wire.reply(b"CONT")?;
    };
    match ended {
        Ok(outcome) => wire.reply(b"OK").map(|()| outcome),
        Err(e) => refuse(wire, write_status(e)),
    }
}

pub(in crate::tf) fn begin_status(e: UploadError) -> Status {
    match e {
        UploadError::Directory => Status::IsDirectory,
        UploadError::Exists => Status::FileExists,
        UploadError::Special => Status::TransferApi,
        UploadError::System(e) => write_status(e),
    }
}

pub(in crate::tf) fn write_status(e: Errno) -> Status {
    match e {
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Status::QuotaExceeded,
        Errno::ACCESS | Errno::PERM | Errno::XDEV | Errno::ROFS => Status::AccessDenied,
        Errno::EXIST => Status::FileExists,
        _ => Status::TransferApi,
    }
}
