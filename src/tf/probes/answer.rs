//! Questions and answers in datagrams (tf-protocol(7), PROBES).

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::config::Dialect;
use crate::ipc::Pipe;
use crate::session::keys::{KEY, ReadKeys, is_key, read_key};
use crate::session::slots::Page;
use crate::users::throttle::source_of;

/// The longest datagram that is read.
pub const MAX_DATAGRAM: usize = 400;

const ALIVE: u8 = 1;
const DEAD: u8 = 0;

/// What a datagram asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question<'a> {
    /// Is the host ready? (HOSTCHECK)
    Host,
    /// Is the session with this key alive? (PROCHECK)
    Process(&'a [u8]),
    /// How many out-of-band bytes has it had? (SOCKCHECK)
    Socket(&'a [u8]),
    /// Which server shall I take? (TLB)
    Balance,
}

impl<'a> Question<'a> {
    /// Reads a datagram; any other gets no answer. No answer of a server is a
    /// question, except 00, a HOSTCHECK: two servers never answer each other
    /// without end.
    pub fn read(datagram: &'a [u8]) -> Option<Question<'a>> {
        if datagram.len() > MAX_DATAGRAM {
            return None;
        }
        match datagram.split_first() {
            None | Some((0, _)) => Some(Question::Host),
            Some((1, key)) if is_key(key) => Some(Question::Process(key)),
            Some((2, key)) if is_key(key) => Some(Question::Socket(key)),
            Some((3, _)) => Some(Question::Balance),
            Some(_) => None,
        }
    }
}

/// What is known of sessions.
pub struct Sessions<'a> {
    /// Their keys.
    pub keys: ReadKeys,
    /// Their pages.
    pub pages: Pages<'a>,
    /// The form of answers.
    pub dialect: Dialect,
}

impl Sessions<'_> {
    /// The answer to PROCHECK.
    pub fn process(&self, key: &[u8]) -> Vec<u8> {
        let alive = read_key(key).is_some_and(|(slot, key)| self.keys.fits(slot, key));
        vec![if alive { ALIVE } else { DEAD }]
    }

    /// The answer to SOCKCHECK.
    pub fn socket(&mut self, key: &[u8]) -> Vec<u8> {
        let known = read_key(key).filter(|(slot, key)| self.keys.fits(*slot, *key));
        let count = known.and_then(|(slot, key)| {
            let count = self.pages.of_session(slot, key)?.urgent_bytes();
            // Last, since the slot may get another session in between.
            self.keys.fits(slot, key).then_some(count)
        });
        spell(count.map(|count| count.to_string()), self.dialect)
    }
}

/// The pages of sessions that were asked for.
pub struct Pages<'a> {
    /// Asks for the page of a slot.
    ask: Box<dyn FnMut(u32) -> Option<Page> + 'a>,
    /// By slot, with the key of the session.
    known: HashMap<u32, ([u8; KEY], Page)>,
}

impl<'a> Pages<'a> {
    /// Those that this function finds.
    pub fn new(ask: impl FnMut(u32) -> Option<Page> + 'a) -> Pages<'a> {
        Pages {
            ask: Box::new(ask),
            known: HashMap::new(),
        }
    }

    /// Those that the daemon has.
    pub fn of(daemon: &'a Pipe<u32, Option<OwnedFd>>) -> Pages<'a> {
        Pages::new(|slot| {
            daemon.send(&slot).ok()?;
            daemon.receive().ok()??.map(Page::from_handle)
        })
    }

    /// The page of a session, asked for once.
    fn of_session(&mut self, slot: u32, key: [u8; KEY]) -> Option<&Page> {
        if self.known.get(&slot).is_none_or(|(of, _)| *of != key) {
            let page = (self.ask)(slot)?;
            self.known.insert(slot, (key, page));
        }
        self.known.get(&slot).map(|(_, page)| page)
    }
}

/// An answer with a text, or the answer for none.
pub fn spell(text: Option<String>, dialect: Dialect) -> Vec<u8> {
    let Some(text) = text else { return vec![DEAD] };
    match dialect {
        Dialect::Deployed => [&[ALIVE], text.as_bytes(), &[0]].concat(),
        Dialect::Document => [&[ALIVE, b' '], text.as_bytes()].concat(),
    }
}

/// What answers to a source may cost at once, and again each second; what one
/// costs that is no longer than twice its question, and a longer one.
const BURST: u32 = 200;
const EACH_SECOND: u32 = 100;
const SHORT: u32 = 1;
const LONG: u32 = 10;

/// Counters of sources. Two sources that share one share their answers, too.
const COUNTERS: usize = 1 << 14;

/// Limits the answers to each source, so that a forged sender gets no flood and
/// an exchange with another server stays slow.
#[derive(Debug)]
pub(crate) struct Limit {
    /// Unknown to senders, so that nobody can choose whom to share a counter with.
    hasher: RandomState,
    /// What the answers of each have cost, and when that was last lowered.
    counters: Vec<(u32, Duration)>,
}

impl Limit {
    pub(crate) fn new() -> Limit {
        Limit {
            hasher: RandomState::new(),
            counters: vec![(0, Duration::ZERO); COUNTERS],
        }
    }

    /// Whether an answer of this length may go to a source. `now` is the time
    /// since some start.
    pub(crate) fn allows(
        &mut self,
        source: IpAddr,
        question: usize,
        answer: usize,
        now: Duration,
    ) -> bool {
        let index = self.hasher.hash_one(source_of(source)) % COUNTERS as u64;
        let Some((spent, since)) = usize::try_from(index)
            .ok()
            .and_then(|index| self.counters.get_mut(index))
        else {
            return false;
        };
        let regained = now.saturating_sub(*since).as_millis() * u128::from(EACH_SECOND) / 1000;
        if regained > 0 {
            *spent = spent.saturating_sub(u32::try_from(regained).unwrap_or(u32::MAX));
            *since = now;
        }
        let cost = if answer <= 2 * question { SHORT } else { LONG };
        let fits = *spent + cost <= BURST;
        *spent += if fits { cost } else { 0 };
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::keys::{Keys, key_text};
    use crate::session::slots::Slot;
    use proptest::prelude::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_session_is_alive_by_its_key_and_tells_its_count() {
        let (keys, page) = (Keys::new(9).expect("keys"), Page::new().expect("page"));
        let reader = || page.reader().ok().map(Page::from_handle);
        let mut sessions = Sessions {
            keys: ReadKeys::map(keys.as_fd()).expect("keys"),
            pages: Pages::new(|slot| reader().filter(|_| slot == 3)),
            dialect: Dialect::Deployed,
        };
        keys.set(3, [5; 16]).expect("set");
        let slot = Slot::map(page.try_clone().expect("page"));
        slot.expect("slot").set_urgent_bytes(41);
        let key = key_text(3, [5; 16]);
        assert_eq!(sessions.process(key.as_bytes()), [1]);
        assert_eq!(sessions.socket(format!("/{key}\0").as_bytes()), b"\x0141\0");
        sessions.dialect = Dialect::Document;
        assert_eq!(sessions.socket(key.as_bytes()), b"\x01 41");
        for wrong in [&b""[..], b"/", b"nonsense", key_text(4, [5; 16]).as_bytes()] {
            assert_eq!(
                (sessions.process(wrong), sessions.socket(wrong)),
                (vec![0], vec![0])
            );
        }
    }

    #[test]
    fn other_datagrams_get_no_answer() {
        assert_eq!(Question::read(b""), Some(Question::Host));
        assert_eq!(Question::read(b"\x00anything"), Some(Question::Host));
        let key = [b'a'; 33];
        let asked = [&[1], &key[..]].concat();
        assert_eq!(Question::read(&asked), Some(Question::Process(&key)));
        for none in [&b"\x01"[..], b"\x01k", b"\x02", b"\x02/", &asked[..33]] {
            assert_eq!(Question::read(none), None);
        }
        assert_eq!(Question::read(b"\x03"), Some(Question::Balance));
        assert_eq!(Question::read(b"\x04"), None);
        assert_eq!(Question::read(&[0; MAX_DATAGRAM + 1]), None);
    }

    proptest! {
        #[test]
        fn any_datagram_is_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            let _ = Question::read(&bytes);
        }
    }

    #[test]
    fn a_source_gets_so_many_answers_and_fewer_long_ones() {
        let mut limit = Limit::new();
        let source = |n: u32| IpAddr::V4((0xC000_0200 + n).into());
        let mut given = |from, len, now| {
            (0..1000)
                .filter(|_| limit.allows(source(from), 1, len, Duration::from_secs(now)))
                .count()
        };
        assert_eq!((given(1, 30, 0), given(1, 1, 0)), (20, 0));
        assert_eq!((given(2, 1, 0), given(2, 30, 0)), (200, 0));
        assert_eq!((given(1, 30, 1), given(2, 1, 1)), (10, 100));
        assert_eq!(given(1, 30, 9), 20);
    }

    #[test]
    fn a_flood_of_forged_senders_leaves_others_their_answers() {
        let mut limit = Limit::new();
        for n in 0..100_000_u32 {
            limit.allows(IpAddr::V4(n.into()), 1, 1, Duration::ZERO);
        }
        let other = "2001:db8::1".parse().expect("address");
        assert!(limit.allows(other, 1, 1, Duration::ZERO));
    }
}
