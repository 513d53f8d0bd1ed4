//! The authenticator's end: it asks what holds at all servers, and waits for a short time
//! only. Where nobody answers, it decides alone, and does not wait again for a while.

use std::collections::HashMap;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::message::{Answer, Question, Said, What};
use crate::ipc::Pipe;
use crate::ipc::poll::{Poll, left};

/// How long to wait for an answer, and for how long not to wait once none has come.
const PATIENCE: Duration = Duration::from_millis(250);
const PAUSE: Duration = Duration::from_secs(1);

/// The channel to the process at the store.
pub type ToStore = Pipe<Question, Answer>;

/// Asks for any number of threads, each of which waits for its own answer.
#[derive(Debug)]
pub struct Asker {
    channel: ToStore,
    line: Mutex<Line>,
    heard: Condvar,
}

#[derive(Debug, Default)]
struct Line {
    /// Of the last question.
    number: u64,
    /// Whether a thread waits at the channel, for all.
    is_read: bool,
    /// The questions whose answers are waited for, and those that have come.
    waiting: HashMap<u64, Option<Answer>>,
    /// Until when nobody waits for an answer.
    alone_until: Option<Instant>,
}

impl Asker {
    /// By this channel.
    pub fn new(channel: ToStore) -> Asker {
        Asker {
            channel,
            line: Mutex::default(),
            heard: Condvar::new(),
        }
    }

    /// What the store says; `None` when it says nothing in time, however many ask. A
    /// failed login is counted there later in this case.
    pub fn ask(&self, what: What) -> Option<Said> {
        let until = Instant::now() + PATIENCE;
        let mut line = self.line();
        line.number += 1;
        let number = line.number;
        let is_sent = self.channel.try_send(&Question { number, what }).is_ok();
        if line.alone_until.is_some_and(|until| Instant::now() < until) {
            // Answers that nobody reads would fill the channel.
            let _ = self.take(&mut line);
            return None;
        }
        line.waiting.insert(number, None);
        let (mut line, answer) = match is_sent {
            true => self.wait(line, number, until),
            false => (line, None),
        };
        line.waiting.remove(&number);
        line.alone_until = answer.is_none().then(|| Instant::now() + PAUSE);
        answer?.said
    }

    /// The answer to this question, if it comes in time.
    fn wait<'a>(
        &'a self,
        mut line: MutexGuard<'a, Line>,
        number: u64,
        until: Instant,
    ) -> (MutexGuard<'a, Line>, Option<Answer>) {
        loop {
            let answer = line.waiting.get(&number).copied().flatten();
            if answer.is_some() || left(until).is_zero() {
                return (line, answer);
            }
            if line.is_read {
                let waited = self.heard.wait_timeout(line, left(until));
                line = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            line.is_read = true;
            drop(line);
            let mut poll = Poll::default();
            poll.read((), &self.channel);
            let polled = poll.wait(Some(left(until))).map(drop);
            line = self.line();
            line.is_read = false;
            let taken = polled.and_then(|()| self.take(&mut line));
            self.heard.notify_all();
            if taken.is_err() {
                return (line, None);
            }
        }
    }

    /// Takes the answers that have come; those that nobody waits for come too late.
    fn take(&self, line: &mut Line) -> io::Result<()> {
        loop {
            match self.channel.try_receive() {
                Ok(Some(answer)) => {
                    if let Some(place) = line.waiting.get_mut(&answer.number) {
                        *place = Some(answer);
                    }
                }
                Ok(None) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::message::Attempt;
    use crate::ipc::pipe::pair;
    use crate::users::throttle::shared::{Failures, LoginState};

    /// A state that is the answer to this question alone.
    fn said(number: u64) -> Said {
        let count = u32::try_from(number).expect("small");
        Said::Login(LoginState {
            login: Failures { count, left: 0 },
            ..LoginState::default()
        })
    }

    fn failed() -> What {
        What::Failed(Attempt {
            account: Some("ann".to_owned()),
            source: "192.0.2.1".parse().expect("address"),
            is_known: false,
        })
    }

    #[test]
    fn who_is_not_answered_decides_alone_and_does_not_wait_each_time() {
        let (ours, store) = pair::<Question, Answer>().expect("pair");
        let asker = Asker::new(ours);
        let begun = Instant::now();
        for _ in 0..20 {
            assert_eq!(asker.ask(failed()), None);
        }
        assert!(begun.elapsed() < 2 * PATIENCE + PAUSE);
        for number in 1..=20 {
            let question = store.receive().expect("question").expect("one");
            assert_eq!((question.number, question.what), (number, failed()));
        }
        std::thread::sleep(PAUSE);
        let late = |number| Answer {
            number,
            said: Some(said(number)),
        };
        store.send(&late(3)).expect("send");
        store.send(&late(21)).expect("send");
        assert_eq!(asker.ask(failed()), Some(said(21)), "not of question 3");
        drop(store);
        assert_eq!(asker.ask(failed()), None);
    }

    #[test]
    fn of_many_that_ask_at_once_nobody_waits_longer_than_one_and_each_hears_its_own() {
        let (ours, store) = pair::<Question, Answer>().expect("pair");
        let asker = Asker::new(ours);
        let ask = || {
            let begun = Instant::now();
            (asker.ask(failed()), begun.elapsed())
        };
        let (asker_alone, count) = (&ask, 4);
        std::thread::scope(|scope| {
            let asking: Vec<_> = (0..count).map(|_| scope.spawn(asker_alone)).collect();
            for asked in asking {
                let (said, waited) = asked.join().expect("asks");
                assert_eq!(said, None);
                assert!(waited < 3 * PATIENCE, "{waited:?}");
            }
        });
        std::thread::sleep(PAUSE);
        std::thread::scope(|scope| {
            let asking: Vec<_> = (0..count).map(|_| scope.spawn(asker_alone)).collect();
            let questions = (0..2 * count).map(|_| store.receive().expect("channel"));
            let mut numbers: Vec<u64> = questions.flatten().map(|asked| asked.number).collect();
            numbers.reverse();
            for number in numbers {
                let said = Some(said(number));
                store.send(&Answer { number, said }).expect("send");
            }
            let heard = asking.into_iter().map(|of| of.join().expect("asks").0);
            let heard: Vec<Option<Said>> = heard.collect();
            for number in count + 1..=2 * count {
                let one = heard.iter().filter(|of| **of == Some(said(number)));
                assert_eq!(one.count(), 1, "{number}");
            }
        });
    }

    #[test]
    fn answers_that_nobody_waits_for_do_not_fill_the_channel() {
        let (ours, store) = pair::<Question, Answer>().expect("pair");
        let asker = Asker::new(ours);
        assert_eq!(asker.ask(failed()), None);
        for _ in 0..10_000 {
            asker.ask(failed());
            let asked = store.receive().expect("channel").expect("question");
            let (number, said) = (asked.number, None);
            let is_taken = store.try_send(&Answer { number, said });
            assert!(is_taken.is_ok(), "{is_taken:?} of {number}");
        }
    }
}
