//! TFD_STORE: a file from the client with its attributes, by one request and one
//! reply. Until it is whole, has the client's digest and has its attributes, it is
//! a part that nobody else may open; a failure leaves everything as it was.

use std::result::Result as Either;

use rustix::io::Errno;

use super::attributes::{Attributes, Owner};
use crate::session::audit::Outcome;
use crate::store::RootPath;
use crate::store::read::digest::Passing;
use crate::store::upload::{Upload, UploadError};
use crate::tf::env::Env;
use crate::tf::request::Store;
use crate::tf::status::{Reply, Status};
use crate::tf::transfer::frames::take_frames;
use crate::tf::transfer::sndfile::{begin_status, write_status};
use crate::tf::wire::{Result, Wire};

/// The bytes of a digest.
const DIGEST: usize = 32;

/// A file that arrives.
struct Arriving<'a> {
    upload: Upload,
    passing: Passing,
    wanted: &'a Attributes,
    path: &'a RootPath,
    owner: Option<Owner>,
    /// The bits of a mode that it may get.
    bits: u32,
    length: u64,
}

/// Runs the command: takes frames up to one of length 0 and the digest, and answers
/// `OK` or 16, 1, 30, 42, 43, 10, 8, 12, 13, 7, 200, 44, 201, 41, 27, as soon as it is
/// known; 7 behind a negative length.
///
/// # Errors
/// When the connection can't go on; `Length` for a frame that is too long.
pub(crate) fn run(wire: &mut Wire, env: &mut Env, what: &Store) -> Result<Outcome> {
    let begun = what
        .as_ref()
        .map_err(|status| *status)
        .and_then(|(wanted, path)| Arriving::begin(env, wanted, path));
    let mut arriving = Answered::new(wire, begun)?;
    let is_whole = take_frames(wire, |wire, piece| {
        arriving.take(wire, |arriving| arriving.write(env, piece))
    })?;
    if !is_whole {
        arriving.fail(wire, Status::TransferApi)?;
        return Ok(Outcome::BrokenOff);
    }
    let mut digest = [0; DIGEST];
    wire.read_raw(&mut digest)?;
    arriving.end(wire, |arriving| arriving.finish(env, &digest))
}

/// A file that arrives, or the status that the client has.
enum Answered<T> {
    No(T),
    With(Outcome),
}

impl<T> Answered<T> {
    fn new(wire: &mut Wire, begun: Either<T, Status>) -> Result<Answered<T>> {
        match begun {
            Ok(begun) => Ok(Answered::No(begun)),
            Err(status) => Ok(Answered::With(answer(wire, status)?)),
        }
    }

    /// Does something with the file, unless that has failed already.
    fn take(
        &mut self,
        wire: &mut Wire,
        work: impl FnOnce(&mut T) -> Either<(), Status>,
    ) -> Result<()> {
        if let Answered::No(arriving) = self
            && let Err(status) = work(arriving)
        {
            self.fail(wire, status)?;
        }
        Ok(())
    }

    fn fail(&mut self, wire: &mut Wire, status: Status) -> Result<()> {
        if let Answered::No(_) = self {
            *self = Answered::With(answer(wire, status)?);
        }
        Ok(())
    }

    fn end(self, wire: &mut Wire, work: impl FnOnce(T) -> Either<(), Status>) -> Result<Outcome> {
        let arriving = match self {
            Answered::With(outcome) => return Ok(outcome),
            Answered::No(arriving) => arriving,
        };
        let reply = Reply::from(work(arriving).map(|()| Reply::Ok));
        let outcome = Outcome::from(&reply);
        wire.reply(&reply.into_bytes())?;
        Ok(outcome)
    }
}

/// Sends a failure at once: the client may have much more to send.
fn answer(wire: &mut Wire, status: Status) -> Result<Outcome> {
    let reply = Reply::from(status);
    let outcome = Outcome::from(&reply);
    wire.write_message(&reply.into_bytes())?;
    Ok(outcome)
}

impl<'a> Arriving<'a> {
    fn begin(
        env: &Env,
        wanted: &'a Attributes,
        path: &'a RootPath,
    ) -> Either<Arriving<'a>, Status> {
        env.check_lock_around(path)?;
        let owner = wanted.owner(env)?;
        let (root, quota) = (&env.root, env.quota);
        let replace = env.may_replace() && !wanted.making.new;
        let begun = if wanted.mode.is_some() {
            let attributes = !wanted.making.bare;
            Upload::begin_private(root, path, (replace, attributes), quota)
        } else {
            let begun = Upload::begin_in_place(root, path, replace, env.settings.file_mode, quota);
            begun.map(|upload| (upload, 0))
        };
        let (upload, bits) = begun.map_err(|e| match env.note_upload(e) {
            UploadError::System(Errno::NOENT | Errno::NOTDIR) => Status::DirectoryMissing,
            e => begin_status(e),
        })?;
        let passing = Passing::of(upload.part()).map_err(|_| Status::TransferApi)?;
        Ok(Arriving {
            upload: upload.with_write_behind(env.sync()),
            passing,
            wanted,
            path,
            owner,
            bits,
            length: 0,
        })
    }

    fn write(&mut self, env: &Env, data: &[u8]) -> Either<(), Status> {
        let written = if self.wanted.making.sparse {
            self.upload.write_sparse(data)
        } else {
            self.upload.write(data)
        };
        written.map_err(|e| write_status(env.note(e)))?;
        self.length += data.len() as u64;
        self.passing.passed(data, self.length);
        Ok(())
    }

    fn finish(self, env: &mut Env, expected: &[u8; DIGEST]) -> Either<(), Status> {
        let digest = self.passing.digest().map_err(|_| Status::TransferApi)?;
        if digest != *expected {
            return Err(Status::Digest);
        }
        let part = self.upload.part();
        self.wanted.give(env, part, self.owner, self.bits)?;
        let published = env.publish(self.upload);
        env.arrived(published, self.path).map_err(write_status)
    }
}
