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
    let replay = |world: &World, owner: &User, number| {
        let replayed = Replayed {
            owner,
            key: key(owner, Role::Both),
            name: name(number),
            size: MIB,
            kind: Kind::Data,
            time: None,
        };
        let replayed = world.book.replay(bob.id, &replayed, world.now);
        replayed.expect("replay");
    };
    replay(&world, &old, 1);
    replay(&world, &new, 1);
    let old = world.base("old");
    assert_eq!(old.key, Some(key(&old.name, Role::Both)));
    assert_eq!(world.names(&old), []);
    // Nor does a keeper name any for a user that has its key already.
    replay(&world, &old.name, 2);
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
fn a_deletion_without_a_proof_is_for_owners_of_version_1_0() {
    let mut world = World::new();
    let (anna, old) = (world.owner("anna"), world.base("old"));
    let (bob, dan) = (world.holder("bob", GIB), world.base_holder("dan", GIB));
    for owner in [&anna, &old] {
        let number = if owner.is_base { 2 } else { 1 };
        world
            .begin(&world.new_run(owner, number, MIB))
            .expect("run");
        world.store(&wish(owner, number, 1, MIB));
    }
    let book = &world.book;
    let refused = book.delete_unproved(&anna, name(1), world.now);
    assert_eq!(refusal(refused), Code::NotAllowed);
    assert_eq!(
        refusal(book.delete_unproved(&old, name(9), world.now)),
        Code::NoSuchFile
    );
    let holders = book
        .delete_unproved(&old, name(1), world.now)
        .expect("deleted");
    assert_eq!(holders, [dan.id]);
    let again = book
        .delete_unproved(&old, name(1), world.now)
        .expect("again");
    assert!(again.is_empty());
    let orders = book.orders(dan.id, 0, 10, world.now).expect("orders");
    assert_eq!(orders.len(), 1);
    assert_eq!((orders[0].proof, orders[0].reason), (None, None));
    assert!(
        book.orders(bob.id, 0, 10, world.now)
            .expect("orders")
            .is_empty()
    );
    assert_eq!((world.used(&old), world.used(&anna)), (0, MIB));
    // An account that only appends does not, unless it may for a while.
    let settings = Settings {
        is_append_only: true,
        ..Settings::default()
    };
    world.begin(&world.new_run(&old, 3, MIB)).expect("run");
    world.store(&wish(&old, 3, 3, MIB));
    let old = world
        .book
        .enter(&old.name, &settings, world.now)
        .expect("user");
    let refused = world.book.delete_unproved(&old, name(3), world.now);
    assert_eq!(refusal(refused), Code::NotAllowed);
    world
        .book
        .open_window(old.id, world.now + 1)
        .expect("window");
    let old = world.book.account(old.id).expect("user");
    let deleted = world.book.delete_unproved(&old, name(3), world.now);
    assert_eq!(deleted.expect("deleted"), [dan.id]);
}

#[test]
fn a_keeper_that_names_a_file_alone_means_the_copy_that_it_was_to_get() {
    let mut world = World::new();
    let owners = ["one", "two"].map(|name| world.base(name));
    let dan = world.base_holder("dan", GIB);
    assert_eq!(world.book.owner_of(dan.id, name(1)).expect("owner"), None);
    world
        .begin(&world.new_run(&owners[0], 1, MIB))
        .expect("run");
    world.store(&wish(&owners[0], 1, 1, MIB));
    let of = |world: &World| world.book.owner_of(dan.id, name(1)).expect("owner");
    assert_eq!(of(&world), Some(owners[0].id));
    // The same file of another owner is on its way.
    world
        .begin(&world.new_run(&owners[1], 2, MIB))
        .expect("run");
    world.place(&wish(&owners[1], 2, 1, MIB)).expect("place");
    assert_eq!(of(&world), Some(owners[1].id));
    // One of version 1.1 is none of them.
    let bob = world.holder("bob", GIB);
    let anna = world.owner("anna");
    world.begin(&world.new_run(&anna, 3, MIB)).expect("run");
    world.store(&wish(&anna, 3, 1, MIB));
    assert_eq!(world.book.owner_of(bob.id, name(1)).expect("owner"), None);
}

#[test]
fn the_runs_of_an_owner_end_at_once_and_those_of_others_stay() {
    let mut world = World::new();
    let (one, two) = (world.base("one"), world.base("two"));
    world.base_holder("dan", GIB);
    for (owner, number) in [(&one, 1), (&one, 2), (&two, 3)] {
        world
            .begin(&world.new_run(owner, number, MIB))
            .expect("run");
    }
    world.book.abort_all(one.id).expect("abort");
    let reserved = |owner: &Account| world.book.space(owner.id).expect("space").reserved;
    assert_eq!((reserved(&one), reserved(&two)), (0, MIB));
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
