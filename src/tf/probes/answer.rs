//! Questions and answers in datagrams (tf-protocol(7), PROBES).

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::config::Dialect;
use crate::session::keys::{ReadKeys, read_key};
use crate::session::slots::OUT_OF_BAND;
use crate::sys::memory::{ReadWords, WORD, page_size};
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
    /// Reads a datagram; any other gets no answer.
    pub fn read(datagram: &'a [u8]) -> Option<Question<'a>> {
        if datagram.len() > MAX_DATAGRAM {
            return None;
        }
        match datagram.split_first() {
            None | Some((0, _)) => Some(Question::Host),
            Some((1, key)) => Some(Question::Process(key)),
            Some((2, key)) => Some(Question::Socket(key)),
            Some((3, _)) => Some(Question::Balance),
            Some(_) => None,
        }
    }
}

/// What is known of sessions.
#[derive(Clone, Copy, Debug)]
pub struct Sessions {
    /// Their keys.
    pub keys: ReadKeys,
    /// The table of slots.
    pub slots: ReadWords,
    /// The form of answers.
    pub dialect: Dialect,
}

impl Sessions {
    /// The answer to PROCHECK.
    pub fn process(&self, key: &[u8]) -> Vec<u8> {
        let alive = read_key(key).is_some_and(|(slot, key)| self.keys.fits(slot, key));
        vec![if alive { ALIVE } else { DEAD }]
    }

    /// The answer to SOCKCHECK.
    pub fn socket(&self, key: &[u8]) -> Vec<u8> {
        let count = read_key(key).and_then(|(slot, key)| {
            let page = slot as usize * (page_size() / WORD);
            let count = self.slots.load(page + OUT_OF_BAND);
            // Last, since the slot may get another session in between.
            self.keys.fits(slot, key).then_some(count)
        });
        spell(count.map(|count| count.to_string()), self.dialect)
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

/// Long answers a source may have at once, and again after each pause.
const BURST: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// The most sources remembered.
const MOST: usize = 4096;

/// Limits answers that are longer than their questions to a few a second for
/// each source, so that a forged sender cannot be flooded.
#[derive(Debug, Default)]
pub(crate) struct Limit(HashMap<IpAddr, (u32, Instant)>);

impl Limit {
    /// Whether an answer of this length may go to a source.
    pub(crate) fn allows(
        &mut self,
        source: IpAddr,
        question: usize,
        answer: usize,
        now: Instant,
    ) -> bool {
        if answer <= 2 * question {
            return true;
        }
        if self.0.len() >= MOST {
            self.0
                .retain(|_, (_, since)| now.saturating_duration_since(*since) < PAUSE * BURST);
            if self.0.len() >= MOST {
                return false;
            }
        }
        let (given, since) = self.0.entry(source_of(source)).or_insert((0, now));
        let pauses = now.saturating_duration_since(*since).as_millis() / PAUSE.as_millis();
        if pauses > 0 {
            *given = given.saturating_sub(u32::try_from(pauses).unwrap_or(u32::MAX));
            *since = now;
        }
        *given += 1;
        *given <= BURST
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::keys::{Keys, key_text};
    use crate::session::slots::{Slot, Slots};
    use crate::sys::memory::map_to_read;
    use proptest::prelude::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_session_is_alive_by_its_key_and_tells_its_count() {
        let (keys, slots) = (Keys::new(9).expect("keys"), Slots::new(9).expect("slots"));
        let sessions = Sessions {
            keys: ReadKeys::map(keys.as_fd()).expect("keys"),
            slots: map_to_read(slots.as_fd()).expect("slots"),
            dialect: Dialect::Deployed,
        };
        keys.set(3, [5; 16]).expect("set");
        Slot::map(slots.as_fd(), 3)
            .expect("slot")
            .tell_out_of_band(41);
        let key = key_text(3, [5; 16]);
        assert_eq!(sessions.process(key.as_bytes()), [1]);
        assert_eq!(sessions.socket(format!("/{key}\0").as_bytes()), b"\x0141\0");
        let document = Sessions {
            dialect: Dialect::Document,
            ..sessions
        };
        assert_eq!(document.socket(key.as_bytes()), b"\x01 41");
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
        assert_eq!(Question::read(b"\x01k"), Some(Question::Process(b"k")));
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
    fn a_source_gets_few_long_answers_and_any_number_of_short_ones() {
        let mut limit = Limit::default();
        let (a, b) = (
            "192.0.2.1".parse().expect("a"),
            "192.0.2.2".parse().expect("b"),
        );
        let now = Instant::now();
        let given = (0..100).filter(|_| limit.allows(a, 1, 30, now)).count();
        assert_eq!(given, BURST as usize);
        assert!(limit.allows(b, 1, 30, now) && limit.allows(a, 33, 12, now));
        assert!(!limit.allows(a, 1, 30, now));
        let later = now + PAUSE * 200;
        assert!(limit.allows(a, 1, 30, later));
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut limit = Limit::default();
        let now = Instant::now();
        for n in 0..10_000_u32 {
            limit.allows(IpAddr::V4(n.into()), 1, 30, now);
        }
        assert!(limit.0.len() <= MOST);
    }
}
