//! The load balancer behind TLB: which servers are in the pool, which of them
//! are alive, and where to send a client. Uses no sockets and no files: the caller
//! provides datagrams, times and random numbers. Only [`resolver`] has a driver
//! over sockets, for callers that may wait.

pub mod ask;
pub mod file;
pub mod health;
pub mod knock;
pub mod probe;
pub mod reader;
pub mod resolver;
pub mod srv;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::tf::pool::file::{MAX_SERVERS, Server};
use crate::tf::pool::health::{Health, State};
use crate::tf::pool::probe::Load;

/// The most questions [`Balancer::due`] gives at once.
const BATCH: usize = 64;

/// The time between connections by TCP to a silent server.
const KNOCK_PAUSE: Duration = Duration::from_secs(5);

/// A HOSTCHECK to send by UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Where to.
    pub address: SocketAddr,
    /// The datagram.
    pub question: [u8; probe::QUESTION],
}

/// What is known of a server, for status and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Address, weight and priority.
    pub server: Server,
    /// Whether it is alive.
    pub state: State,
    /// What it reported with its last answer, if it reports.
    pub load: Option<Load>,
    /// How often it was handed out since its last answer.
    pub given: u32,
}

#[derive(Debug)]
struct Entry {
    server: Server,
    health: Health,
    /// When a connection by TCP may be tried next.
    knock: Duration,
    /// Whether it took the last one.
    accepts: bool,
    given: u32,
    turn: u64,
}

/// The pool with the health of its servers. Times are durations since a start
/// of the caller's choice, the same for all calls, and never go back.
#[derive(Debug, Default)]
pub struct Balancer {
    entries: Vec<Entry>,
    places: HashMap<SocketAddr, usize>,
    turns: Turns,
}

impl Balancer {
    /// Makes these the servers of the pool, in this order, as from a pool file
    /// and then from SRV records. Those that stay keep what is known of them;
    /// of two with one address the first counts, and those beyond
    /// [`MAX_SERVERS`] are left out.
    pub fn replace(&mut self, servers: impl IntoIterator<Item = Server>, now: Duration) {
        let mut old: HashMap<SocketAddr, Entry> = self
            .entries
            .drain(..)
            .map(|entry| (entry.server.address, entry))
            .collect();
        self.places.clear();
        for server in servers {
            if self.entries.len() == MAX_SERVERS {
                break;
            }
            if self.places.contains_key(&server.address) {
                continue;
            }
            self.places.insert(server.address, self.entries.len());
            self.entries.push(match old.remove(&server.address) {
                Some(entry) => Entry { server, ..entry },
                None => Entry {
                    server,
                    health: Health::new(now),
                    knock: now,
                    accepts: false,
                    given: 0,
                    turn: 0,
                },
            });
        }
    }

    /// The questions to send now, at most 64; they count as sent. Datagrams
    /// that have come in should be given to [`Balancer::answered`] first.
    pub fn due(&mut self, now: Duration, mut random: impl FnMut() -> u64) -> Vec<Probe> {
        let ask = |entry: &mut Entry| {
            let question = entry.health.due(now, &mut random)?;
            Some(Probe {
                address: entry.server.address,
                question,
            })
        };
        self.entries
            .iter_mut()
            .filter_map(ask)
            .take(BATCH)
            .collect()
    }

    /// How long until [`Balancer::due`] should be called next; `None` when the
    /// pool is empty.
    pub fn wait(&self, now: Duration) -> Option<Duration> {
        let next = self.entries.iter().map(|entry| entry.health.next()).min()?;
        Some(next.saturating_sub(now))
    }

    /// Takes a datagram that came in on the socket of the questions; whether it
    /// was a valid answer. `from` may be an IPv4-mapped address.
    pub fn answered(&mut self, from: SocketAddr, bytes: &[u8], now: Duration) -> bool {
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let Some(entry) = self
            .places
            .get(&from)
            .and_then(|place| self.entries.get_mut(*place))
        else {
            return false;
        };
        let counts = entry.health.answered(bytes, now);
        if counts {
            entry.given = 0;
        }
        counts
    }

    /// The servers to try by TCP now, at most 64: where none is alive, those that
    /// are silent. They count as tried.
    pub fn next_knocks(&mut self, now: Duration) -> Vec<SocketAddr> {
        let is_alive = |entry: &Entry| entry.health.state() == State::Alive;
        if self.entries.iter().any(is_alive) {
            return Vec::new();
        }
        let silent = |entry: &&mut Entry| entry.health.is_silent() && entry.knock <= now;
        let knock = |entry: &mut Entry| {
            entry.knock = now + KNOCK_PAUSE;
            entry.server.address
        };
        let silent = self.entries.iter_mut().filter(silent);
        silent.take(BATCH).map(knock).collect()
    }

    /// Notes what [`Balancer::next_knocks`] gave, and which of these servers took the
    /// connection.
    pub fn knocked(&mut self, tried: &[SocketAddr], accepting: &[SocketAddr]) {
        for address in tried {
            let place = self.places.get(address);
            if let Some(entry) = place.and_then(|place| self.entries.get_mut(*place)) {
                entry.accepts = accepting.contains(address);
            }
        }
    }

    /// The server to send a client to; `None` (52) when none is alive. Before
    /// its first question is answered or overdue a server is handed out too,
    /// if none is known to be alive; last, one that is silent and takes
    /// connections by TCP, for the network may lose its answers.
    pub fn choose(&mut self, now: Duration) -> Option<Server> {
        self.entries
            .iter_mut()
            .for_each(|entry| entry.health.tick(now));
        let mut candidates = self.candidates(|entry| entry.health.state() == State::Alive);
        if candidates.is_empty() {
            candidates = self.candidates(|entry| entry.health.is_fresh());
        }
        if candidates.is_empty() {
            candidates = self.candidates(|entry| entry.health.is_silent() && entry.accepts);
        }
        let (place, turn) = choose(&candidates, &mut self.turns)?;
        let entry = self.entries.get_mut(place)?;
        entry.turn = turn;
        entry.given = entry.given.saturating_add(1);
        Some(entry.server)
    }

    /// What is known of each server, in the order of the pool.
    pub fn summary(&self) -> Vec<Summary> {
        let summary = |entry: &Entry| Summary {
            server: entry.server,
            state: entry.health.state(),
            load: entry.health.load(),
            given: entry.given,
        };
        self.entries.iter().map(summary).collect()
    }

    /// Those of the lowest priority number among servers that fit.
    fn candidates(&self, fits: impl Fn(&Entry) -> bool) -> Vec<Candidate> {
        let fitting = || self.entries.iter().enumerate().filter(|(_, e)| fits(e));
        let lowest = fitting().map(|(_, entry)| entry.server.priority).min();
        let candidate = |(place, entry): (usize, &Entry)| Candidate {
            place,
            weight: entry.server.weight,
            load: entry.health.load(),
            given: entry.given,
            turn: entry.turn,
        };
        fitting()
            .filter(|(_, e)| Some(e.server.priority) == lowest)
            .map(candidate)
            .collect()
    }
}

/// A server to choose from.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    /// Its place in the pool.
    place: usize,
    /// 1 or more.
    weight: u32,
    /// The load it reported last, if it reports one.
    load: Option<Load>,
    /// How often it was handed out since its last answer.
    given: u32,
    /// When its turn comes, see [`Turns`].
    turn: u64,
}

/// How far handing out a server of weight 1 advances its turn.
const STEP: u64 = 1 << 24;

/// Whose turn it is. The next turn of a server is a step, divided by its weight,
/// later; a server that was away starts from now.
#[derive(Clone, Copy, Debug, Default)]
struct Turns {
    present: u64,
}

impl Turns {
    /// Hands out a candidate; returns when its next turn comes.
    fn take(&mut self, turn: u64, weight: u32) -> u64 {
        self.present = self.present.max(turn);
        self.present.saturating_add(STEP / u64::from(weight.max(1)))
    }
}

/// The choice: place and next turn of the candidate handed out.
fn choose(candidates: &[Candidate], turns: &mut Turns) -> Option<(usize, u64)> {
    let median = median(candidates);
    let rank = |candidate: &Candidate| match median {
        Some(median) => (
            is_full(candidate),
            rate(candidate).unwrap_or_else(|| {
                median + f64::from(candidate.given) / f64::from(candidate.weight.max(1))
            }),
        ),
        None => (false, 0.0),
    };
    let key = |candidate: &Candidate| (rank(candidate), candidate.turn.max(turns.present));
    let chosen = candidates.iter().min_by(|a, b| {
        let (((full_a, rate_a), turn_a), ((full_b, rate_b), turn_b)) = (key(a), key(b));
        full_a
            .cmp(&full_b)
            .then(rate_a.total_cmp(&rate_b))
            .then(turn_a.cmp(&turn_b))
    })?;
    Some((chosen.place, turns.take(chosen.turn, chosen.weight)))
}

/// Sessions for each unit of weight, if known.
fn rate(candidate: &Candidate) -> Option<f64> {
    let sessions = f64::from(candidate.load?.sessions) + f64::from(candidate.given);
    Some(sessions / f64::from(candidate.weight.max(1)))
}

fn is_full(candidate: &Candidate) -> bool {
    candidate.load.is_some_and(|load| {
        load.most != 0 && load.sessions.saturating_add(candidate.given) >= load.most
    })
}

/// The median of the rates as reported; `None` when nobody reports.
fn median(candidates: &[Candidate]) -> Option<f64> {
    let reported = candidates.iter().map(|candidate| Candidate {
        given: 0,
        ..*candidate
    });
    let mut rates: Vec<f64> = reported.filter_map(|candidate| rate(&candidate)).collect();
    let middle = rates.len() / 2;
    if rates.is_empty() {
        return None;
    }
    let (_, median, _) = rates.select_nth_unstable_by(middle, f64::total_cmp);
    Some(*median)
}
