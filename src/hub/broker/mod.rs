//! The broker: one process that keeps the book, and brings owners and holders together.
//! It answers gates about logins, and the sessions of all lines. What a request changes
//! is on disk before its answer is sent.

mod audit;
mod care;
mod events;
pub mod figures;
mod gates;
mod holders;
mod line;
pub mod message;
mod owners;
pub mod process;
mod relays;
mod reports;
mod returns;
mod sources;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use self::care::Care;
pub use self::care::Terms;
use self::events::Event;
use self::line::{Asked, Asker, Dirty, Line, Said};
use self::message::{FromSession, ToSession};
use self::owners::Placing;
use self::process::Settings;
use self::relays::Relays;
use super::book::{Account, Book, Online, Result, Time, Trouble, UserId};
use super::prober::Job;
use super::room::Room;
use super::state::State;
use super::wire::request::{Acs, Out, Stp};
use super::wire::{Id, Label, Leaving, Line as Sent, Message, Name, Reply, Request, Role};
use crate::session::failure::Failure;
use crate::users::throttle::Throttle;

/// How long a holder may take for what it does to its disk.
const DISK_PATIENCE: Duration = Duration::from_secs(60);

/// The most lines of an owner at once: those of eight runs.
const MOST_LINES: usize = 16;

/// After how many seconds a peer whose line ends comes back.
const SOON: u64 = 5;
const LATE: u64 = 60;

/// How many ticks lie between two notices of the space that is left.
const HEARTBEAT: u64 = 5;

/// How many of them make an hour.
const HOUR: u64 = 60;

/// Who is there, and what is under way.
#[derive(Debug)]
pub struct Broker {
    hub: Label,
    window: u64,
    /// How long a peer may take for an answer that another waits for.
    patience: Duration,
    /// Whether holders are to name all that they have.
    is_rebuilt: bool,
    throttle: Throttle,
    /// Whether the clock has not gone back.
    is_clock_right: bool,
    now: Time,
    ticks: u64,
    lines: HashMap<u64, Line>,
    /// Those of them that have something to send.
    dirty: Dirty,
    /// The lines of holders that are ready.
    holders: HashMap<UserId, u64>,
    online: Online,
    /// The copies that requests wait for.
    placings: HashMap<(Asker, Name), Placing>,
    /// Copies on their way between holders.
    care: Care,
    /// Peers that are to meet at the relay.
    relays: Relays,
    /// What is left on its disk.
    room: Room,
    /// Holders for which the prober is to look.
    probes: VecDeque<Job>,
    /// How often it looks for each; zero for never.
    probe_cycle: Duration,
    /// When the wait for an answer is over.
    due: BTreeSet<(Instant, u64, Id)>,
    /// Logins that have failed, for the daemon.
    failures: Vec<Failure>,
    /// What has happened in this turn.
    events: Vec<Event>,
}

impl Broker {
    /// Nobody yet.
    pub fn new(settings: &Settings, throttle: Throttle, room: Room) -> Broker {
        Broker {
            hub: settings.rules.hub.clone(),
            window: settings.window,
            patience: settings.patience,
            is_rebuilt: settings.is_rebuilt,
            throttle,
            is_clock_right: true,
            now: 0,
            ticks: 0,
            lines: HashMap::new(),
            dirty: Dirty::default(),
            holders: HashMap::new(),
            online: Online::new(),
            placings: HashMap::new(),
            care: Care::new(settings.terms),
            relays: Relays::new(settings.relay_port, settings.relay_lines),
            room,
            probes: VecDeque::new(),
            probe_cycle: settings.probe_cycle,
            due: BTreeSet::new(),
            failures: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Takes what a session says.
    fn hear(&mut self, book: &Book, number: u64, message: FromSession) -> Result<()> {
        match message {
            FromSession::Enter => self.enter(book, number),
            FromSession::Line(Sent { id, message }) => match (id, message) {
                (Some(id), Message::Request(Request::Crc(it))) => {
                    self.answered(book, (number, id), Said::Sum(it.checksum))
                }
                (Some(id), Message::Reply(reply)) => {
                    self.answered(book, (number, id), Said::Code(reply.code()))
                }
                (Some(id), Message::Request(request)) => {
                    match self.serve(book, (number, id), request) {
                        Err(Trouble::Refused(reply)) => {
                            self.reply((number, id), reply);
                            Ok(())
                        }
                        other => other,
                    }
                }
                (None, Message::Request(notice)) => self.note(book, number, notice),
                (None, Message::Reply(_)) => Ok(()),
            },
        }
    }

    /// The user of a line whose session serves.
    fn user(&self, number: u64) -> Result<UserId> {
        let user = self.lines.get(&number).and_then(|line| line.user);
        user.ok_or(Trouble::Refused(Reply::NotAllowed))
    }

    fn serve(&mut self, book: &Book, asker: Asker, request: Request) -> Result<()> {
        let (number, _) = asker;
        let user = book.account(self.user(number)?)?;
        // A session that was taken over has no other role, either.
        let role = self.role(number);
        if !role.is_some_and(|role| State::admits_ever(role, request.command())) {
            return Err(Reply::NotAllowed.into());
        }
        match request {
            Request::Bck(it) => self.begin(book, asker, &user, it),
            Request::Put(it) => self.put(book, asker, &user, it),
            Request::Pix(it) => self.put_other(book, asker, &user, it),
            Request::Dfi(it) => self.stored(book, asker, &user, it),
            Request::Nst(it) => self.not_stored(book, asker, &user, it),
            Request::Dbu(it) => self.finish(book, asker, &user, it.run),
            Request::Abt(it) => self.abort(book, asker, &user, it.run),
            Request::Del(it) => self.delete(book, asker, &user, it),
            Request::Rec(it) => self.recover(book, asker, &user, it),
            Request::Gix(it) => self.find_listed(book, asker, &user, it),
            Request::Get(it) => self.find_file(book, asker, &user, it),
            Request::Gip(it) => self.find_user(book, asker, &user, it),
            Request::Sha(it) => self.share(book, asker, &user, it),
            Request::SendKey(it) => {
                let key = match self.role(number) {
                    Some(Role::Holder) => user.holder_key,
                    _ => user.key,
                };
                let known = key == Some(it.key);
                let reply = if known {
                    Reply::KeyReceived
                } else {
                    Reply::NotAllowed
                };
                self.reply(asker, reply);
                Ok(())
            }
            Request::Rrc(it) => self.give_back(book, asker, &user, &it),
            Request::Mov(it) => self.has_moved(book, asker, &user, &it),
            _ => Err(Reply::NotUnderstood.into()),
        }
    }

    fn role(&self, number: u64) -> Option<Role> {
        self.lines.get(&number).map(|line| line.card.role)
    }

    /// Whether a line is of version 1.0.
    fn is_base(&self, number: u64) -> bool {
        self.role(number) == Some(Role::Both)
    }

    fn note(&mut self, book: &Book, number: u64, notice: Request) -> Result<()> {
        let user = self.user(number)?;
        let role = self.role(number);
        if !role.is_some_and(|role| State::admits_ever(role, notice.command())) {
            return Ok(());
        }
        match notice {
            Request::Stp(it) => {
                if let Some(holder) = book.find_user(&it.username)? {
                    self.end_ticket(number, holder.id);
                }
                Ok(())
            }
            Request::Wrn(it) => self.warned(book, user, &it),
            // A session ends its line by itself.
            _ => Ok(()),
        }
    }

    /// Takes a peer's answer.
    fn answered(&mut self, book: &Book, (number, id): (u64, Id), said: Said) -> Result<()> {
        let line = self.lines.get_mut(&number);
        let Some((user, asked)) = line.and_then(|line| Some((line.user?, line.answered(id)?)))
        else {
            return Ok(());
        };
        self.settle(book, user, asked, said)
    }

    /// What comes of an answer, or of none.
    fn settle(&mut self, book: &Book, of: UserId, asked: Asked, said: Said) -> Result<()> {
        match asked {
            Asked::Receive(asker, name) => self.may_receive(book, of, (asker, name), said.code()),
            Asked::Send(asker, search) => self.may_send(book, of, asker, search, said.code()),
            Asked::Expect(asker) => self.may_expect(book, of, asker, said.code()),
            Asked::Remove(order) => {
                book.answered(of, order, said.code(), self.now)?;
                self.give_orders(book, of)
            }
            Asked::Take(bound) => self.may_take(book, bound, said),
            Asked::Give(bound) => self.may_give(book, bound, said),
            Asked::Lend(bound) => self.may_lend(book, bound, said),
            Asked::Checksum(audit, side) => self.has_computed(book, of, (audit, side), said),
            Asked::Nobody => Ok(()),
        }
    }

    /// Begins to serve a line.
    fn enter(&mut self, book: &Book, number: u64) -> Result<()> {
        let Some(line) = self
            .lines
            .get_mut(&number)
            .filter(|line| line.user.is_none())
        else {
            return Ok(());
        };
        let role = line.card.role;
        let Some(account) = book.find_user(&line.card.user)? else {
            line.end();
            return Ok(());
        };
        line.user = Some(account.id);
        line.since = self.now;
        let needs_share = role != Role::Owner && !account.has_share;
        // Version 1.0 can't say whose file one is.
        let replays = self.is_rebuilt && role == Role::Holder;
        line.say(ToSession::Entered {
            needs_share,
            replays,
        });
        if role == Role::Both {
            // Its runs have no numbers by which they could go on.
            book.abort_all(account.id)?;
        }
        match role {
            Role::Owner => self.replace_oldest(number, account.id),
            _ if needs_share => return Ok(()),
            _ => self.arrive(book, number, account.id)?,
        }
        self.say_space(book, number)?;
        self.say_warnings(book, account.id, None)
    }

    /// Ends the oldest line of an owner that has too many.
    fn replace_oldest(&mut self, newest: u64, user: UserId) {
        let is_owners = |line: &&Line| line.user == Some(user) && line.card.role == Role::Owner;
        let lines = self.lines.values().filter(is_owners);
        let mut numbers: Vec<u64> = lines.filter(|it| !it.is_over).map(|it| it.number).collect();
        numbers.sort_unstable();
        if numbers.len() > MOST_LINES
            && let Some(oldest) = numbers.first().filter(|oldest| **oldest != newest)
        {
            self.leave(*oldest, Leaving::Replaced, LATE);
        }
    }

    /// Ends a line once its peer is told.
    fn leave(&mut self, number: u64, reason: Leaving, after: u64) {
        if let Some(line) = self.lines.get_mut(&number) {
            line.notify(Out {
                after: Some(after),
                reason: Some(reason),
            });
            line.end();
        }
    }

    /// Ends all lines: another process serves from now on.
    pub fn leave_all(&mut self) {
        let numbers: Vec<u64> = self.lines.keys().copied().collect();
        for number in numbers {
            self.leave(number, Leaving::Stopping, SOON);
        }
    }

    /// Takes note that a line has ended.
    fn gone(&mut self, book: &Book, number: u64) -> Result<()> {
        let Some(mut line) = self.lines.remove(&number) else {
            return Ok(());
        };
        let Some(user) = line.user else { return Ok(()) };
        if self.holders.get(&user) == Some(&number) {
            self.holders.remove(&user);
            self.online.remove(&user);
            book.left(user, self.now)?;
        }
        if let Some(run) = &line.run {
            book.touch(run.id, self.now)?;
        }
        self.placings.retain(|((of, _), _), _| *of != number);
        for holder in std::mem::take(&mut line.tickets) {
            self.end_tickets_of(user, &line, holder);
        }
        // An order waits for the next line.
        let is_order = |asked: &Asked| matches!(asked, Asked::Remove(_));
        for asked in line.unanswered().into_iter().filter(|it| !is_order(it)) {
            self.settle(book, user, asked, Said::Nothing)?;
        }
        match self.online.contains(&user) {
            true => Ok(()),
            false => self.fail_all_of(book, user),
        }
    }

    /// Tells a holder that an owner's line makes no more use of it.
    fn end_ticket(&mut self, number: u64, holder: UserId) {
        let Some(line) = self.lines.get_mut(&number) else {
            return;
        };
        if !line.tickets.remove(&holder) {
            return;
        }
        if let Some(line) = self.lines.remove(&number) {
            if let Some(user) = line.user {
                self.end_tickets_of(user, &line, holder);
            }
            self.lines.insert(number, line);
        }
    }

    /// The same, unless another line of that owner does.
    fn end_tickets_of(&mut self, user: UserId, line: &Line, holder: UserId) {
        let mut others = self.lines.values();
        if others.any(|other| other.user == Some(user) && other.tickets.contains(&holder)) {
            return;
        }
        let name = line.card.user.clone();
        if let Some(holder) = self.line_of(holder) {
            holder.notify(Stp::new(name));
        }
    }

    /// The line of a holder that is ready.
    fn line_of(&mut self, holder: UserId) -> Option<&mut Line> {
        let number = self.holders.get(&holder)?;
        self.lines.get_mut(number)
    }

    /// Asks a holder for something that it has to answer in time; whether it is there.
    fn ask(
        &mut self,
        number: Option<u64>,
        request: impl Into<Request>,
        asked: Asked,
        patience: Duration,
    ) -> bool {
        let line = number.and_then(|number| self.lines.get_mut(&number));
        let asked = line.and_then(|line| Some((line.number, line.ask(request, asked)?)));
        let Some((number, id)) = asked else {
            return false;
        };
        self.due.insert((Instant::now() + patience, number, id));
        true
    }

    /// Ends waits whose time is over; when the next one is.
    fn end_waits(&mut self, book: &Book) -> Result<Option<Instant>> {
        let at = Instant::now();
        while let Some((due, number, id)) = self.due.first().copied() {
            if due > at {
                return Ok(Some(due));
            }
            self.due.pop_first();
            let line = self.lines.get_mut(&number);
            if let Some((user, asked)) = line.and_then(|line| Some((line.user?, line.give_up(id)?)))
            {
                self.settle(book, user, asked, Said::Nothing)?;
            }
        }
        Ok(None)
    }

    /// Answers a request for good.
    fn reply(&mut self, asker: Asker, reply: Reply) {
        self.say(asker, Message::Reply(reply), true);
    }

    fn say(&mut self, (number, id): Asker, message: Message, is_last: bool) {
        if matches!(&message, Message::Reply(reply) if reply.code().is_refusal()) {
            self.events.push(Event::Refused);
        }
        if let Some(line) = self.lines.get_mut(&number) {
            line.answer(id, message, is_last);
        }
    }

    /// Notifies a peer of the space that is left to it.
    fn say_space(&mut self, book: &Book, number: u64) -> Result<()> {
        let space = book.space(self.user(number)?)?;
        if let Some(line) = self.lines.get_mut(&number) {
            line.notify(Acs::from(space));
        }
        Ok(())
    }

    /// Does what is due every minute.
    fn tick(&mut self, book: &Book) -> Result<()> {
        let is_clock_right = book.note_time(self.now)?;
        if !is_clock_right && self.is_clock_right {
            log::error!("the clock has gone back: nobody logs in to the hub until it is right");
        }
        self.is_clock_right = is_clock_right;
        for line in self.lines.values() {
            if let Some(run) = &line.run {
                book.touch(run.id, self.now)?;
            }
        }
        while book.sweep(self.now)? {}
        if self.ticks.is_multiple_of(HOUR) {
            book.note_online(&self.online, self.now)?;
        }
        let holders: Vec<UserId> = self.holders.keys().copied().collect();
        for holder in holders {
            self.give_orders(book, holder)?;
        }
        if self.ticks.is_multiple_of(HEARTBEAT) {
            let is_in = |line: &&Line| line.user.is_some();
            let numbers = self.lines.values().filter(is_in).map(|line| line.number);
            for number in numbers.collect::<Vec<_>>() {
                self.say_space(book, number)?;
            }
        }
        self.ticks += 1;
        Ok(())
    }

    /// The lines of an owner.
    fn owners_lines(&mut self, owner: UserId) -> impl Iterator<Item = &mut Line> {
        let lines = self.lines.values_mut();
        lines.filter(move |line| line.user == Some(owner) && line.card.role != Role::Holder)
    }

    /// The key that a user signs with on a line of this role.
    fn key_on(&self, number: u64, user: &Account) -> Option<super::wire::Key> {
        match self.role(number)? {
            Role::Holder => user.holder_key,
            Role::Owner | Role::Both => user.key,
        }
    }
}
