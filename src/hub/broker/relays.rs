//! The relay: a peer that others don't reach comes to the hub, and so does who wants to
//! speak to it. Each has a token of its own, drawn for both; one session passes on what
//! they say.

use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::Broker;
use super::line::Line;
use super::message::{FromRelay, ToRelay};
use crate::hub::book::{Book, Result, UserId};
use crate::hub::wire::{Token, User, Way};

/// How long both may take to come, and for how long more copies are sent by tokens that
/// nobody has used.
const LIFE: Duration = Duration::from_secs(60);
const FRESH: Duration = Duration::from_secs(30);

/// The place of the dialler among the two; the listener is the other.
const DIALLER: usize = 0;

/// Who dials, by the line that it has to the hub, and to whom.
type Between = (u64, UserId);

/// Two peers that are to meet.
#[derive(Debug)]
struct Pair {
    between: Between,
    tokens: [Token; 2],
    users: [User; 2],
    ends: [End; 2],
    drawn: Instant,
}

/// How far one of them is.
#[derive(Debug)]
enum End {
    Away,
    /// A gate has seen its token.
    Admitted,
    /// Its session, and its connection.
    Here(u64, OwnedFd),
}

/// All of them.
#[derive(Debug)]
pub(super) struct Relays {
    /// Where the relay is, if there is one.
    port: Option<u16>,
    most: usize,
    /// The number of the next pair.
    next: u64,
    pairs: HashMap<u64, Pair>,
    /// The newest of each.
    newest: HashMap<Between, u64>,
    tokens: HashMap<Token, (u64, usize)>,
    /// Sessions that pass bytes on.
    busy: HashSet<u64>,
    /// What sessions get.
    pub said: Vec<(u64, ToRelay)>,
    /// Sessions that are over.
    pub over: Vec<u64>,
}

impl Relays {
    pub fn new(port: Option<u16>, most: usize) -> Relays {
        Relays {
            port,
            most,
            next: 0,
            pairs: HashMap::new(),
            newest: HashMap::new(),
            tokens: HashMap::new(),
            busy: HashSet::new(),
            said: Vec::new(),
            over: Vec::new(),
        }
    }

    /// The tokens of two peers: those that they have, while the dialler has not come and
    /// they are younger than this, else new ones; `None` if there are too many.
    fn draw(&mut self, between: Between, users: [&User; 2], age: Duration) -> Option<[Token; 2]> {
        let before = self.newest.get(&between).and_then(|at| self.pairs.get(at));
        let before = before.filter(|pair| pair.drawn.elapsed() < age);
        if let Some(pair) = before.filter(|pair| matches!(pair.ends[DIALLER], End::Away)) {
            return Some(pair.tokens);
        }
        if self.pairs.len() + self.busy.len() >= self.most {
            return None;
        }
        let mut tokens = [Token([0; 16]); 2];
        for token in &mut tokens {
            getrandom::fill(&mut token.0).ok()?;
        }
        self.next += 1;
        for (side, token) in tokens.iter().enumerate() {
            self.tokens.insert(*token, (self.next, side));
        }
        self.newest.insert(between, self.next);
        let pair = Pair {
            between,
            tokens,
            users: users.map(User::clone),
            ends: [End::Away, End::Away],
            drawn: Instant::now(),
        };
        self.pairs.insert(self.next, pair);
        Some(tokens)
    }

    /// How many pairs speak to each other now.
    pub fn busy(&self) -> usize {
        self.busy.len()
    }

    /// Whose token this is, once.
    pub fn admit(&mut self, token: Token) -> Option<User> {
        let (at, side) = self.tokens.get(&token)?;
        let pair = self.pairs.get_mut(at)?;
        let is_due = pair.drawn.elapsed() < LIFE && matches!(pair.ends[*side], End::Away);
        pair.ends[*side] = match is_due {
            true => End::Admitted,
            false => return None,
        };
        Some(pair.users[*side].clone())
    }

    /// Takes note that a peer is here, on this session.
    pub fn come(&mut self, session: u64, user: &User, it: FromRelay) {
        let found = self.tokens.get(&it.token).copied();
        let pair = found.and_then(|(at, side)| Some((at, side, self.pairs.get_mut(&at)?)));
        let Some((at, side, pair)) = pair.filter(|(_, side, pair)| {
            pair.users[*side] == *user && matches!(pair.ends[*side], End::Admitted)
        }) else {
            return self.over.push(session);
        };
        pair.ends[side] = End::Here(session, it.socket);
        if !pair.ends.iter().all(|end| matches!(end, End::Here(..))) {
            return;
        }
        let ends = self.remove(at).map(|pair| pair.ends);
        if let Some([End::Here(one, first), End::Here(two, second)]) = ends {
            let (other, socket) = match one == session {
                true => (two, second),
                false => (one, first),
            };
            self.busy.insert(session);
            self.said.push((session, ToRelay::Splice(socket)));
            self.said.push((other, ToRelay::Met));
        }
    }

    fn remove(&mut self, at: u64) -> Option<Pair> {
        let pair = self.pairs.remove(&at)?;
        for token in &pair.tokens {
            self.tokens.remove(token);
        }
        if self.newest.get(&pair.between) == Some(&at) {
            self.newest.remove(&pair.between);
        }
        Some(pair)
    }

    /// Takes note that a session has ended.
    pub fn gone(&mut self, session: u64) {
        self.busy.remove(&session);
        let is_it = |end: &End| matches!(end, End::Here(of, _) if *of == session);
        let pairs = self.pairs.iter();
        let found = pairs.filter(|(_, pair)| pair.ends.iter().any(is_it));
        let found: Vec<u64> = found.map(|(at, _)| *at).collect();
        found.into_iter().for_each(|at| self.end(at));
    }

    /// Gives up those that did not come in time.
    pub fn expire(&mut self) {
        let pairs = self.pairs.iter();
        let late = pairs.filter(|(_, pair)| pair.drawn.elapsed() >= LIFE);
        let late: Vec<u64> = late.map(|(at, _)| *at).collect();
        late.into_iter().for_each(|at| self.end(at));
    }

    fn end(&mut self, at: u64) {
        let ends = self.remove(at).map(|pair| pair.ends);
        for end in ends.into_iter().flatten() {
            if let End::Here(session, _) = end {
                self.over.push(session);
            }
        }
    }
}

impl Broker {
    /// Whether a holder is spoken to by the relay.
    fn is_relayed(&self, book: &Book, holder: UserId) -> Result<bool> {
        Ok(self.relays.port.is_some() && book.is_reached(holder)? == Some(false))
    }

    /// The ways of a dialler and of a holder to each other, by the relay.
    fn meet(
        &mut self,
        book: &Book,
        (dialler, holder): Between,
        age: Duration,
    ) -> Result<Option<[Way; 2]>> {
        let listener = book.account(holder)?.name;
        let line = self.lines.get(&dialler);
        let Some((user, port)) = line
            .map(|line| line.card.user.clone())
            .zip(self.relays.port)
        else {
            return Ok(None);
        };
        let tokens = self.relays.draw((dialler, holder), [&user, &listener], age);
        if tokens.is_none() {
            log::warn!(user = user.as_str(); "the relay has no room");
        }
        let host = self.hub.as_str();
        Ok(tokens.map(|tokens| {
            tokens.map(|token| Way::Relay {
                host: host.to_owned(),
                port,
                token,
            })
        }))
    }

    /// What a holder is told of the way of who dials it by this line.
    pub(super) fn way_from(
        &mut self,
        book: &Book,
        dialler: u64,
        holder: UserId,
    ) -> Result<Option<Way>> {
        if !self.is_relayed(book, holder)? {
            return Ok(self.lines.get(&dialler).map(Line::way));
        }
        let ways = self.meet(book, (dialler, holder), FRESH)?;
        Ok(ways.map(|[_, listener]| listener))
    }

    /// The same of one holder that dials another.
    pub(super) fn way_from_holder(
        &mut self,
        book: &Book,
        dialler: UserId,
        holder: UserId,
    ) -> Result<Option<Way>> {
        match self.holders.get(&dialler).copied() {
            Some(dialler) => self.way_from(book, dialler, holder),
            None => Ok(None),
        }
    }

    /// What who dials a holder by this line is told: how it is reached.
    pub(super) fn way_by_line(
        &mut self,
        book: &Book,
        dialler: u64,
        holder: UserId,
    ) -> Result<Option<Way>> {
        if !self.is_relayed(book, holder)? {
            return Ok(self.address_of(book, holder)?.map(Way::Direct));
        }
        let ways = self.meet(book, (dialler, holder), LIFE)?;
        Ok(ways.map(|[dialler, _]| dialler))
    }
}
