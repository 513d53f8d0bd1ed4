//! A file that goes, or a range of it, and lists of what there is. Bytes are sent as
//! they lie, by the kernel where it makes the records of TLS.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use super::{Came, Ended, MOST_WAITING, Result, Session};
use crate::holder::checksum::at_most;
use crate::holder::stock::message::{FromSession, Listed, ToSession};
use crate::hub::wire::request::{Fil, Get, Idx, Inventory};
use crate::hub::wire::{Code, Id, Line, Message, Reply, Request, Shelf};

/// Bytes that the kernel is given at once, and those that are read here.
const AT_ONCE: usize = 1 << 20;
const PIECE: usize = 64 * 1024;

/// Bytes of lines that are sent at once.
const LINES: usize = 32 * 1024;

impl Session {
    /// Sends the file that is asked for, or a range of it.
    pub(super) fn get(&mut self, id: Id, it: &Get) -> Result<Came> {
        let off = it.off.unwrap_or(0);
        let left = it.filesize.checked_sub(off);
        let len = match (it.len, left) {
            (Some(len), Some(left)) if len <= left => len,
            (None, Some(left)) => left,
            _ => return self.refuse(id, Code::NoSuchFile.number()),
        };
        let fetch = FromSession::Fetch {
            name: it.filename,
            size: Some(it.filesize),
        };
        let is_range = it.off.is_some() || it.len.is_some();
        match self.ask(&fetch)? {
            ToSession::Refused(code) => self.refuse(id, code),
            given => self.give(id, given, is_range.then_some((off, len))),
        }
    }

    /// Announces a file and sends it once the peer takes it.
    pub(super) fn give(
        &mut self,
        id: Id,
        given: ToSession,
        range: Option<(u64, u64)>,
    ) -> Result<Came> {
        let ToSession::Give {
            file,
            name,
            size,
            kind,
            sig,
            owner,
        } = given
        else {
            return Err(Ended::NoStock);
        };
        let (off, len) = range.unwrap_or((0, size));
        let fil = Fil {
            off: range.map(|(off, _)| off),
            r#for: Some(id),
            sig: Some(sig),
            kind: Some(kind),
            owner: Some(owner),
            ..Fil::new(name, len)
        };
        let own = self.next.next().ok_or(Ended::Rule("no number is left"))?;
        self.next = own;
        self.answer(own, Message::Request(fil.into()))?;
        let from = match self.reply(own)? {
            Reply::MaySend { from } => from.unwrap_or(0),
            reply => return Ok(Came::to(reply.code().number())),
        };
        if from > len {
            return Err(Ended::Rule("an offset behind the end"));
        }
        self.send_file(&File::from(file), off + from, len - from)?;
        let code = Some(self.reply(own)?.code().number());
        let bytes = len - from;
        Ok(Came { code, bytes })
    }

    /// The reply to our request; requests before it are served later.
    fn reply(&mut self, to: Id) -> Result<Reply> {
        loop {
            if self.early.len() > MOST_WAITING {
                return Err(Ended::Rule("too many requests without an answer"));
            }
            match self.line()? {
                Ok(Line {
                    id: Some(id),
                    message: Message::Reply(reply),
                }) if id == to => return Ok(reply),
                Ok(
                    line @ Line {
                        message: Message::Request(_),
                        ..
                    },
                ) => self.early.push_back(line),
                Ok(_) => return Err(Ended::Rule("an answer to nothing")),
                Err(bad) => self.fault(bad.id, Reply::NotUnderstood)?,
            }
        }
    }

    fn send_file(&mut self, file: &File, mut at: u64, mut left: u64) -> Result<()> {
        self.link.let_kernel_seal();
        let mut piece = Vec::new();
        while left > 0 {
            let len = if self.link.is_sealed_by_kernel() {
                let len = at_most(left, AT_ONCE);
                // Who gets zeros in place of what can't be read sees it by the name.
                if let Err(e) = self.link.send_file(&[], file.as_fd(), at, len)? {
                    log::error!(error:% = e; "file not read");
                }
                len
            } else {
                let len = at_most(left, PIECE);
                piece.resize(len, 0);
                file.read_exact_at(&mut piece, at)?;
                self.link.write(&mut piece)?;
                len
            };
            at += len as u64;
            left -= len as u64;
        }
        Ok(())
    }

    /// Lists what there is of an owner's.
    pub(super) fn list(&mut self, id: Id, it: &Inventory) -> Result<Came> {
        let mut all: Vec<Listed> = Vec::new();
        loop {
            let ask = FromSession::List {
                user: it.username.clone(),
                kinds: it.kind,
                behind: all.last().map(|last| last.name),
            };
            match self.ask(&ask)? {
                ToSession::Listed(files) if files.is_empty() => break,
                ToSession::Listed(files) => all.extend(files),
                ToSession::Refused(code) => return self.refuse(id, code),
                _ => return Err(Ended::NoStock),
            }
        }
        if all.is_empty() {
            return self.refuse(id, Code::NoSuchFile.number());
        }
        let number = Some(all.len() as u64);
        let reply = Reply::FilesExist { number };
        let code = reply.code().number();
        let mut text = Line {
            id: Some(id),
            message: Message::Reply(reply),
        }
        .print();
        for (file, left) in all.iter().zip((1..=all.len() as u64).rev()) {
            let shelf = match file.is_trash {
                true => Shelf::Trash,
                false => Shelf::Live,
            };
            let idx = Idx {
                size: Some(file.size),
                time: Some(file.time),
                kind: Some(file.kind),
                state: Some(shelf),
                ..Idx::new(left, file.name)
            };
            let message = Message::Request(Request::Idx(idx));
            text.push_str(
                &Line {
                    id: Some(id),
                    message,
                }
                .print(),
            );
            if text.len() >= LINES {
                self.send(&text)?;
                text.clear();
            }
        }
        self.send(&text)?;
        Ok(Came::to(code))
    }
}
