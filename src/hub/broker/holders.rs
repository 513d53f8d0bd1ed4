//! Holders: what they share, their arrival, the orders they get and the copies they
//! have lost.

use super::line::{Asked, Asker};
use super::{DISK_PATIENCE, Desk, LATE};
use crate::hub::book::{Account, Book, Online, Result, Share, UserId};
use crate::hub::wire::request::{Rem, Sha, Wrn};
use crate::hub::wire::{Leaving, NotStored, Reply, Wrong};

/// The most orders of a holder that are under way.
const MOST_ORDERS: usize = 32;

impl Desk {
    pub(super) fn share(
        &mut self,
        book: &Book,
        asker: Asker,
        user: &Account,
        it: Sha,
    ) -> Result<()> {
        let share = Share {
            size: it.size,
            port: it.port,
            site: it.site.as_ref(),
        };
        book.share(user.id, &share, self.now)?;
        self.reply(asker, Reply::ShareOk);
        self.arrive(book, asker.0, user.id)?;
        self.say_space(book, asker.0)
    }

    /// Takes note that a holder is ready on a line, in place of one it had.
    pub(super) fn arrive(&mut self, book: &Book, number: u64, user: UserId) -> Result<()> {
        let Some(line) = self.lines.get(&number) else {
            return Ok(());
        };
        book.arrived(user, line.card.peer)?;
        book.note_online(&Online::from([user]), self.now)?;
        let before = self.holders.insert(user, number);
        if let Some(before) = before.filter(|before| *before != number) {
            self.leave(before, Leaving::Replaced, LATE);
        }
        self.online.insert(user);
        self.give_orders(book, user)
    }

    /// Gives a holder that is ready the orders that wait for it.
    pub(super) fn give_orders(&mut self, book: &Book, holder: UserId) -> Result<()> {
        let now = self.now;
        let Some(line) = self.line_of(holder) else {
            return Ok(());
        };
        let under_way = line.orders();
        if under_way == 0 {
            line.order = 0;
        }
        let (number, behind) = (line.number, line.order);
        let room = u32::try_from(MOST_ORDERS.saturating_sub(under_way)).unwrap_or(0);
        for order in book.orders(holder, behind, room, now)? {
            let remove = Rem {
                proof: Some(order.proof),
                time: Some(order.time),
                ..Rem::new(order.owner, order.name, order.size)
            };
            let asked = Asked::Remove(order.number);
            if !self.ask(Some(number), remove, asked, DISK_PATIENCE) {
                break;
            }
            if let Some(line) = self.lines.get_mut(&number) {
                line.order = order.number;
            }
        }
        Ok(())
    }

    /// Takes a holder's word that its copy of a file is lost.
    pub(super) fn warned(&mut self, book: &Book, holder: UserId, it: &Wrn) -> Result<()> {
        let reason = match it.reason {
            Some(Wrong::Corrupt) => NotStored::Corrupt,
            Some(Wrong::Missing) => NotStored::Missing,
            _ => return Ok(()),
        };
        let (Some(owner), Some(name)) = (book.find_user(&it.username)?, it.name) else {
            return Ok(());
        };
        book.give_up(owner.id, name, (holder, reason), self.now)?;
        let warning = Wrn {
            reason: it.reason,
            name: Some(name),
            ..Wrn::new(book.account(holder)?.name)
        };
        for line in self.owners_lines(owner.id) {
            line.notify(warning.clone());
        }
        Ok(())
    }
}
