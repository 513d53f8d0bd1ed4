//! Files that are deleted, lost, listed and forgotten.

use super::*;
use crate::hub::wire::{Kinds, NotStored, Wrong};

#[test]
fn a_share_below_what_others_have_there_is_refused() {
    let mut world = World::new();
    let anna = world.owner("anna");
    let bob = world.holder("bob", GIB);
    world.begin(&world.new_run(&anna, 1, 8 * MIB)).expect("run");
    world.store(&wish(&anna, 1, 1, 8 * MIB));
    let refused = world.shares(bob.id, 8 * MIB - 1).expect_err("refusal");
    let Trouble::Refused(reply) = refused else {
        panic!("{refused}");
    };
    assert_eq!(
        reply,
        Reply::ShareTooSmall {
            used: Some(8 * MIB)
        }
    );
    world.shares(bob.id, 8 * MIB).expect("share");
    assert_eq!(
        world.place(&wish(&anna, 1, 2, 1)).expect("full"),
        [Placed::Nowhere]
    );
}

#[test]
fn a_deleted_file_frees_its_space_and_its_holders_get_orders() {
    let mut world = World::new();
    let anna = world.owner("anna");
    let bob = world.holder("bob", GIB);
    world.begin(&world.new_run(&anna, 1, 2 * MIB)).expect("run");
    world.store(&wish(&anna, 1, 1, MIB));
    world.now += 5;
    let delete = |world: &World, owner: &Account, removal: &Removal| {
        world.book.delete(owner, removal, world.now)
    };
    let good = removal(&anna, name(1), MIB, world.now);
    for (wrong, code) in [
        (removal(&anna, name(2), MIB, world.now), Code::NoSuchFile),
        (
            removal(&anna, name(1), MIB + 1, world.now),
            Code::NotAllowed,
        ),
        (removal(&bob, name(1), MIB, world.now), Code::NotAllowed),
        (
            removal(&anna, name(1), MIB, world.now - 6),
            Code::NotAllowed,
        ),
        (
            removal(&anna, name(1), MIB, world.now + 601),
            Code::NotAllowed,
        ),
    ] {
        assert_eq!(refusal(delete(&world, &anna, &wrong)), code);
    }
    let careful = Account {
        is_append_only: true,
        ..anna.clone()
    };
    assert_eq!(refusal(delete(&world, &careful, &good)), Code::NotAllowed);
    assert_eq!(delete(&world, &anna, &good).expect("deleted"), [bob.id]);
    assert_eq!(
        delete(&world, &anna, &good).expect("deleted again"),
        Vec::<UserId>::new()
    );
    assert_eq!((world.used(&anna), world.names(&anna).len()), (0, 0));
    let world = world.again();
    let orders = |behind, now| world.book.orders(bob.id, behind, 64, now).expect("orders");
    let order = orders(0, world.now).remove(0);
    assert_eq!(
        (&order.owner, order.name, order.size),
        (&anna.name, name(1), MIB)
    );
    assert_eq!(order.proof, Some((good.proof, good.time)));
    assert_eq!(orders(order.number, world.now), []);
    // A holder that can't do it now is asked again later.
    let answered = |answer| world.book.answered(bob.id, order.number, answer, world.now);
    assert!(!answered(None).expect("order"));
    assert_eq!(orders(0, world.now + 59), []);
    assert!(!answered(Some(Code::Later)).expect("order"));
    assert_eq!(orders(0, world.now + 119), []);
    assert_eq!(orders(0, world.now + 120), std::slice::from_ref(&order));
    assert!(answered(Some(Code::NoSuchFile)).expect("order"));
    assert_eq!(orders(0, world.now + DAY), []);
}

#[test]
fn a_deleted_file_may_come_back() {
    let mut world = World::new();
    let anna = world.owner("anna");
    let bob = world.holder("bob", GIB);
    world.begin(&world.new_run(&anna, 1, 8 * MIB)).expect("run");
    world.store(&wish(&anna, 1, 1, MIB));
    let proof = removal(&anna, name(1), MIB, world.now);
    world
        .book
        .delete(&anna, &proof, world.now)
        .expect("deleted");
    let placed = world.place(&wish(&anna, 1, 1, MIB)).expect("place");
    assert!(matches!(placed[..], [Placed::At(holder, _)] if holder == bob.id));
    assert_eq!(
        world.book.orders(bob.id, 0, 64, world.now).expect("orders"),
        []
    );
    world.now += 1;
    world
        .book
        .has_copy(anna.id, name(1), bob.id, world.now)
        .expect("there");
    assert_eq!(world.names(&anna), [name(1)]);
    // The old proof is of a time before that.
    let deleted = world.book.delete(&anna, &proof, world.now);
    assert_eq!(refusal(deleted), Code::NotAllowed);
}

#[test]
fn a_file_without_a_live_copy_is_not_listed_and_its_owner_is_warned() {
    let mut world = World::new();
    let anna = world.owner("anna");
    let holders = [world.holder("bob", GIB), world.holder("carol", GIB)];
    let new = world.new_run(&anna, 1, 8 * MIB);
    world.begin(&new).expect("run");
    let two = Wish {
        factor: Some(factor(2)),
        ..wish(&anna, 1, 1, MIB)
    };
    let stored = world.store(&two);
    let lose = |world: &World, holder: UserId, reason| {
        let given_up = world
            .book
            .give_up(anna.id, name(1), (holder, reason), world.now);
        given_up.expect("given up");
    };
    lose(&world, stored[0], NotStored::Unreachable);
    assert_eq!(world.book.sources(anna.id, name(1)).expect("list").len(), 2);
    lose(&world, stored[0], NotStored::Corrupt);
    assert_eq!(
        world.book.sources(anna.id, name(1)).expect("list"),
        stored[1..]
    );
    assert_eq!(world.names(&anna), [name(1)]);
    lose(&world, stored[1], NotStored::Missing);
    lose(&world, stored[1], NotStored::Missing);
    assert_eq!((world.names(&anna).len(), world.used(&anna)), (0, 0));
    let warnings = world.book.warnings(anna.id).expect("warnings");
    let about = holders
        .iter()
        .find(|it| it.id == stored[1])
        .expect("holder");
    assert_eq!(warnings.len(), 1);
    assert_eq!(
        (&warnings[0].about, warnings[0].reason),
        (&about.name, Wrong::Missing)
    );
    assert_eq!((warnings[0].files, warnings[0].name), (1, Some(name(1))));
    world.book.unwarn(anna.id, Wrong::Missing).expect("over");
    assert_eq!(world.book.warnings(anna.id).expect("warnings"), []);
}

#[test]
fn files_are_listed_by_kind_and_there_is_one_configuration() {
    let mut world = World::new();
    let anna = world.owner("anna");
    world.holder("bob", 10 * GIB);
    world.begin(&world.new_run(&anna, 1, 8 * MIB)).expect("run");
    let kinds = [
        Kind::Data,
        Kind::Index,
        Kind::Snapshot,
        Kind::Snapshot,
        Kind::Config,
    ];
    for (number, kind) in (1..).zip(kinds) {
        world.now += 10;
        world.store(&Wish {
            kind,
            ..wish(&anna, 1, number, MIB)
        });
    }
    let list = |kinds| -> Vec<u8> {
        let files = world.book.files(anna.id, kinds, None, 100).expect("list");
        let count = world.book.count_files(anna.id, kinds).expect("count");
        assert_eq!(count, files.len() as u64);
        files.iter().map(|file| file.name.0[0]).collect()
    };
    assert_eq!(list(None), [2, 3, 4, 5]);
    assert_eq!(list(Some(Kinds::All)), [1, 2, 3, 4, 5]);
    assert_eq!(list(Some(Kinds::Only(Kind::Data))), [1]);
    assert_eq!(list(Some(Kinds::Only(Kind::Snapshot))), [3, 4]);
    assert_eq!(list(Some(Kinds::Only(Kind::Book))), Vec::<u8>::new());
    let page = world
        .book
        .files(anna.id, None, Some(name(3)), 1)
        .expect("list");
    assert_eq!(page[0].name, name(4));
    let newest = world
        .book
        .newest(anna.id, Kind::Snapshot)
        .expect("list")
        .expect("snapshot");
    assert_eq!((newest.name, newest.time), (name(4), world.now - 10));
    let second = Wish {
        kind: Kind::Config,
        ..wish(&anna, 1, 9, MIB)
    };
    assert_eq!(refusal(world.place(&second)), Code::NotMine);
    let book = Wish {
        kind: Kind::Book,
        ..wish(&anna, 1, 9, MIB + 1)
    };
    assert_eq!(
        refusal(world.place(&book)),
        Code::NoSpace,
        "a book has 1 MiB at most"
    );
}

#[test]
fn time_ends_runs_and_what_never_came() {
    let mut world = World::new();
    let anna = world.owner("anna");
    world.holder("bob", 10 * GIB);
    world.begin(&world.new_run(&anna, 1, 8 * MIB)).expect("run");
    world.store(&wish(&anna, 1, 1, MIB));
    world.place(&wish(&anna, 1, 2, MIB)).expect("place");
    let deleted = removal(&anna, name(1), MIB, world.now);
    world
        .book
        .delete(&anna, &deleted, world.now)
        .expect("deleted");
    let sweep = |world: &World| assert!(!world.book.sweep(world.now).expect("sweep"));
    world.now += 3599;
    sweep(&world);
    world
        .place(&wish(&anna, 1, 2, MIB))
        .expect("the run is still open");
    world.book.touch(run(1), world.now).expect("touch");
    world.now += 3600;
    sweep(&world);
    assert_eq!(
        refusal(world.place(&wish(&anna, 1, 2, MIB))),
        Code::NotAllowed
    );
    let space = world.book.space(anna.id).expect("space");
    assert_eq!((space.reserved, space.used), (0, MIB));
    world.now += DAY;
    sweep(&world);
    assert_eq!(world.used(&anna), 0);
    // A deleted name is known for seven days, and until its orders are done.
    world.now += 7 * DAY;
    sweep(&world);
    let again = |world: &World| world.book.delete(&anna, &deleted, world.now);
    again(&world).expect("still known");
    let bob = world
        .book
        .find_user(&user("bob"))
        .expect("search")
        .expect("bob")
        .id;
    let orders = world.book.orders(bob, 0, 64, world.now).expect("orders");
    let done = Some(Code::FileDeleted);
    world
        .book
        .answered(bob, orders[0].number, done, world.now)
        .expect("order");
    sweep(&world);
    assert_eq!(refusal(again(&world)), Code::NoSuchFile);
}
