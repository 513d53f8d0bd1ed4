//! TFD_FETCH: a file to the client in frames with 4-byte headers, and the digest
//! of what was sent behind them.

use crate::session::audit::Outcome;
use crate::store::RootPath;
use crate::store::read::FileReader;
use crate::store::read::digest::Passing;
use crate::tf::env::Env;
use crate::tf::request::RawPath;
use crate::tf::status::{Reply, Status};
use crate::tf::transfer::frames::{Frames, Sent};
use crate::tf::transfer::rcvfile;
use crate::tf::wire::{MAX_MESSAGE, Result, Wire};

/// No more data: the digest follows.
const DONE: i32 = 0;
/// A message with the failure follows.
const FAILED: i32 = -1;

/// Runs the command: frames, 0 and the SHA-256; or, in place of any of them, -1 and
/// a message: 1, 30, 9, 8, 7.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn run(wire: &mut Wire, env: &Env, path: &RawPath) -> Result<Outcome> {
    let opened = path.as_ref().map_err(|status| *status);
    let (file, passing) = match opened.and_then(|path| open(env, path)) {
        Ok(opened) => opened,
        Err(status) => return fail(wire, status),
    };
    file.read_in_order();
    let mut frames = Frames::new(&file, 0, 4, MAX_MESSAGE).with_digest(Some(passing));
    loop {
        match frames.send(wire)? {
            Sent::Frame => {}
            Sent::End => break,
            Sent::Failed => return fail(wire, Status::TransferApi),
        }
    }
    let digest = frames.into_passing().and_then(|all| all.digest().ok());
    let Some(digest) = digest else {
        return fail(wire, Status::TransferApi);
    };
    wire.hold_unit(&DONE.to_be_bytes());
    wire.reply_unit(&digest)?;
    Ok(Outcome::Done)
}

fn open(env: &Env, path: &RootPath) -> std::result::Result<(FileReader, Passing), Status> {
    env.check_lock_around(path)?;
    let file = rcvfile::open(env, path)?;
    let passing = Passing::of(file.handle()).map_err(|_| Status::TransferApi)?;
    Ok((file, passing))
}

fn fail(wire: &mut Wire, status: Status) -> Result<Outcome> {
    let reply = Reply::from(status);
    let outcome = Outcome::from(&reply);
    wire.hold_unit(&FAILED.to_be_bytes());
    wire.reply(&reply.into_bytes())?;
    Ok(outcome)
}
