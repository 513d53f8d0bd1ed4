//! Holders: what they share, their arrival, the orders they get and the copies they
//! have lost.

use std::net::SocketAddr;
use std::time::Instant;

use super::line::{Asked, Asker};
use super::{Broker, DISK_PATIENCE, LATE, SOON};
use crate::hub::book::{Account, Book, Online, Result, Share, UserId};
use crate::hub::prober::{Job, Probed};
use crate::hub::wire::request::{Rem, Sha, Wrn};
use crate::hub::wire::{Code, Leaving, Reply, Wrong};

/// The most orders of a holder that are under way.
const MOST_ORDERS: usize = 32;

impl Broker {
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
        if let Err(trouble) = book.share(user.id, &share, self.now) {
            if trouble.code() == Some(Code::ShareTooSmall) {
                // Files go elsewhere, until it is enough.
                book.leave(user.id, it.size)?;
            }
            return Err(trouble);
        }
        self.reply(asker, Reply::ShareOk);
        self.arrive(book, asker.0, user.id)?;
        self.say_space(book, asker.0)?;
        if self.is_rebuilt && !user.has_share && !self.is_base(asker.0) {
            // It comes again, and hears that it is to name its files.
            self.leave(asker.0, Leaving::Stopping, SOON);
        }
        Ok(())
    }

    /// Takes note that a holder is ready on a line, in place of one it had.
    pub(super) fn arrive(&mut self, book: &Book, number: u64, user: UserId) -> Result<()> {
        let Some(line) = self.lines.get(&number) else {
            return Ok(());
        };
        book.arrived(user, line.card.peer)?;
        book.note_online(&Online::from([user]), self.now)?;
        if book.is_back(user, self.now)? {
            let name = line.card.user.as_str();
            log::info!(user = name; "keeper is back");
        }
        if book.has_uncounted(user)? {
            self.care.back.insert(user);
        }
        book.ask_again(user, self.now)?;
        book.heal_soon(self.now)?;
        if book.count_returns(user)? > 0 {
            self.care.returning.insert(user);
        }
        let before = self.holders.insert(user, number);
        if let Some(before) = before.filter(|before| *before != number) {
            self.leave(before, Leaving::Replaced, LATE);
            // Nobody on the new line knows what the old one was asked to send and take.
            self.fail_all_of(book, user)?;
        }
        self.online.insert(user);
        self.look_for(book, user)?;
        self.give_orders(book, user)
    }

    /// Where a holder would be reached: where its line comes from, at the port that it
    /// shares. Nobody is looked for elsewhere.
    pub(super) fn address_of(&self, book: &Book, holder: UserId) -> Result<Option<SocketAddr>> {
        let number = self.holders.get(&holder);
        let Some(line) = number.and_then(|number| self.lines.get(number)) else {
            return Ok(None);
        };
        let port = book.port(holder)?;
        Ok(Some(SocketAddr::new(line.card.peer, port)))
    }

    /// Has it seen whether others reach a holder.
    fn look_for(&mut self, book: &Book, holder: UserId) -> Result<()> {
        let account = book.account(holder)?;
        let address = self.address_of(book, holder)?;
        // Lines of version 1.0 between peers have no TLS, which is what is looked at.
        let is_on = !self.probe_cycle.is_zero() && !account.is_base;
        let Some((address, key)) = address.zip(account.holder_key).filter(|_| is_on) else {
            return Ok(());
        };
        self.probes.retain(|job| job.holder != holder);
        self.probes.push_back(Job {
            holder,
            address,
            key,
        });
        if let Some(line) = self.line_of(holder) {
            line.probed = Some(Instant::now());
        }
        Ok(())
    }

    /// The same for those for whom nobody has looked for long.
    pub(super) fn look_again(&mut self, book: &Book) -> Result<()> {
        let cycle = self.probe_cycle;
        if cycle.is_zero() {
            return Ok(());
        }
        let is_due = |(_, number): &(&UserId, &u64)| {
            let probed = self.lines.get(number).and_then(|line| line.probed);
            probed.is_some_and(|at| at.elapsed() >= cycle)
        };
        let due: Vec<UserId> = self.holders.iter().filter(is_due).map(|it| *it.0).collect();
        due.into_iter()
            .try_for_each(|holder| self.look_for(book, holder))
    }

    /// Takes what the prober has found.
    pub(super) fn probed(&mut self, book: &Book, it: &Probed) -> Result<()> {
        if self.address_of(book, it.holder)? != Some(it.address) {
            // It has moved meanwhile, or is gone.
            return Ok(());
        }
        let is_new = book.probed(it.holder, it.failed.is_none())?;
        let user = book.account(it.holder)?.name;
        if it.failed.is_some()
            && let Some(line) = self.line_of(it.holder)
        {
            // Its operator hears of it.
            line.notify(Wrn {
                reason: Some(Wrong::Refused),
                ..Wrn::new(user.clone())
            });
        }
        if !is_new {
            return Ok(());
        }
        let (user, address) = (user.as_str(), it.address);
        match &it.failed {
            None => log::info!(user, address:%; "keeper is reached"),
            Some(why) => log::warn!(user, address:%, reason:% = why; "keeper is not reached"),
        }
        Ok(())
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
            let (proof, time) = order.proof.unzip();
            let remove = Rem {
                proof,
                time,
                reason: order.reason,
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
        let Some(wrong @ (Wrong::Corrupt | Wrong::Missing)) = it.reason else {
            return Ok(());
        };
        match (book.find_user(&it.username)?, it.name) {
            (Some(owner), Some(name)) => self.lost(book, (owner.id, name), (holder, wrong)),
            _ => Ok(()),
        }
    }
}
