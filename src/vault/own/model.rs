//! The store of entries against a model of it: whatever devices push, in whatever
//! order, and however often.

use std::collections::HashMap;

use proptest::prelude::*;

use super::message::{Change, Id, Pushed, Sealed};
use super::store::{Keep, Store};

const KEEP: Keep = Keep {
    versions: 2,
    days: 10,
};
const DAY: i64 = 86_400;
const BEGIN: i64 = 1_700_000_000;

/// One step: of which entry, to which of the revisions it has had (0: none), what,
/// whether it is sent twice, and how many days later.
type Step = (u8, usize, Option<u8>, bool, i64);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (
        0..3_u8,
        0..4_usize,
        proptest::option::weighted(0.8, 0..3_u8),
        any::<bool>(),
        0..4_i64,
    );
    proptest::collection::vec(step, 1..40)
}

/// An entry as it has to be.
#[derive(Default)]
struct Entry {
    /// Its revisions with their content, the first one first.
    versions: Vec<(u64, Option<Sealed>)>,
    /// When it got the last one.
    time: i64,
}

fn open(dir: &std::path::Path, now: i64) -> Store {
    Store::open(&dir.join("items.db"), 1 << 24, KEEP, now).expect("open")
}

fn run(steps: &[Step]) {
    let dir = tempfile::tempdir().expect("directory");
    let mut now = BEGIN;
    let mut store = open(dir.path(), now);
    let mut model: HashMap<Id, Entry> = HashMap::new();
    let mut head = 0;
    for (id, base, content, is_twice, days) in steps {
        now += days * DAY;
        let id = [*id; 16];
        let entry = model.entry(id).or_default();
        let back = entry.versions.len().checked_sub(*base);
        let base = back
            .and_then(|at| entry.versions.get(at))
            .map_or(0, |(revision, _)| *revision);
        let sealed = content.map(|content| Sealed(vec![content; 9]));
        let change = Change {
            id,
            base,
            sealed: sealed.clone(),
        };
        for _ in 0..=usize::from(*is_twice) {
            let time = (now, now * 1000);
            let pushed = store.push(std::slice::from_ref(&change), &[1; 16], time);
            let pushed = pushed.expect("push").remove(0);
            let last = entry.versions.last().cloned();
            let known = last.as_ref().map_or(0, |(revision, _)| *revision);
            match pushed {
                Pushed::Stored { revision } if last.as_ref().is_some_and(|it| it.1 == sealed) => {
                    assert_eq!(revision, known, "a repeat changes nothing");
                }
                Pushed::Stored { revision: 0 } => assert!(last.is_none() && sealed.is_none()),
                Pushed::Stored { revision } => {
                    assert_eq!(base, known);
                    assert!(revision > head, "revisions rise");
                    head = revision;
                    entry.versions.push((revision, sealed.clone()));
                    entry.time = now;
                }
                Pushed::Stale { current } => {
                    assert_ne!(base, known);
                    let current = current.map(|item| (item.revision, item.sealed));
                    assert_eq!(current, last);
                }
            }
        }
        // What was forgotten is what was deleted long ago, and nothing else.
        store = open(dir.path(), now);
        let oldest = store.about().expect("about").oldest;
        model.retain(|_, entry| {
            let last = entry.versions.last();
            let is_gone = last.is_some_and(|(_, sealed)| sealed.is_none());
            let is_forgotten = is_gone && entry.time < now - i64::from(KEEP.days) * DAY;
            assert!(!is_forgotten || last.is_none_or(|(revision, _)| *revision <= oldest));
            !is_forgotten
        });
        compare(&mut store, &model, head);
    }
}

fn compare(store: &mut Store, model: &HashMap<Id, Entry>, head: u64) {
    let mut wanted: Vec<_> = model
        .iter()
        .filter_map(|(id, entry)| {
            let (revision, sealed) = entry.versions.last()?.clone();
            Some((revision, *id, sealed))
        })
        .collect();
    wanted.sort_by_key(|(revision, ..)| *revision);
    let changes = store.pull(0, true).expect("pull");
    assert_eq!(changes.upto, head);
    let found = changes.items.into_iter();
    let found: Vec<_> = found.map(|it| (it.revision, it.id, it.sealed)).collect();
    assert_eq!(found, wanted);
    for (id, entry) in model {
        // The versions of the last days, and the last ones however old, are there.
        let listed = store.versions(id).expect("versions");
        let least = entry.versions.len().min(1 + KEEP.versions as usize);
        assert!(listed.len() >= least);
        let last = entry.versions.iter().rev();
        for (info, (revision, sealed)) in listed.iter().zip(last) {
            assert_eq!(info.revision, *revision);
            let item = store.version(id, *revision).expect("version").expect("one");
            assert_eq!(&item.sealed, sealed);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn the_store_does_what_its_model_does(steps in steps()) {
        run(&steps);
    }
}
