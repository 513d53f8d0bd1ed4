//! Entries: revisions, stale changes, repeats, deletions, versions, sizes.

use tfd::vault::own::message::*;

use super::peer::*;

const ONE: Id = [1; 16];
const TWO: Id = [2; 16];

fn content(item: &Item) -> &[u8] {
    &item.sealed.as_ref().expect("content").0
}

#[test]
fn what_one_device_pushes_another_pulls() {
    let Some(server) = server("") else { return };
    let ann = Account::new("ann");
    let mut first = Client::registered(&server, &ann);
    let mut second = Client::logged_in(&server, &ann.on_another());
    assert_eq!(second.pull_all(), []);
    let one = first.store(ONE, 0, Some(b"a"));
    let two = first.store(TWO, 0, Some(b"b"));
    assert!(0 < one && one < two);
    let changes = second.pull(0, false);
    assert_eq!(
        (changes.upto, changes.more, changes.whole),
        (two, false, false)
    );
    let found: Vec<_> = changes
        .items
        .iter()
        .map(|it| (it.id, content(it)))
        .collect();
    assert_eq!(found, [(ONE, &b"a"[..]), (TWO, b"b")]);
    // What has not changed is not sent again.
    assert_eq!(second.pull(two, false).items, []);
    let three = second.store(ONE, one, Some(b"c"));
    let gone = second.store(TWO, two, None);
    let items = first.pull(two, false).items;
    assert_eq!(items.len(), 2);
    assert_eq!((items[0].revision, items[0].base), (three, one));
    assert_eq!((items[1].revision, &items[1].sealed), (gone, &None));
    let welcome = Client::hello(&server, "ann").welcome(&Request::LogIn(ann.log_in()));
    assert_eq!(welcome.revision, gone);
}

#[test]
fn of_two_changes_to_one_revision_the_second_hears_of_the_first() {
    let Some(server) = server("") else { return };
    let ann = Account::new("ann");
    let mut first = Client::registered(&server, &ann);
    let mut second = Client::logged_in(&server, &ann.on_another());
    let base = first.store(ONE, 0, Some(b"a"));
    let by_first = first.store(ONE, base, Some(b"first"));
    for (base, sealed) in [
        (base, Some(&b"second"[..])),
        (0, Some(b"second")),
        (base, None),
    ] {
        let Pushed::Stale {
            current: Some(current),
        } = second.push(ONE, base, sealed)
        else {
            panic!("not stale");
        };
        assert_eq!(
            (current.revision, content(&current)),
            (by_first, &b"first"[..])
        );
    }
    let merged = second.store(ONE, by_first, Some(b"both"));
    assert!(merged > by_first);
    // An entry that nobody knows has no base.
    let none = second.push(TWO, 7, Some(b"x"));
    assert_eq!(none, Pushed::Stale { current: None });
    // Of several changes each is for itself.
    let change = |id, base, text: &str| Change {
        id,
        base,
        sealed: Some(Sealed(text.as_bytes().to_vec())),
    };
    let changes = vec![
        change(ONE, base, "late"),
        change(TWO, 0, "new"),
        change(TWO, 0, "doubled"),
    ];
    let Reply::Pushed { results } = second.ask(&Request::Push { changes }) else {
        panic!("not pushed");
    };
    assert!(matches!(results[0], Pushed::Stale { current: Some(_) }));
    assert!(matches!(results[1], Pushed::Stored { .. }));
    assert!(matches!(results[2], Pushed::Stale { current: Some(_) }));
    assert_eq!(first.pull_all().len(), 2);
}

#[test]
fn a_repeated_push_changes_nothing() {
    let Some(server) = server("") else { return };
    let ann = Account::new("ann");
    let mut client = Client::registered(&server, &ann);
    let revision = client.store(ONE, 0, Some(b"a"));
    assert_eq!(client.store(ONE, 0, Some(b"a")), revision);
    assert_eq!(client.store(ONE, revision, Some(b"a")), revision);
    let next = client.store(ONE, revision, Some(b"b"));
    let mut client = Client::logged_in(&server, &ann);
    assert_eq!(client.store(ONE, revision, Some(b"b")), next);
    let gone = client.store(ONE, next, None);
    assert_eq!(client.store(ONE, next, None), gone);
    assert_eq!(client.store(TWO, 0, None), 0, "there is nothing to delete");
    let back = client.store(ONE, gone, Some(b"c"));
    let items = client.pull_all();
    assert_eq!(items.len(), 1);
    assert_eq!((items[0].revision, content(&items[0])), (back, &b"c"[..]));
}

#[test]
fn versions_are_kept_and_an_old_one_is_restored_by_a_push() {
    let Some(server) = server("keep_versions = 2\nkeep_days = 1") else {
        return;
    };
    let ann = Account::new("ann");
    let mut client = Client::registered(&server, &ann);
    let mut revision = 0;
    let mut all = Vec::new();
    for text in ["a", "b", "c", "d"] {
        revision = client.store(ONE, revision, Some(text.as_bytes()));
        all.push(revision);
    }
    all.push(client.store(ONE, revision, None));
    let Reply::Versions { versions } = client.ask(&Request::Versions { id: ONE }) else {
        panic!("no list");
    };
    // All of one day are kept.
    let listed: Vec<u64> = versions.iter().rev().map(|it| it.revision).collect();
    assert_eq!(listed, all);
    assert!(versions[0].is_deletion && !versions[1].is_deletion);
    assert!(
        versions
            .iter()
            .all(|it| it.device == ann.device.id && it.time > 0)
    );
    let id = ONE;
    let revision = all[1];
    let Reply::Version(old) = client.ask(&Request::Version { id, revision }) else {
        panic!("no version");
    };
    assert_eq!(
        (old.revision, old.base, content(&old)),
        (all[1], all[0], &b"b"[..])
    );
    let restored = client.store(ONE, all[4], Some(b"b"));
    assert_eq!(client.pull(all[4], false).items[0].revision, restored);
    for (id, revision) in [(ONE, 1), (TWO, restored)] {
        let no = client.ask(&Request::Version { id, revision });
        assert_eq!(
            no,
            Reply::Failed {
                why: Failure::NotFound
            }
        );
    }
    let none = client.ask(&Request::Versions { id: TWO });
    assert_eq!(none, Reply::Versions { versions: vec![] });
}

#[test]
fn a_revision_from_elsewhere_is_answered_by_all_there_is() {
    let Some(server) = server("") else { return };
    let mut client = Client::registered(&server, &Account::new("ann"));
    let revision = client.store(ONE, 0, Some(b"a"));
    for since in [revision + 1, u64::MAX] {
        let changes = client.pull(since, false);
        assert!(changes.whole && !changes.more);
        assert_eq!((changes.items.len(), changes.upto), (1, revision));
    }
}

#[test]
fn many_and_large_entries_come_in_answers_of_about_a_megabyte() {
    let Some(server) = server("") else { return };
    let ann = Account::new("ann");
    let mut client = Client::registered(&server, &ann);
    let largest = vec![7; MAX_SEALED];
    for number in 0..3 {
        client.store([number; 16], 0, Some(&largest));
    }
    let changes = (0..1000_u32).map(|number| {
        let mut id = [9; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let sealed = Some(Sealed(vec![8; 512]));
        Change {
            id,
            base: 0,
            sealed,
        }
    });
    let changes = changes.collect();
    let Reply::Pushed { results } = client.ask(&Request::Push { changes }) else {
        panic!("not pushed");
    };
    assert_eq!(results.len(), 1000);
    let mut client = Client::logged_in(&server, &ann.on_another());
    let first = client.pull(0, true);
    assert!(first.more && first.items.len() == 1);
    let items = client.pull_all();
    assert_eq!(items.len(), 1003);
    assert!(
        items
            .windows(2)
            .all(|two| two[0].revision < two[1].revision)
    );
    // Large ones that are stale are left out of a long answer.
    let changes = (0..3).map(|number| Change {
        id: [number; 16],
        base: 1,
        sealed: Some(Sealed(vec![1])),
    });
    let changes = changes.collect();
    let Reply::Pushed { results } = client.ask(&Request::Push { changes }) else {
        panic!("not pushed");
    };
    let sent = results
        .iter()
        .filter(|it| matches!(it, Pushed::Stale { current: Some(_) }));
    assert_eq!(
        sent.count(),
        0,
        "with its head one is longer than the answer"
    );
}

#[test]
fn a_full_account_refuses_a_push_whole_and_deletions_go_on() {
    let Some(server) = server("max_account = \"1M\"") else {
        return;
    };
    let mut client = Client::registered(&server, &Account::new("ann"));
    let content = |number: u8| vec![number; 100_000];
    let mut revisions = Vec::new();
    let full = (0..20).find(|number| {
        let sealed = Some(Sealed(content(*number)));
        let changes = vec![
            Change {
                id: [*number; 16],
                base: 0,
                sealed,
            },
            Change {
                id: [*number + 100; 16],
                base: 0,
                sealed: Some(Sealed(vec![1])),
            },
        ];
        match client.ask(&Request::Push { changes }) {
            Reply::Pushed { results } => {
                revisions.push(results);
                false
            }
            other => {
                assert_eq!(other, Reply::Failed { why: Failure::Full });
                true
            }
        }
    });
    let full = full.expect("full") as usize;
    assert!(full > 4, "{full}");
    assert_eq!(client.pull_all().len(), 2 * full);
    // Old versions make room for changes of what there is.
    let Pushed::Stored { revision } = revisions[0][0] else {
        panic!("not stored");
    };
    let Pushed::Stored { revision: other } = revisions[1][0] else {
        panic!("not stored");
    };
    client.store([1; 16], other, None);
    let mut base = revision;
    for turn in 0..5 {
        base = client.store([0; 16], base, Some(&content(turn + 50)));
    }
    client.store([0; 16], base, None);
    client.store([90; 16], 0, Some(&content(1)));
}
