//! A file that comes: its bytes go to the part that the stock has opened, and are
//! hashed on the way.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::{Came, Ended, Result, Session};
use crate::holder::checksum::{Hasher, at_most};
use crate::holder::stock::message::{Coming, FromSession, ToSession};
use crate::hub::wire::request::Fil;
use crate::hub::wire::{Code, Id, Message, Reply};
use crate::net::LinkError;

/// Bytes that are read and written at once.
const PIECE: usize = 64 * 1024;

/// What has come of the bytes.
enum Fate {
    /// They are what the name says.
    Whole,
    /// They are not.
    Wrong,
    /// There was no room for them.
    Full,
}

impl Session {
    /// Takes a file, if the stock lets it come.
    pub(super) fn take(&mut self, id: Id, it: &Fil) -> Result<Came> {
        let coming = Coming {
            name: it.filename,
            size: it.filesize,
            kind: it.kind,
            owner: it.owner.clone(),
            sig: it.sig,
        };
        let (part, from) = match self.ask(&FromSession::Take(coming))? {
            ToSession::Take { part, from } => (File::from(part), from),
            ToSession::Refused(code) => return self.refuse(id, code),
            _ => return Err(Ended::NoStock),
        };
        let reply = Reply::MaySend { from: Some(from) };
        self.answer(id, Message::Reply(reply))?;
        let code = match self.receive(&part, it, from)? {
            Fate::Whole => return self.publish(id, it.filesize - from),
            Fate::Wrong => Code::NoSuchFile,
            Fate::Full => Code::NoSpace,
        };
        match self.ask(&FromSession::Spoiled)? {
            ToSession::Dropped | ToSession::Refused(_) => self.refuse(id, code.number()),
            _ => Err(Ended::NoStock),
        }
    }

    fn publish(&mut self, id: Id, bytes: u64) -> Result<Came> {
        match self.ask(&FromSession::Whole)? {
            ToSession::Receipt(receipt) => {
                let receipt = Some(receipt);
                let reply = Reply::FileReceived { receipt };
                let code = reply.code().number();
                self.answer(id, Message::Reply(reply))?;
                let code = Some(code);
                Ok(Came { code, bytes })
            }
            ToSession::Refused(code) => self.refuse(id, code),
            _ => Err(Ended::NoStock),
        }
    }

    /// Reads all bytes, also those that the disk has no room for: the line goes on.
    fn receive(&mut self, part: &File, it: &Fil, from: u64) -> Result<Fate> {
        let mut hasher = Hasher::default();
        let mut piece = vec![0; PIECE];
        let mut at = 0;
        while at < from {
            let len = at_most(from - at, PIECE);
            part.read_exact_at(&mut piece[..len], at)?;
            hasher.update(&piece[..len]);
            at += len as u64;
        }
        let mut failed: Option<io::Error> = None;
        while at < it.filesize {
            let most = at_most(it.filesize - at, PIECE);
            let len = self.bytes(&mut piece[..most])?;
            if failed.is_none() {
                hasher.update(&piece[..len]);
                failed = part.write_all_at(&piece[..len], at).err();
            }
            at += len as u64;
        }
        if failed.is_none() && hasher.finish() != it.filename {
            return Ok(Fate::Wrong);
        }
        if failed.is_none() {
            failed = part.sync_data().err();
        }
        Ok(match failed {
            None => Fate::Whole,
            Some(e) if e.kind() == io::ErrorKind::StorageFull => Fate::Full,
            Some(e) => {
                log::error!(error:% = e; "part not written");
                Fate::Full
            }
        })
    }

    /// Bytes of the file, one at least.
    fn bytes(&mut self, to: &mut [u8]) -> Result<usize> {
        let ahead = self.lines.take(to.len());
        if !ahead.is_empty() {
            to[..ahead.len()].copy_from_slice(&ahead);
            return Ok(ahead.len());
        }
        match self.link.read(to)? {
            0 => Err(LinkError::Closed.into()),
            len => Ok(len),
        }
    }
}
