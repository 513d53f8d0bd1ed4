//! Audits: two holders of one file compute its checksum under a key that nobody could
//! foresee. Who can't has lost it; of two that differ, the file is fetched.

use std::time::Duration;

use super::Broker;
use super::care::Failed;
use super::events::Event;
use super::line::{Asked, Said};
use super::owners::random;
use crate::hub::book::{Book, Bound, Mark, Result, UserId};
use crate::hub::wire::request::{Req, Wrn};
use crate::hub::wire::{AuditKey, Checksum, Code, Wrong};

/// How long a holder may compute.
const PATIENCE: Duration = Duration::from_secs(300);

/// The most audits at once.
const MOST: usize = 64;

/// One in so many audits is of all bytes.
const FULL: u64 = 50;

/// Two copies that are compared.
#[derive(Debug)]
pub(super) struct Audit {
    /// The first of them.
    bound: Bound,
    /// Who has the other.
    other: UserId,
    heard: [Option<Heard>; 2],
    why: Why,
}

/// What an audit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The first copy has come from the other holder.
    Moved,
    /// The first holder was gone.
    Back,
    /// It is time.
    Daily,
}

/// What has been heard of a holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Sum(Checksum),
    Lost,
    Silent,
    /// It is offline, or has no time.
    Busy,
}

impl Heard {
    /// What is wrong about it, in the audit log.
    fn word(self) -> &'static str {
        match self {
            Heard::Sum(_) => "differs",
            Heard::Lost => "missing",
            Heard::Silent => "silent",
            Heard::Busy => "busy",
        }
    }
}

impl Broker {
    /// Has two holders of a file compute.
    pub(super) fn compare(
        &mut self,
        book: &Book,
        bound: Bound,
        other: UserId,
        why: Why,
    ) -> Result<()> {
        let number = self.care.next;
        self.care.next += 1;
        let mut key = [0; 32];
        if getrandom::fill(&mut key).is_err() {
            return Ok(());
        }
        let is_full = why == Why::Daily && random().is_multiple_of(FULL);
        let key = match is_full {
            true => AuditKey::Full(key),
            false => AuditKey::Spot(key),
        };
        let mut audit = Audit {
            bound,
            other,
            heard: [None; 2],
            why,
        };
        for (side, holder) in [bound.to, other].into_iter().enumerate() {
            let line = self.holders.get(&holder).copied();
            let request = Req::new(bound.name, key);
            if !self.ask(line, request, Asked::Checksum(number, side), PATIENCE) {
                audit.heard[side] = Some(Heard::Busy);
            }
        }
        self.care.audits.insert(number, audit);
        self.judge(book, number)
    }

    /// Takes what a holder has computed.
    pub(super) fn has_computed(
        &mut self,
        book: &Book,
        holder: UserId,
        (number, side): (u64, usize),
        said: Said,
    ) -> Result<()> {
        let Some(audit) = self.care.audits.get_mut(&number) else {
            return Ok(());
        };
        audit.heard[side] = Some(match said {
            Said::Sum(sum) => Heard::Sum(sum),
            Said::Code(Code::NoSuchFile | Code::NotMine) => Heard::Lost,
            Said::Code(Code::Later) => Heard::Busy,
            Said::Nothing if !self.online.contains(&holder) => Heard::Busy,
            Said::Code(_) | Said::Nothing => Heard::Silent,
        });
        self.judge(book, number)
    }

    /// Ends an audit whose holders both were heard, or could not be asked.
    pub(super) fn judge(&mut self, book: &Book, number: u64) -> Result<()> {
        let audit = self.care.audits.get(&number);
        let Some([Some(first), Some(second)]) = audit.map(|audit| audit.heard) else {
            return Ok(());
        };
        let Some(Audit {
            bound, other, why, ..
        }) = self.care.audits.remove(&number)
        else {
            return Ok(());
        };
        let both = [(bound.to, first), (other, second)];
        let is_same = match (first, second) {
            (Heard::Sum(one), Heard::Sum(two)) => Some(one == two),
            _ => None,
        };
        for (holder, heard) in both {
            let mark = match (heard, is_same) {
                (Heard::Sum(_), Some(true)) => Mark::Pass,
                (Heard::Sum(_), Some(false)) | (Heard::Silent, _) => Mark::Half,
                (Heard::Lost, _) => Mark::Fail,
                (Heard::Sum(_), None) | (Heard::Busy, _) => continue,
            };
            self.mark(book, (holder, heard), mark, &bound)?;
        }
        let is_moving = why == Why::Moved;
        for (holder, _) in both.iter().filter(|(_, heard)| *heard == Heard::Lost) {
            if !is_moving || *holder != bound.to {
                let file = (bound.owner, bound.name);
                self.lost(book, file, (*holder, Wrong::Missing))?;
            }
        }
        match (why, is_same) {
            (Why::Moved, Some(true)) => self.count_moved(book, bound),
            (Why::Moved, Some(false)) => self.fail(book, bound, Failed::Taker),
            (Why::Moved, None) if first == Heard::Lost => self.fail(book, bound, Failed::Taker),
            (Why::Moved, None) if second == Heard::Lost => self.fail(book, bound, Failed::Once),
            (Why::Moved, None) => self.fail(book, bound, Failed::ForNow),
            (Why::Back, Some(true)) => book.count_again(&bound, self.now),
            (Why::Back | Why::Daily, Some(false)) => {
                let users = (book.account(bound.to)?.name, book.account(other)?.name);
                let (one, two) = (users.0.as_str(), users.1.as_str());
                log::warn!(first = one, second = two; "keepers differ about a file");
                book.fetch_from(&bound, other, self.now)
            }
            (Why::Back | Why::Daily, _) => Ok(()),
        }
    }

    fn mark(
        &mut self,
        book: &Book,
        (holder, heard): (UserId, Heard),
        mark: Mark,
        bound: &Bound,
    ) -> Result<()> {
        let is_second = book.mark(holder, mark, bound.name, self.now)?;
        let user = book.account(holder)?.name;
        self.events.push(match mark {
            Mark::Pass => Event::Passed,
            Mark::Fail | Mark::Half => Event::Failed {
                holder: user.clone(),
                name: bound.name,
                why: heard.word(),
            },
        });
        if !is_second {
            return Ok(());
        }
        log::warn!(user = user.as_str(); "keeper has failed two audits, its files are healed");
        if let Some(line) = self.line_of(holder) {
            line.notify(Wrn {
                reason: Some(Wrong::Missing),
                ..Wrn::new(user)
            });
        }
        Ok(())
    }

    /// Begins the audits that are due.
    pub(super) fn start_audits(&mut self, book: &Book) -> Result<()> {
        let cycle = self.care.audit_cycle();
        for holder in book.to_audit(&self.online, self.now)? {
            if self.care.audits.len() >= MOST {
                break;
            }
            let drawn = book.draw(holder, cycle, random(), self.now)?;
            let Some((bound, others)) = drawn else {
                continue;
            };
            let other = others.into_iter().find(|other| self.online.contains(other));
            if let Some(other) = other {
                self.compare(book, bound, other, Why::Daily)?;
            }
        }
        Ok(())
    }
}
