//! Users, runs and where copies go.

use super::*;
use crate::hub::wire::NotStored;

#[test]
fn a_user_keeps_its_number_and_its_keys() {
    let world = World::new();
    let anna = world.owner("anna");
    assert_eq!(world.owner("anna"), anna);
    assert_ne!(world.owner("bob").id, anna.id);
    let other = key(&user("eve"), Role::Owner);
    let book = &world.book;
    assert_eq!(
        refusal(book.learn_key(anna.id, Role::Owner, other)),
        Code::NotAllowed
    );
    let carol = book
        .enter(&user("carol"), &Settings::default(), world.now)
        .expect("user");
    let learned = book.learn_key(carol.id, Role::Holder, other);
    assert_eq!(
        refusal(learned),
        Code::NotAllowed,
        "the identity key comes first"
    );
    assert_eq!(book.find_user(&user("nobody")).expect("search"), None);
    assert_eq!(world.again().owner("anna"), anna);
}

#[test]
fn a_run_reserves_each_copy_and_its_end_frees_what_is_left() {
    let mut world = World::new();
    let anna = world.owner("anna");
    world.holder("bob", 10 * GIB);
    world.holder("carol", 10 * GIB);
    let left = |world: &World| world.book.space(anna.id).expect("space").left;
    assert_eq!(left(&world), 1_073_741_824);
    let new = NewRun {
        factor: factor(2),
        ..world.new_run(&anna, 1, 16_777_216)
    };
    assert_eq!(world.begin(&new).expect("run"), 0);
    let space = world.book.space(anna.id).expect("space");
    assert_eq!((space.left, space.reserved), (1_040_187_392, 33_554_432));
    assert_eq!((space.used, space.share, space.proved), (0, 0, 0));
    // What is placed moves from the reserve to what is used.
    let asked = Wish {
        factor: None,
        ..wish(&anna, 1, 1, MIB)
    };
    assert_eq!(world.store(&asked).len(), 2);
    let space = world.book.space(anna.id).expect("space");
    assert_eq!((space.left, space.used), (1_040_187_392, 2 * MIB));
    world.book.finish(run(1), anna.id).expect("end");
    assert_eq!(left(&world), GIB - 2 * MIB);
    assert_eq!(
        refusal(world.place(&wish(&anna, 1, 2, 1))),
        Code::NotAllowed
    );
}

#[test]
fn a_run_needs_space_holders_and_no_prune_beside_it() {
    let mut world = World::new();
    let (anna, eve) = (world.owner("anna"), world.owner("eve"));
    let new = world.new_run(&anna, 1, MIB);
    assert_eq!(refusal(world.begin(&new)), Code::NoHolder);
    world.holder("bob", 10 * GIB);
    assert_eq!(
        refusal(world.begin(&world.new_run(&anna, 1, GIB + 1))),
        Code::NoSpace
    );
    assert_eq!(
        refusal(world.begin(&world.new_run(&anna, 1, 1 << 51))),
        Code::NoSpace
    );
    let two = NewRun {
        factor: factor(2),
        ..new
    };
    assert_eq!(refusal(world.begin(&two)), Code::NoHolder);
    let prune = |number| NewRun {
        is_exclusive: true,
        ..world.new_run(&anna, number, 0)
    };
    assert_eq!(world.begin(&prune(9)).expect("prune"), 0);
    assert_eq!(refusal(world.begin(&new)), Code::Later);
    assert_eq!(world.begin(&prune(9)).expect("the same"), 0);
    world.book.finish(run(9), anna.id).expect("end");
    for number in 1..=8 {
        let others = world
            .begin(&world.new_run(&anna, number, MIB))
            .expect("run");
        assert_eq!(others, u64::from(number) - 1);
    }
    assert_eq!(
        refusal(world.begin(&world.new_run(&anna, 10, MIB))),
        Code::Later
    );
    assert_eq!(refusal(world.begin(&prune(9))), Code::Later);
    // Its own run again, and that of another owner.
    assert_eq!(world.begin(&new).expect("the same"), 7);
    let stolen = NewRun {
        owner: eve.id,
        ..new
    };
    assert_eq!(refusal(world.begin(&stolen)), Code::NotAllowed);
    assert_eq!(world.book.space(anna.id).expect("space").reserved, 8 * MIB);
}

#[test]
fn a_copy_counts_once_its_holder_has_signed_for_it() {
    let mut world = World::new();
    let anna = world.owner("anna");
    let bob = world.holder("bob", 10 * GIB);
    let carol = world.holder("carol", 1);
    world
        .begin(&world.new_run(&anna, 1, 10 * MIB))
        .expect("run");
    let asked = wish(&anna, 1, 7, MIB);
    let placed = world.place(&asked).expect("place");
    let number = placed[0];
    assert!(
        matches!(number, Placed::At(holder, _) if holder == bob.id),
        "{number:?}"
    );
    assert_eq!(world.place(&asked).expect("place"), placed, "asked again");
    assert_eq!(world.names(&anna), []);
    assert_eq!(refusal(world.book.finish(run(1), anna.id)), Code::NoHolder);
    let good = receipt(&bob, &anna, name(7), MIB);
    let stored = |holder: &Account, receipt: &Signature, of: Name| {
        world
            .book
            .stored(&anna, of, &holder.name, receipt, world.now)
    };
    for (holder, receipt, of) in [
        (&bob, receipt(&bob, &anna, name(7), MIB + 1), name(7)),
        (&bob, receipt(&carol, &anna, name(7), MIB), name(7)),
        (&carol, receipt(&carol, &anna, name(7), MIB), name(7)),
        (&bob, good, name(8)),
        (&anna, good, name(7)),
    ] {
        assert_eq!(refusal(stored(holder, &receipt, of)), Code::NoSuchFile);
    }
    let counted = stored(&bob, &good, name(7)).expect("stored");
    assert!(counted.is_new && counted.is_complete);
    let counted = stored(&bob, &good, name(7)).expect("stored");
    assert!(!counted.is_new && counted.is_complete, "shown again");
    assert_eq!(world.names(&anna), [name(7)]);
    assert_eq!(world.place(&asked).expect("place"), [Placed::There(bob.id)]);
    let other = wish(&anna, 1, 7, MIB + 1);
    assert_eq!(refusal(world.place(&other)), Code::NotMine);
    world.book.finish(run(1), anna.id).expect("end");
    let world = world.again();
    assert_eq!(world.names(&anna), [name(7)]);
    assert_eq!(
        world.book.sources(anna.id, name(7)).expect("list"),
        [bob.id]
    );
    assert!(world.book.keeps_for(bob.id, anna.id).expect("search"));
    assert!(!world.book.keeps_for(carol.id, anna.id).expect("search"));
}

#[test]
fn a_copy_that_a_holder_reports_counts_if_it_was_asked_for() {
    let mut world = World::new();
    let anna = world.owner("anna");
    let bob = world.holder("bob", 10 * GIB);
    world.begin(&world.new_run(&anna, 1, MIB)).expect("run");
    world.place(&wish(&anna, 1, 7, MIB)).expect("place");
    world.book.abort(run(1), anna.id).expect("abort");
    world.book.abort(run(1), anna.id).expect("abort again");
    let reported = |name| world.book.has_copy(anna.id, name, bob.id, world.now);
    assert_eq!(refusal(reported(name(8))), Code::NoSuchFile);
    assert!(reported(name(7)).expect("counted").is_new);
    assert!(!reported(name(7)).expect("counted").is_new);
    assert_eq!(world.names(&anna), [name(7)]);
}

#[test]
fn a_file_that_is_not_stored_goes_to_the_next_holder() {
    let mut world = World::new();
    let anna = world.owner("anna");
    let bob = world.holder("bob", 10 * GIB);
    let carol = world.holder("carol", 10 * GIB);
    world.begin(&world.new_run(&anna, 1, MIB)).expect("run");
    let asked = wish(&anna, 1, 7, MIB);
    let [Placed::At(first, number)] = world.place(&asked).expect("place")[..] else {
        panic!("one copy");
    };
    let second = if first == bob.id { carol.id } else { bob.id };
    let missed = |world: &World, holder, now| {
        let reason = (holder, NotStored::Unreachable);
        world.book.not_stored(&asked, reason, &world.online, 0, now)
    };
    let next = missed(&world, first, world.now).expect("next");
    assert_eq!(next, Placed::At(second, number));
    assert_eq!(missed(&world, first, world.now).expect("again"), next);
    assert_eq!(world.used(&anna), MIB);
    let last = missed(&world, second, world.now).expect("none");
    assert_eq!(last, Placed::Nowhere);
    assert_eq!((world.used(&anna), world.names(&anna).len()), (0, 0));
    let space = world.book.space(anna.id).expect("space");
    assert_eq!(space.reserved, MIB, "it is reserved again");
    assert_eq!(world.place(&asked).expect("none"), [Placed::Nowhere]);
    // After ten minutes they are asked again.
    world.now += 601;
    assert!(matches!(
        world.place(&asked).expect("place")[..],
        [Placed::At(..)]
    ));
}

#[test]
fn a_holder_that_goes_offline_gives_its_place_to_another() {
    let mut world = World::new();
    let anna = world.owner("anna");
    let bob = world.holder("bob", 10 * GIB);
    // Nothing beyond the run's own space is left.
    let new = world.new_run(&anna, 1, GIB);
    world.begin(&new).expect("run");
    let asked = wish(&anna, 1, 7, 64 * MIB);
    world.place(&asked).expect("place");
    world.online.remove(&bob.id);
    assert_eq!(world.place(&asked).expect("none"), [Placed::Nowhere]);
    let carol = world.holder("carol", 10 * GIB);
    let placed = world.place(&asked).expect("place");
    assert!(matches!(placed[..], [Placed::At(holder, _)] if holder == carol.id));
}

#[test]
fn no_copy_goes_to_ones_own_pool_and_no_two_to_one_holder() {
    let mut world = World::new();
    let anna = world.holder("anna", 100 * GIB);
    let attic = world.holder("attic", 100 * GIB);
    let settings = Settings {
        pool: Some(anna.name.clone()),
        ..Settings::default()
    };
    let entered = world.book.enter(&attic.name, &settings, world.now);
    assert_eq!(entered.expect("user").id, attic.id);
    // Shares are summed; untested ones count for 16 GiB each, and free space once.
    assert_eq!(world.book.space(attic.id).expect("space").left, 33 * GIB);
    assert_eq!(
        refusal(world.begin(&world.new_run(&anna, 1, MIB))),
        Code::NoHolder
    );
    let bob = world.holder("bob", 10 * GIB);
    let new = world.new_run(&anna, 1, 16 * MIB);
    world.begin(&new).expect("run");
    let two = Wish {
        factor: Some(factor(2)),
        ..wish(&anna, 1, 1, MIB)
    };
    let placed = world.place(&two).expect("place");
    assert!(matches!(placed[..], [Placed::At(holder, _), Placed::Nowhere] if holder == bob.id));
}

#[test]
fn a_quota_caps_what_a_share_gives() {
    let mut world = World::new();
    let anna = world.holder("anna", 100 * GIB);
    let settings = Settings {
        quota: Some(3 * GIB),
        ..Settings::default()
    };
    world
        .book
        .enter(&anna.name, &settings, world.now)
        .expect("user");
    assert_eq!(world.book.space(anna.id).expect("space").left, 3 * GIB);
}

#[test]
fn a_holder_that_is_seldom_online_gets_nothing() {
    let mut world = World::new();
    let anna = world.owner("anna");
    let bob = world.holder("bob", GIB);
    let begin = |world: &World, number| world.begin(&world.new_run(&anna, number, 1));
    begin(&world, 1).expect("on its first day");
    world.now += 10 * DAY;
    assert_eq!(refusal(begin(&world, 2)), Code::NoHolder);
    let stay = |world: &mut World, days: i64| {
        for _ in 0..days * 24 {
            world.now += 3600;
            world
                .book
                .note_online(&world.online, world.now)
                .expect("noted");
        }
    };
    stay(&mut world, 4);
    assert_eq!(refusal(begin(&world, 2)), Code::NoHolder, "4 days of 14");
    stay(&mut world, 1);
    begin(&world, 2).expect("5 days of 15");
    world.online.remove(&bob.id);
    assert_eq!(refusal(begin(&world, 3)), Code::NoHolder);
}

#[test]
fn a_change_is_whole_and_the_clock_does_not_go_back() {
    let world = World::new();
    let failed = world.book.whole(|book| {
        book.enter(&user("anna"), &Settings::default(), world.now)?;
        Err::<(), _>(rusqlite::Error::InvalidQuery.into())
    });
    assert!(matches!(failed, Err(Trouble::Sql(_))));
    assert_eq!(world.book.find_user(&user("anna")).expect("search"), None);
    let entered = world
        .book
        .whole(|book| book.enter(&user("anna"), &Settings::default(), 1));
    entered.expect("user");
    assert!(
        world
            .book
            .find_user(&user("anna"))
            .expect("search")
            .is_some()
    );
    let noted = |time| world.book.note_time(time).expect("time");
    assert!(noted(world.now + 100));
    assert!(noted(world.now + 40));
    assert!(!noted(world.now + 39));
}

#[test]
fn a_database_of_another_hub_is_not_opened() {
    let world = World::new();
    let file = world.dir.path().join("hub.db");
    let mut other = rules();
    other.hub = Label::read("other.example.org").expect("name");
    Book::open(&file, other, world.now).expect_err("another hub");
    Book::open(&file, rules(), world.now).expect("the same");
}
