//! What is done once in a while: tickets and parts end, trash is emptied, files are
//! read against their names, and the hub hears of files whose owners may not have
//! lived to report them.

use super::asks::Replay;
use super::message::{Done, FromLine, Job, ToLine, Work};
use super::orders::reply_of;
use super::slow::Waiting;
use super::{AT_ONCE, Result, Stock, Time};
use crate::holder::store::catalog::{Filed, Owner, State};
use crate::holder::store::shelves::Shelf;
use crate::hub::peer::signer::Signer;
use crate::hub::proofs::Challenge;
use crate::hub::wire::request::Crc;
use crate::hub::wire::{Checksum, Code, Line, Message, Name, Request, User};

/// How often all files are read against their names, in seconds.
const SCRUB: Time = 30 * 24 * 3600;

/// After how long a holder reports a file to the hub, in seconds.
const REPORT: Time = 3600;

/// The most reports that wait for an answer.
const MOST_REPORTS: u32 = 16;

impl Stock {
    /// What is due every minute.
    pub(super) fn tick(&mut self) -> Result<()> {
        self.look_at_store()?;
        let peers = &self.peers;
        let has_line = |user: &User| peers.values().any(|peer| peer.user == *user);
        self.tickets.expire(self.now, has_line);
        let now = self.now;
        self.passes.retain(|_, (_, until)| *until > now);
        self.shelves.sweep_parts()?;
        for file in self.catalog.expired(self.now, AT_ONCE)? {
            self.remove(&file)?;
        }
        let is_scrubbing = self.slow.iter().any(|it| matches!(it.work, Work::Name));
        if !is_scrubbing {
            self.scrub()?;
        }
        self.warn()?;
        self.report()
    }

    /// Queues the file that nobody has looked at for the longest time.
    fn scrub(&mut self) -> Result<()> {
        let next = self.catalog.next_to_scrub(self.now - SCRUB)?;
        let next = next.map(|file| Waiting {
            file,
            work: Work::Name,
        });
        self.slow.extend(next);
        Ok(())
    }

    /// Reports files to the hub that have come some time ago.
    fn report(&mut self) -> Result<()> {
        if !self.is_online || self.asks.has_reports() {
            return Ok(());
        }
        for file in self.catalog.unreported(self.now - REPORT, MOST_REPORTS)? {
            self.report_file(file)?;
        }
        Ok(())
    }

    /// Takes what the hub's line says.
    pub(super) fn hear_line(&mut self, said: FromLine) -> Result<()> {
        match said {
            FromLine::Challenge {
                time,
                random,
                exporter,
            } => {
                let challenge = Challenge {
                    hub: &self.settings.hub,
                    user: &self.settings.user,
                    time,
                    random,
                    exporter: Some(exporter),
                };
                let responded = self.keys.respond(&challenge)?;
                if let (response, Some(sig)) = responded {
                    self.to_hub.push(ToLine::Response { response, sig });
                }
            }
            FromLine::Ready {
                time,
                hub,
                is_rebuilt,
            } => {
                self.is_online = true;
                self.errands.hub = Some(hub);
                self.ahead = i64::try_from(time).unwrap_or(self.now) - self.now;
                self.replay = is_rebuilt.then(Replay::default);
                self.replay()?;
                self.ask_for_all()?;
                self.catalog.warn_again()?;
                self.warn()?;
                self.report()?;
            }
            FromLine::Lost => self.offline(),
            FromLine::Line(line) => {
                let answer = self.order(line)?;
                self.to_hub.extend(answer.map(ToLine::Line));
            }
            FromLine::Answered { tag, line } => self.answered(tag, &line)?,
        }
        Ok(())
    }

    /// The hub does not hear us any more: it asks again what it still wants to know.
    pub(super) fn offline(&mut self) {
        self.is_online = false;
        self.to_hub.clear();
        self.forget_asked();
        self.errands.forget();
        self.slow
            .retain(|it| !matches!(it.work, Work::Checksum { .. }));
    }

    /// The next job of the slow thread.
    pub(super) fn next_job(&mut self) -> Result<Option<(Waiting, Job)>> {
        while let Some(waiting) = self.slow.pop_front() {
            let Waiting { file, work } = &waiting;
            let work = *work;
            let Some(file) = self.catalog.file(file.owner, file.name)? else {
                continue;
            };
            let owner = self.catalog.owner_of(file.owner)?;
            match self.open(&owner, &file) {
                Ok(opened) => {
                    let (file, size) = (opened.into(), file.size);
                    return Ok(Some((waiting, Job { file, size, work })));
                }
                Err(e) if e.is_fatal() => return Err(e),
                Err(_) => self.checked(work, None),
            }
        }
        Ok(None)
    }

    /// Answers the hub.
    fn checked(&mut self, work: Work, found: Option<Checksum>) {
        let Work::Checksum { id, .. } = work else {
            return;
        };
        let message = match found {
            Some(sum) => Message::Request(Request::Crc(Crc::new(sum))),
            None => Message::Reply(reply_of(Code::NoSuchFile)),
        };
        let id = Some(id);
        self.to_hub.push(ToLine::Line(Line { id, message }));
    }

    /// Takes what the slow thread has found.
    pub(super) fn done(&mut self, waiting: &Waiting, done: &Done) -> Result<()> {
        let Work::Name = done.work else {
            if self.is_online {
                self.checked(done.work, done.found);
            }
            return Ok(());
        };
        let Filed { owner, name, .. } = waiting.file;
        let Some(file) = self.catalog.file(owner, name)? else {
            return Ok(());
        };
        match done.found {
            Some(sum) if Name(sum.0) == name => {
                self.catalog.scrubbed(owner, name, State::Whole, self.now)?;
            }
            _ => {
                let owner = self.catalog.owner_of(owner)?;
                self.set_aside(&owner, &file)?;
            }
        }
        self.scrub()
    }

    fn set_aside(&mut self, owner: &Owner, file: &Filed) -> Result<()> {
        let shelf = Stock::shelf(file);
        self.shelves
            .set_aside(shelf, &owner.key, file.kind, file.name)?;
        match shelf {
            Shelf::Live => {
                self.give_up(owner, file, State::Corrupt)?;
                self.warn()
            }
            Shelf::Trash => {
                self.leaves(file);
                Ok(self.catalog.forget(owner.id, file.name)?)
            }
        }
    }

    /// Takes note of files that could not be opened.
    pub(super) fn mourn(&mut self) -> Result<()> {
        let lost = std::mem::take(&mut self.lost);
        if lost.is_empty() {
            return Ok(());
        }
        for (owner, file) in lost {
            self.give_up(&owner, &file, State::Missing)?;
        }
        self.warn()
    }
}
