//! Users of version 1.0: what their first key decides, and that nothing of theirs meets
//! anything of the others.

use super::*;
use crate::hub::wire::{LoginKey, NotStored};

/// Places a file of an owner with as many copies as it can have; who is to get them.
fn places(world: &mut World, owner: &Account, number: u8, copies: u8) -> Vec<UserId> {
    let new = world.new_run(owner, number, MIB);
    world.begin(&new).expect("run");
    let wish = Wish {
        factor: Some(factor(copies)),
        ..wish(owner, number, number, MIB)
    };
    let placed = world.place(&wish).expect("place");
    let at = placed.iter().filter_map(|placed| match placed {
        Placed::At(holder, _) => Some(*holder),
        _ => None,
    });
    at.collect()
}

#[test]
fn a_file_goes_to_keepers_of_its_owners_version_alone() {
    let mut world = World::new();
    let (anna, old) = (world.owner("anna"), world.base("old"));
    let new: Vec<UserId> = ["bob", "carol"].map(|it| world.holder(it, GIB).id).into();
    let base: Vec<UserId> = ["dan", "eve"]
        .map(|it| world.base_holder(it, GIB).id)
        .into();
    for (owner, number, expected) in [(&anna, 1, &new), (&old, 2, &base)] {
        let mut at = places(&mut world, owner, number, 4);
        at.sort_unstable();
        assert_eq!(at, *expected);
        // Nor does a copy that fails go elsewhere.
        let wish = wish(owner, number, number, MIB);
        let failed = (at[0], NotStored::Unreachable);
        let next = world
            .book
            .not_stored(&wish, failed, &world.online, 7, world.now);
        assert_eq!(next.expect("next"), Placed::Nowhere);
    }
    // A run that wants more copies than there are keepers of its version does not begin.
    let three = NewRun {
        factor: factor(3),
        ..world.new_run(&old, 9, MIB)
    };
    assert_eq!(refusal(world.begin(&three)), Code::NoHolder);
}

#[test]
fn a_lost_copy_is_made_again_at_a_keeper_of_its_version_or_waits() {
    let mut world = World::new();
    let old = world.base("old");
    let two = ["dan", "eve"].map(|it| world.base_holder(it, GIB));
    world.holder("bob", GIB);
    world.begin(&world.new_run(&old, 1, MIB)).expect("run");
    let both = Wish {
        factor: Some(factor(2)),
        ..wish(&old, 1, 1, MIB)
    };
    world.store(&both);
    world.book.finish(run(1), old.id).expect("done");
    let lost = (two[0].id, NotStored::Corrupt);
    let (file, now) = (name(1), world.now);
    world.book.give_up(old.id, file, lost, now).expect("lost");
    let plan = |world: &World| {
        let with = (&world.online, 7);
        world
            .book
            .plan(old.id, file, with, world.now)
            .expect("plan")
    };
    assert_eq!(plan(&world), Plan::Later);
    let third = world.base_holder("frank", GIB);
    let Plan::Move(bound, sending, _) = plan(&world) else {
        panic!("no move");
    };
    assert_eq!((bound.to, sending.source), (third.id, two[1].id));
}

#[test]
fn the_first_key_decides_the_version_for_good_and_its_code_the_login() {
    let world = World::new();
    let (anna, old) = (world.owner("anna"), world.base("old"));
    assert!(!anna.is_base && old.is_base);
    assert_eq!(old.key, old.holder_key);
    let book = &world.book;
    let (own, other) = (old.key.expect("key"), anna.key.expect("key"));
    // The same key again, another one, and as one of the other version.
    book.learn_key(old.id, Role::Both, own).expect("known");
    for (user, role, key) in [
        (old.id, Role::Both, other),
        (old.id, Role::Owner, own),
        (old.id, Role::Holder, own),
        (anna.id, Role::Both, other),
    ] {
        assert_eq!(refusal(book.learn_key(user, role, key)), Code::NotAllowed);
    }
    assert_eq!(book.account(anna.id).expect("user"), anna);
    // Its code is its login from now on, however old, and it gets no other.
    let late = world.now + 1000 * DAY;
    let known = book.known(&old.name, late).expect("known").expect("known");
    assert_eq!(*known.secret, [7; 32]);
    assert_eq!(
        refusal(book.enrol(old.id, &[8; 32], late)),
        Code::NotAllowed
    );
    let login = LoginKey([9; 32].into());
    book.learn_login(anna.id, &login).expect("login");
    let known = book.known(&anna.name, late).expect("known").expect("known");
    assert_eq!(*known.secret, [9; 32]);
}

#[test]
fn a_key_of_version_1_0_adopts_no_files_of_a_rebuild() {
    let mut world = World::new();
    let bob = world.holder("bob", GIB);
    let (old, new) = (user("old"), user("new"));
    for owner in [&old, &new] {
        let key = key(owner, Role::Both);
        let replayed = Replayed {
            owner,
            key,
            name: name(1),
            size: MIB,
            kind: Kind::Data,
            time: None,
        };
        world
            .book
            .replay(bob.id, &replayed, world.now)
            .expect("replay");
    }
    let old = world.base("old");
    assert_eq!(world.names(&old), []);
    // Nor does a keeper name any for a user that has its key already.
    let replayed = Replayed {
        owner: &old.name,
        key: old.key.expect("key"),
        name: name(2),
        size: MIB,
        kind: Kind::Data,
        time: None,
    };
    world
        .book
        .replay(bob.id, &replayed, world.now)
        .expect("replay");
    assert_eq!(world.names(&old), []);
    // As an owner of this version does.
    let settings = Settings::default();
    let account = world.book.enter(&new, &settings, world.now).expect("user");
    let learned = world
        .book
        .learn_key(account.id, Role::Owner, key(&new, Role::Both));
    learned.expect("key");
    assert_eq!(world.names(&account), [name(1)]);
}

#[test]
fn a_database_without_versions_gets_them_and_keeps_the_rest() {
    let mut world = World::new();
    let (anna, bob) = (world.owner("anna"), world.holder("bob", GIB));
    world.begin(&world.new_run(&anna, 1, MIB)).expect("run");
    world.store(&wish(&anna, 1, 1, MIB));
    let before = "DROP INDEX user_base; ALTER TABLE user DROP COLUMN base;
                  PRAGMA user_version = 1;";
    world.book.db.execute_batch(before).expect("tables");
    let mut world = world.again();
    assert_eq!(world.book.account(anna.id).expect("user"), anna);
    let old = world.base("old");
    world.base_holder("dan", GIB);
    assert!(world.book.account(old.id).expect("user").is_base);
    assert_eq!(world.names(&anna), [name(1)]);
    assert_eq!(places(&mut world, &anna, 2, 1), [bob.id]);
}
