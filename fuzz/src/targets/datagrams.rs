//! What the UDP process reads and answers: any datagram, about sessions of
//! whom some are there, in both dialects.
//!
//! The first byte says which slots have a session, the rest is the datagram.
//! An `@` in it stands for a good key.

use std::os::fd::AsFd;
use std::sync::LazyLock;

use tfd::config::Dialect;
use tfd::session::keys::{KEY, Keys, ReadKeys, key_text, read_key};
use tfd::session::slots::{Page, Slot};
use tfd::tf::probes::answer::{MAX_DATAGRAM, Pages, Question, Sessions};

const SLOTS: u32 = 8;

/// The slot of the good key.
const SLOT: u32 = 3;

/// Shared memory as the daemon and its sessions have it.
struct Memory {
    keys: Keys,
    read: ReadKeys,
    pages: Vec<Page>,
}

static MEMORY: LazyLock<Memory> = LazyLock::new(|| {
    let keys = Keys::new(SLOTS).expect("keys");
    let page = |slot| {
        let page = Page::new().expect("page");
        let own = Slot::map(page.try_clone().expect("page")).expect("slot");
        own.set_urgent_bytes(u64::MAX >> (slot * 8));
        page
    };
    Memory {
        read: ReadKeys::map(keys.as_fd()).expect("keys"),
        pages: (0..SLOTS).map(page).collect(),
        keys,
    }
});

/// Takes one input.
pub fn run(data: &[u8]) {
    let Some((there, datagram)) = data.split_first() else {
        return;
    };
    let memory = &*MEMORY;
    for slot in 0..SLOTS {
        let key = if there >> slot & 1 == 1 {
            key_of(slot)
        } else {
            [0; KEY]
        };
        memory.keys.set(slot, key).expect("set");
    }
    let good = key_text(SLOT, key_of(SLOT));
    let datagram: Vec<u8> = datagram
        .iter()
        .flat_map(|byte| {
            if *byte == b'@' {
                good.as_bytes()
            } else {
                std::slice::from_ref(byte)
            }
        })
        .copied()
        .collect();
    let Some(question) = Question::read(&datagram) else {
        return;
    };
    assert!(datagram.len() <= MAX_DATAGRAM && datagram.first().is_none_or(|first| *first < 4));
    let (Question::Process(key) | Question::Socket(key)) = question else {
        return;
    };
    let alive = read_key(key)
        .is_some_and(|(slot, key)| slot < SLOTS && there >> slot & 1 == 1 && key == key_of(slot));
    for dialect in [Dialect::Deployed, Dialect::Document] {
        let page = |slot: u32| memory.pages[slot as usize].try_clone().ok();
        let mut sessions = Sessions {
            keys: memory.read,
            pages: Pages::new(|slot| page(slot).map(Page::from_handle)),
            dialect,
        };
        assert_eq!(sessions.process(key), [u8::from(alive)]);
        let count = sessions.socket(key);
        assert_eq!(count.first(), Some(&u8::from(alive)));
        assert!(
            count.len() <= datagram.len() && alive == (count.len() > 1),
            "{count:?}"
        );
    }
}

fn key_of(slot: u32) -> [u8; KEY] {
    [slot as u8 + 1; KEY]
}
