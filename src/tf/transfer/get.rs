//! GET and GETCAN (document, same names): a file to the client in frames,
//! without acknowledgements. In GET the client may cancel at any moment; in
//! GETCAN it speaks only at windows, one after every `canpt` frames.

use super::frames::{Frames, Sent};
use super::hp::{CANCEL, CONTINUE, END, FIN, PIECE, exchange, open_to_read};
use crate::session::audit::Outcome;
use crate::sys::number::at_most;
use crate::tf::env::Env;
use crate::tf::request::HpRequest;
use crate::tf::wire::{Result, Wire};

/// Runs GET: 1, 34, 35, 36, or the buffer and the exchange of frames.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn run(wire: &mut Wire, env: &Env, request: &HpRequest) -> Result<Outcome> {
    exchange(wire, open_to_read(env, request), |wire, file, limit| {
        let mut frames = Frames::new(&file, request.offset, 8, at_most(limit, PIECE))
            .with_digest(env.digests.begin(file.handle()));
        let mut client_is_done = false;
        let last = send_frames(wire, &mut frames, &mut client_is_done)?;
        if last == Some(END) {
            env.digests.keep_read(frames.into_passing());
        }
        if let Some(code) = last {
            wire.write_i64(code)?;
        }
        while !client_is_done {
            client_is_done = wire.read_i64()? == FIN;
        }
        wire.write_i64(FIN)?;
        Ok(match last {
            Some(END) => Outcome::Done,
            Some(_) => Outcome::Failed(None),
            None => Outcome::BrokenOff,
        })
    })
}

/// Sends frames until the file ends, or reading it fails, and returns the code
/// for that; `None` when the client cancels.
fn send_frames(
    wire: &mut Wire,
    frames: &mut Frames<'_>,
    client_is_done: &mut bool,
) -> Result<Option<i64>> {
    loop {
        // After the client's last code comes its next request.
        if !*client_is_done && wire.has_input() {
            match wire.read_i64()? {
                CANCEL => return Ok(None),
                FIN => *client_is_done = true,
                _ => {}
            }
        }
        match frames.send(wire)? {
            Sent::Frame => {}
            Sent::End => return Ok(Some(END)),
            Sent::Failed => return Ok(Some(CANCEL)),
        }
    }
}

/// Runs GETCAN: as GET.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn run_with_windows(wire: &mut Wire, env: &Env, request: &HpRequest) -> Result<Outcome> {
    exchange(wire, open_to_read(env, request), |wire, file, limit| {
        let mut frames = Frames::new(&file, request.offset, 8, at_most(limit, PIECE))
            .with_digest(env.digests.begin(file.handle()));
        let mut sent = 0;
        loop {
            match frames.send(wire)? {
                Sent::Frame => sent += 1,
                Sent::End => {
                    env.digests.keep_read(frames.into_passing());
                    wire.write_i64(END)?;
                    return Ok(Outcome::Done);
                }
                Sent::Failed => {
                    wire.write_i64(CANCEL)?;
                    return Ok(Outcome::Failed(None));
                }
            }
            if sent == request.cancel_point {
                sent = 0;
                if wire.read_i64()? != CONTINUE {
                    return Ok(Outcome::BrokenOff);
                }
            }
        }
    })
}
