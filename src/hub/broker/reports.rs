//! What holders report of files: that they have one, still or by now, or could not pass
//! it on.

use super::Broker;
use super::line::Asker;
use crate::hub::book::{Account, Book, Bound, Replayed, Result, UserId};
use crate::hub::proofs::Statement;
use crate::hub::wire::request::{Dfi, Nfi, Nst};
use crate::hub::wire::{Kind, Name, NotStored, Reply};

impl Broker {
    /// Takes a holder's word that it has a file.
    pub(super) fn reported(
        &mut self,
        book: &Book,
        asker: Asker,
        user: &Account,
        it: &Dfi,
    ) -> Result<()> {
        if it.username != user.name {
            return Err(Reply::NotMine.into());
        }
        if self.is_rebuilt && it.replay.is_some() {
            return self.replayed(book, asker, user, it);
        }
        let is_base = self.is_base(asker.0);
        let owner = match &it.owner {
            _ if is_base => book.owner_of(user.id, it.filename)?,
            Some(owner) => book.find_user(owner)?.map(|owner| owner.id),
            None => None,
        };
        let owner = owner.ok_or(Reply::NoSuchFile)?;
        let bound = Bound {
            owner,
            name: it.filename,
            to: user.id,
        };
        if book.is_moving(&bound)? {
            self.reply(asker, Reply::TransferCompleted);
            return self.has_come(book, bound);
        }
        if book.is_returning(&bound)? {
            self.has_returned(book, bound)?;
            self.reply(asker, Reply::TransferCompleted);
            return Ok(());
        }
        if it.replay.is_some() || is_base {
            book.has_still(&bound, self.now)?;
        }
        let counted = book.has_copy(owner, it.filename, user.id, self.now)?;
        self.reply(asker, Reply::TransferCompleted);
        if counted.is_new && counted.is_complete {
            let run = |line: &&mut super::Line| line.run.is_some();
            if let Some(line) = self.owners_lines(owner).find(run) {
                line.notify(Nfi::new());
            }
        }
        Ok(())
    }

    /// Enters a file that a holder has, in a book that is written again. Its owner has
    /// signed that it is the owner's.
    fn replayed(&mut self, book: &Book, asker: Asker, user: &Account, it: &Dfi) -> Result<()> {
        let (Some(owner), Some(key), Some(size), Some(sig)) =
            (&it.owner, it.okey, it.size, &it.sig)
        else {
            return Err(Reply::NotMine.into());
        };
        let statement = Statement::File {
            hub: &self.hub,
            owner,
            name: it.filename,
            size,
        };
        let kind = it.kind.unwrap_or(Kind::Data);
        if size > kind.max_size() || !statement.is_signed(&key, sig) {
            return Err(Reply::NotMine.into());
        }
        let replayed = Replayed {
            owner,
            key,
            name: it.filename,
            size,
            kind,
            time: it.time.and_then(|time| i64::try_from(time).ok()),
        };
        book.replay(user.id, &replayed, self.now)?;
        self.reply(asker, Reply::TransferCompleted);
        Ok(())
    }

    /// Whether a file goes from a holder to this other one, or back.
    pub(super) fn is_between(&self, holder: UserId, (name, other): (Name, UserId)) -> bool {
        let ends = [(holder, other), (other, holder)];
        let mut works = self.care.works.iter();
        works.any(|(bound, work)| {
            bound.name == name && ends.contains(&(work.sending.source, bound.to))
        })
    }

    /// Takes a holder's word that a file did not get from it to another, or back to it.
    pub(super) fn not_passed_on(
        &mut self,
        book: &Book,
        asker: Asker,
        user: &Account,
        it: Nst,
    ) -> Result<()> {
        let other = book.find_user(&it.username)?.ok_or(Reply::NoSuchFile)?;
        let name = it.name.ok_or(Reply::NoSuchFile)?;
        let what = (name, other.id, it.reason.unwrap_or(NotStored::Refused));
        let reply = match self.has_not_moved(book, user.id, what)? {
            true => Reply::TransferCompleted,
            false => self.has_not_returned(book, user.id, what)?,
        };
        self.reply(asker, reply);
        Ok(())
    }
}
