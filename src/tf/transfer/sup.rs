//! SUP and SDOWN (document, same names): a file from or to the client in frames
//! with 4-byte headers. A frame of length 0 ends it, -1 reports a failure. What
//! SUP receives appears whole after that 0; a negative header or a lost
//! connection leaves everything as it was.

use rustix::io::Errno;

use super::frames::{Frames, Sent, take_frames};
use crate::session::audit::Outcome;
use crate::store::read::FileReader;
use crate::store::upload::Upload;
use crate::tf::env::Env;
use crate::tf::request::RawPath;
use crate::tf::wire::{MAX_MESSAGE, Result, Wire};

const DONE: i32 = 0;
const FAILED: i32 = -1;

/// Runs SUP: takes the file and answers 0, or -1 when it could not be
/// stored.
///
/// # Errors
/// When the connection can't go on; `Length` for a frame that is too
/// long.
pub(crate) fn run(wire: &mut Wire, env: &mut Env, path: &RawPath) -> Result<Outcome> {
    let mode = env.settings.file_mode;
    let replace = env.may_replace();
    let mut upload = path
        .as_ref()
        .ok()
        .and_then(|path| {
            Upload::begin(&env.root, path, replace, mode, env.quota)
                .map_err(|e| env.note_upload(e))
                .ok()
        })
        .map(|upload| upload.with_write_behind(env.sync()));
    let is_whole = take_frames(wire, |_, piece| {
        upload = upload.take().and_then(|mut upload| {
            let written = upload.write(piece).map_err(|e| env.note(e));
            written.is_ok().then_some(upload)
        });
        Ok(())
    })?;
    if !is_whole {
        return Ok(Outcome::BrokenOff);
    }
    let stored = upload.is_some_and(|upload| {
        let published = env.publish(upload);
        let path = path.as_ref().map_err(|_| Errno::ACCESS);
        path.and_then(|path| env.arrived(published, path)).is_ok()
    });
    wire.reply_i32(if stored { DONE } else { FAILED })?;
    Ok(if stored {
        Outcome::Done
    } else {
        Outcome::Failed(None)
    })
}

/// Runs SDOWN and sends the file.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn run_down(wire: &mut Wire, env: &Env, path: &RawPath) -> Result<Outcome> {
    let opened = path
        .as_ref()
        .ok()
        .and_then(|path| FileReader::open(&env.root, path).ok());
    let Some(file) = opened else {
        wire.reply_i32(FAILED)?;
        return Ok(Outcome::Failed(None));
    };
    file.read_in_order();
    // Some clients keep only the last frame of a file.
    let passing = env.digests.begin(file.handle());
    let mut frames = Frames::new(&file, 0, 4, MAX_MESSAGE).with_digest(passing);
    loop {
        match frames.send(wire)? {
            Sent::Frame => {}
            Sent::End => {
                env.digests.keep_read(frames.into_passing());
                wire.reply_i32(DONE)?;
                return Ok(Outcome::Done);
            }
            Sent::Failed => {
                wire.reply_i32(FAILED)?;
                return Ok(Outcome::Failed(None));
            }
        }
    }
}
