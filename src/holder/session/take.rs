//! A file that comes: its bytes go to the part that the stock has opened, and are
//! hashed on the way.

use std::fs::File;

use super::{Came, Ended, Result, Session};
use crate::holder::part::{Fate, fill};
use crate::holder::stock::message::{Coming, FromSession, ToSession};
use crate::hub::wire::request::Fil;
use crate::hub::wire::{Code, Id, Message, Reply};
use crate::net::LinkError;

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
        let what = (it.filename, it.filesize);
        let code = match fill(&part, what, from, |to| self.bytes(to))? {
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
