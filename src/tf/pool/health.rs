//! Whether a server is alive, judged by its answers. Time is a duration since a
//! start that the caller chooses; nothing waits here.

use std::time::Duration;

use crate::tf::pool::probe;
use crate::tf::pool::probe::Load;

/// The time between questions while answers come.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// The longest pause between questions to a dead server.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How many unanswered questions in a row make a server dead.
const MISSES: u32 = 3;

/// What is known of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has not answered yet, and not missed enough questions to be dead.
    Unknown,
    /// It answers and takes clients.
    Alive,
    /// It answers, but takes no more clients.
    Draining,
    /// It left three questions in a row unanswered.
    Dead,
}

#[cfg(feature = "testing")]
impl State {
    /// One lower-case word for people and metrics.
    pub fn name(self) -> &'static str {
        match self {
            State::Unknown => "unknown",
            State::Alive => "alive",
            State::Draining => "draining",
            State::Dead => "dead",
        }
    }
}

/// The question that waits for its answer.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    nonce: u64,
    sent: Duration,
}

/// The health of one server.
#[derive(Clone, Debug)]
pub struct Health {
    state: State,
    load: Option<Load>,
    /// Questions in a row without an answer.
    missed: u32,
    waiting: Option<Waiting>,
    next: Duration,
}

impl Health {
    /// A server to ask for the first time, at once.
    pub fn new(now: Duration) -> Health {
        Health {
            state: State::Unknown,
            load: None,
            missed: 0,
            waiting: None,
            next: now,
        }
    }

    /// The state at the last [`Health::tick`] or answer.
    pub fn state(&self) -> State {
        self.state
    }

    /// The load it reported with its last answer, if it is alive or draining.
    pub fn load(&self) -> Option<Load> {
        self.load
    }

    /// Whether it has missed no question yet: it may be alive though it never
    /// answered.
    pub fn is_fresh(&self) -> bool {
        self.state == State::Unknown && self.missed == 0
    }

    /// Whether it leaves questions unanswered, which may be the network's fault.
    pub fn is_silent(&self) -> bool {
        self.missed > 0 && matches!(self.state, State::Unknown | State::Dead)
    }

    /// When [`Health::due`] or [`Health::tick`] has something to do next.
    pub fn next(&self) -> Duration {
        self.waiting
            .map_or(self.next, |waiting| waiting.sent + PATIENCE)
    }

    /// Counts an answer that did not come in time.
    pub fn tick(&mut self, now: Duration) {
        let Some(waiting) = self
            .waiting
            .filter(|waiting| now >= waiting.sent + PATIENCE)
        else {
            return;
        };
        self.waiting = None;
        self.missed = self.missed.saturating_add(1);
        self.next = waiting.sent + PATIENCE;
        if self.missed >= MISSES {
            self.state = State::Dead;
            self.load = None;
            let doublings = (self.missed - MISSES).min(4);
            self.next += LONGEST_PAUSE.min(PATIENCE * (1 << doublings));
        }
    }

    /// The question to send now, if it is time; it counts as sent. `random` gives
    /// the nonce, and up to a quarter of jitter for the pause after it.
    pub fn due(
        &mut self,
        now: Duration,
        random: &mut impl FnMut() -> u64,
    ) -> Option<[u8; probe::QUESTION]> {
        self.tick(now);
        if self.waiting.is_some() || now < self.next {
            return None;
        }
        let nonce = random();
        self.waiting = Some(Waiting { nonce, sent: now });
        let jitter = u32::try_from(random() % 256).unwrap_or(0);
        self.next = now + INTERVAL * 7 / 8 + INTERVAL * jitter / 1024;
        Some(probe::question(nonce))
    }

    /// Takes a datagram from the server; whether it was a valid answer. An
    /// unexpected datagram is not, nor is one without the question's nonce from a
    /// server that knows nonces.
    pub fn answered(&mut self, bytes: &[u8], now: Duration) -> bool {
        self.tick(now);
        let (Some(waiting), Some(answer)) = (self.waiting, probe::read(bytes)) else {
            return false;
        };
        let genuine = match answer.report {
            Some((nonce, _)) => nonce == waiting.nonce,
            None => self.load.is_none(),
        };
        if genuine {
            self.waiting = None;
            self.missed = 0;
            self.state = if answer.ready {
                State::Alive
            } else {
                State::Draining
            };
            self.load = answer.report.map(|(_, load)| load);
        }
        genuine
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOAD: Load = Load {
        sessions: 7,
        most: 9,
    };

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn ask(health: &mut Health, now: f64) -> Option<[u8; probe::QUESTION]> {
        let mut nonce = 0;
        health.due(at(now), &mut || {
            nonce += 1;
            nonce
        })
    }

    #[test]
    fn one_answer_makes_a_server_alive_and_three_missed_ones_dead() {
        let mut health = Health::new(at(0.0));
        assert!(health.is_fresh());
        assert!(ask(&mut health, 0.0).is_some() && ask(&mut health, 0.5).is_none());
        assert!(health.answered(b"\x01", at(0.6)));
        assert_eq!((health.state(), health.load()), (State::Alive, None));
        let mut now = 0.6;
        let mut asked = Vec::new();
        while health.state() == State::Alive {
            now += 0.01;
            if ask(&mut health, now).is_some() {
                asked.push(now);
            }
        }
        assert_eq!((health.state(), asked.len()), (State::Dead, 3));
        assert!(now < 4.5, "{now}");
    }

    #[test]
    fn the_dead_are_asked_less_and_less_and_may_return() {
        let mut health = Health::new(at(0.0));
        let asked: Vec<u32> = (0..100)
            .filter(|now| ask(&mut health, (*now).into()).is_some())
            .collect();
        assert_eq!(asked[..8], [0, 1, 2, 4, 7, 12, 21, 32]);
        assert_eq!(asked[8], 43);
        assert_eq!(health.state(), State::Dead);
        let last = f64::from(asked[asked.len() - 1]);
        let again = last + 11.0;
        assert!(ask(&mut health, again).is_some() && health.answered(b"\x01", at(again + 0.1)));
        assert_eq!(health.state(), State::Alive);
    }

    #[test]
    fn a_server_that_never_answered_is_fresh_until_its_first_miss() {
        let mut health = Health::new(at(0.0));
        ask(&mut health, 0.0);
        health.tick(at(0.99));
        assert!(health.is_fresh());
        health.tick(at(1.0));
        assert_eq!((health.state(), health.is_fresh()), (State::Unknown, false));
    }

    #[test]
    fn load_and_draining_come_with_answers_to_this_question() {
        let mut health = Health::new(at(0.0));
        let question = ask(&mut health, 0.0).expect("due");
        let forged = probe::answer(&probe::question(99), LOAD, false);
        assert!(!health.answered(&forged, at(0.1)));
        assert!(health.answered(&probe::answer(&question, LOAD, false), at(0.2)));
        assert_eq!((health.state(), health.load()), (State::Alive, Some(LOAD)));
        assert!(
            !health.answered(&probe::answer(&question, LOAD, true), at(0.3)),
            "asked no more"
        );
        let question = ask(&mut health, 1.5).expect("due");
        assert!(!health.answered(b"\0", at(1.6)), "it knows the nonce");
        assert!(health.answered(&probe::answer(&question, LOAD, true), at(1.6)));
        assert_eq!(health.state(), State::Draining);
    }

    #[test]
    fn questions_come_about_once_a_second() {
        for jitter in [0, 255] {
            let mut health = Health::new(at(0.0));
            assert!(health.due(at(0.0), &mut || jitter).is_some());
            assert!(health.answered(b"\x01", at(0.1)));
            let next = health.next();
            assert!((at(0.87)..at(1.13)).contains(&next), "{next:?}");
        }
    }

    proptest! {
        #[test]
        fn any_datagrams_at_any_time_are_taken(events: Vec<(u16, Option<Vec<u8>>)>) {
            let mut health = Health::new(Duration::ZERO);
            let mut now = Duration::ZERO;
            for (pause, bytes) in events {
                now += Duration::from_millis(pause.into());
                match bytes {
                    Some(bytes) => { health.answered(&bytes, now); }
                    None => { health.due(now, &mut || 7); }
                }
                prop_assert!(health.next() <= now + LONGEST_PAUSE + PATIENCE);
            }
        }
    }
}
