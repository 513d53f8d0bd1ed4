//! What the stock asks of the hub, and what the hub answers: reports of files, of all of
//! them where the hub writes its book again, what has become of those that go between
//! holders, and files that are lost. The line takes so many requests at once; the rest
//! waits here, and ends with the line.

use std::collections::{HashMap, VecDeque};

use super::message::ToLine;
use super::{AT_ONCE, Result, Stock};
use crate::holder::store::catalog::{Filed, OwnerId};
use crate::hub::wire::request::{Dfi, Rrc};
use crate::hub::wire::{Code, Flag, Line, Message, Name, Request};

/// The most requests that wait for an answer.
const MOST: usize = 32;

/// What a request is about.
#[derive(Debug)]
pub(super) enum About {
    /// A file that is here.
    Report(Filed),
    /// A file that has gone to another holder, or has not come from one.
    Errand,
    /// All that was lost.
    Return,
}

/// The requests of a line.
#[derive(Debug, Default)]
pub(super) struct Asks {
    /// Those that the hub has not answered, by their tags.
    pub asked: HashMap<u64, About>,
    waiting: VecDeque<(Request, About)>,
    /// The tag of the last one.
    last: u64,
}

/// How far a hub that has lost its database has heard of all files.
#[derive(Debug, Default)]
pub(super) struct Replay {
    /// The last one.
    behind: Option<(OwnerId, Name)>,
    is_over: bool,
}

impl Asks {
    fn all(&self) -> impl Iterator<Item = &About> {
        let waiting = self.waiting.iter().map(|(_, about)| about);
        self.asked.values().chain(waiting)
    }

    /// Whether the hub has not answered all reports.
    pub fn has_reports(&self) -> bool {
        self.all().any(|about| matches!(about, About::Report(_)))
    }

    fn is_returning(&self) -> bool {
        self.all().any(|about| matches!(about, About::Return))
    }
}

impl Stock {
    /// Asks the hub, if there is a line.
    pub(super) fn ask(&mut self, request: impl Into<Request>, about: About) {
        if self.is_online {
            self.asks.waiting.push_back((request.into(), about));
            self.ask_more();
        }
    }

    fn ask_more(&mut self) {
        let Asks {
            asked,
            waiting,
            last,
        } = &mut self.asks;
        while asked.len() < MOST
            && let Some((request, about)) = waiting.pop_front()
        {
            *last += 1;
            let message = Message::Request(request);
            let line = Line { id: None, message };
            self.to_hub.push(ToLine::Ask { tag: *last, line });
            asked.insert(*last, about);
        }
    }

    /// Reports a file.
    pub(super) fn report_file(&mut self, file: Filed) -> Result<()> {
        let owner = self.catalog.owner_of(file.owner)?;
        let replay = self.replay.as_ref().map(|_| Flag);
        let came = u64::try_from(file.since + self.ahead).ok();
        let request = Dfi {
            replay,
            time: came.filter(|_| replay.is_some()),
            size: Some(file.size),
            owner: Some(owner.user),
            okey: Some(owner.key),
            sig: Some(file.sig),
            kind: Some(file.kind),
            ..Dfi::new(file.name, self.settings.user.clone())
        };
        self.ask(request, About::Report(file));
        Ok(())
    }

    /// Reports some files more, if the hub wants to hear of all.
    pub(super) fn replay(&mut self) -> Result<()> {
        let Some(replay) = self.replay.as_mut().filter(|it| !it.is_over) else {
            return Ok(());
        };
        if !self.asks.waiting.is_empty() {
            return Ok(());
        }
        let first = (OwnerId::MIN, Name([0; 32]));
        let behind = replay.behind.unwrap_or(first);
        let files = self.catalog.whole_behind(behind, AT_ONCE)?;
        replay.behind = files.last().map(|file| (file.owner, file.name));
        replay.is_over = files.is_empty();
        if replay.is_over {
            log::info!("the hub has heard of all files");
        }
        files
            .into_iter()
            .try_for_each(|file| self.report_file(file))
    }

    /// Asks for all that the hub has given to this holder, if nothing of it is here:
    /// the disk is a new one. Rows without files say nothing more then.
    pub(super) fn ask_for_all(&mut self) -> Result<()> {
        if !self.asks.is_returning() && self.catalog.is_empty()? {
            let all = Some(Flag);
            self.ask(Rrc { all }, About::Return);
        }
        Ok(())
    }

    /// Takes the hub's answer.
    pub(super) fn answered(&mut self, tag: u64, line: &Line) -> Result<()> {
        let about = self.asks.asked.remove(&tag);
        self.ask_more();
        self.replay()?;
        let Message::Reply(reply) = &line.message else {
            return Ok(());
        };
        match about {
            Some(About::Report(file)) => self.reported(&file, reply.code()),
            Some(About::Return) => {
                let reply = reply.code().text();
                log::info!(reply; "lost files asked for");
                Ok(())
            }
            Some(About::Errand) | None => Ok(()),
        }
    }

    /// What the hub says to a report: a file that nobody wants goes into the trash.
    fn reported(&mut self, file: &Filed, code: Code) -> Result<()> {
        match code {
            Code::TransferCompleted | Code::NotMine => {
                self.catalog.reported(file.owner, file.name)?;
            }
            Code::NoSuchFile => {
                let owner = self.catalog.owner_of(file.owner)?;
                if let Some(file) = self.catalog.file(file.owner, file.name)?
                    && file.until.is_none()
                {
                    self.discard(&owner, &file, false)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Nothing that was asked will be answered any more.
    pub(super) fn forget_asked(&mut self) {
        self.replay = None;
        self.asks.asked.clear();
        self.asks.waiting.clear();
    }
}
