//! Holders that go, come back, leave and lose files: what it adds up to.

use super::*;
use crate::hub::book::{Mark, Plan, Return, Uncounted};
use crate::hub::wire::NotStored;

/// Draws numbers, the same in each run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (self.0 >> 33) % end
    }
}

/// That all sums are those of the copies, and no file has a copy too many.
fn check(world: &World, step: usize) {
    let number = |text: &str| world.book.number(text, []).expect("number");
    let used = "SELECT count(*) FROM user WHERE used <>
                (SELECT coalesce(sum(f.size), 0) FROM copy c
                 JOIN file f ON f.owner = c.owner AND f.name = c.name
                 WHERE c.owner = user.id AND c.state IN (1, 2, 5, 6))";
    assert_eq!(number(used), 0, "step {step}: what is used");
    let held = "SELECT count(*) FROM holder WHERE held <>
                (SELECT coalesce(sum(f.size), 0) FROM copy c
                 JOIN file f ON f.owner = c.owner AND f.name = c.name
                 WHERE c.holder = user AND c.state <> 3)";
    assert_eq!(number(held), 0, "step {step}: what is held");
    let live = "SELECT count(*) FROM file f WHERE (state = 2) <> EXISTS
                (SELECT 1 FROM copy c WHERE c.owner = f.owner AND c.name = f.name
                 AND c.state IN (2, 4, 6)) AND state <> 3";
    assert_eq!(number(live), 0, "step {step}: what is live");
    let too_many = "SELECT count(*) FROM file f WHERE (SELECT count(*) FROM copy c
                    WHERE c.owner = f.owner AND c.name = f.name AND c.state = 2) > factor + 1";
    assert_eq!(number(too_many), 0, "step {step}: copies");
}

/// One step of what may happen to a file at a holder.
fn step(world: &mut World, chance: &mut Chance, holders: &[UserId], owner: &Account) {
    let holder = holders[usize::try_from(chance.below(6)).expect("number")];
    let file = name(u8::try_from(chance.below(12)).expect("number"));
    world.now += 100;
    let (book, now) = (&world.book, world.now);
    let online = &world.online;
    match chance.below(10) {
        0 => {
            world.online.remove(&holder);
            book.left(holder, now).expect("left");
            book.give_up_holder(holder, now).expect("gone");
        }
        1 | 2 => {
            book.is_back(holder, now).expect("back");
            world.online.insert(holder);
        }
        3 => {
            let reason = match chance.below(3) {
                0 => NotStored::Corrupt,
                1 => NotStored::Missing,
                _ => NotStored::Unreachable,
            };
            book.give_up(owner.id, file, (holder, reason), now)
                .expect("lost");
        }
        4 => {
            book.begin_return(holder, now, now).expect("return");
        }
        5 => {
            for bound in book.returns(holder, 3, now).expect("returns") {
                match book.return_from(&bound, None, online, now).expect("source") {
                    Return::From(_) if chance.below(2) == 0 => book.moved(&bound, now),
                    Return::From(_) => book.return_later(&bound, now),
                    Return::Later | Return::Lost => Ok(()),
                }
                .expect("returned");
            }
        }
        6 => {
            for copy in book.uncounted(holder, now).expect("uncounted") {
                let taken = book.take_back(&copy, online, now).expect("taken");
                if matches!(taken, Uncounted::Compare(_)) && chance.below(2) == 0 {
                    book.count_again(&copy, now).expect("counted");
                }
            }
        }
        7 => {
            book.leave(holder, chance.below(20) * MIB).expect("leaves");
            book.move_off(now).expect("moves");
        }
        _ => {
            for (owner, name) in book.to_heal(4, now).expect("heals") {
                let random = chance.below(1 << 30);
                let plan = book.plan(owner, name, (online, random), now).expect("plan");
                let Plan::Move(bound, ..) = plan else {
                    continue;
                };
                match chance.below(4) {
                    0 => book.not_moved(&bound, true, now),
                    1 => book.not_moved(&bound, false, now),
                    _ => book.moved(&bound, now),
                }
                .expect("moved");
            }
        }
    }
}

#[test]
fn whatever_becomes_of_holders_the_sums_are_those_of_the_copies() {
    for seed in 0..12 {
        let mut world = World::new();
        let mut chance = Chance(seed);
        let names = ["bob", "carol", "dave", "eve", "frank", "grace"];
        let holders: Vec<UserId> = names.iter().map(|it| world.holder(it, GIB).id).collect();
        let anna = world.owner("anna");
        world
            .begin(&world.new_run(&anna, 1, 64 * MIB))
            .expect("run");
        for number in 0..12 {
            let wish = Wish {
                factor: Some(factor(1 + number % 3)),
                ..wish(&anna, 1, number, MIB * (1 + u64::from(number)))
            };
            world.store(&wish);
        }
        world.book.finish(run(1), anna.id).expect("end");
        for number in 0..300 {
            step(&mut world, &mut chance, &holders, &anna);
            check(&world, number);
        }
        // With all of them there, everything comes to rest.
        for holder in &holders {
            world.book.is_back(*holder, world.now).expect("back");
            world.book.leave(*holder, GIB).expect("stays");
            world.shares(*holder, GIB).expect("share");
            world.online.insert(*holder);
        }
        for _ in 0..200 {
            world.now += 3600;
            let (book, now) = (&world.book, world.now);
            book.note_online(&world.online, now).expect("online");
            for holder in &holders {
                for bound in book.returns(*holder, 99, now).expect("returns") {
                    let from = book.return_from(&bound, None, &world.online, now);
                    if let Return::From(_) = from.expect("source") {
                        book.moved(&bound, now).expect("returned");
                    }
                }
                for copy in book.uncounted(*holder, now).expect("uncounted") {
                    let taken = book.take_back(&copy, &world.online, now);
                    if let Uncounted::Compare(_) = taken.expect("taken") {
                        book.count_again(&copy, now).expect("counted");
                    }
                }
            }
            for (owner, name) in book.to_heal(99, now).expect("heals") {
                let plan = book.plan(owner, name, (&world.online, 7), now);
                if let Plan::Move(bound, ..) = plan.expect("plan") {
                    book.moved(&bound, now).expect("moved");
                }
            }
        }
        check(&world, 300);
        let number = |text: &str| world.book.number(text, []).expect("number");
        assert_eq!(number("SELECT count(*) FROM heal"), 0, "seed {seed}");
        let astray = "SELECT count(*) FROM copy WHERE state > 3";
        assert_eq!(number(astray), 0, "seed {seed}");
        let below = "SELECT count(*) FROM file f WHERE state = 2 AND (SELECT count(*)
                     FROM copy c WHERE c.owner = f.owner AND c.name = f.name AND c.state = 2)
                     < factor";
        assert_eq!(number(below), 0, "seed {seed}: copies below the factor");
    }
}

#[test]
fn nobody_is_away_while_the_hub_is() {
    let mut world = World::new();
    let bob = world.holder("bob", GIB);
    let absent = |world: &World| {
        let online = Online::new();
        let terms = (3 * DAY, 7 * DAY);
        world
            .book
            .note_absent(&online, terms, world.now)
            .expect("absent")
            .1
    };
    world.book.note_time(world.now).expect("time");
    world.book.left(bob.id, world.now).expect("left");
    world.now += 30 * DAY;
    world = world.again();
    world.book.resume(world.now).expect("resumed");
    world.book.note_time(world.now).expect("time");
    assert!(absent(&world).is_empty());
    world.now += 7 * DAY;
    assert_eq!(absent(&world), [bob.id]);
    assert!(absent(&world).is_empty(), "once");
    // Who was online when the hub was killed is away from its new start on.
    world.book.is_back(bob.id, world.now).expect("back");
    world.now += 30 * DAY;
    world.book.note_time(world.now).expect("time");
    world = world.again();
    world.book.resume(world.now).expect("resumed");
    assert!(absent(&world).is_empty());
}

#[test]
fn a_hub_that_was_down_for_days_gives_files_to_those_who_were_online_until_then() {
    let mut world = World::new();
    let anna = world.owner("anna");
    let (bob, carol, dan) = (
        world.holder("bob", GIB),
        world.holder("carol", GIB),
        world.holder("dan", GIB),
    );
    for holder in [&bob, &carol, &dan] {
        world.book.is_back(holder.id, world.now).expect("online");
    }
    // Dan leaves hours before the hub is stopped, which bob's line does not outlive.
    world.book.left(dan.id, world.now).expect("left");
    world.now += 2 * 3600;
    world.book.note_time(world.now - 60).expect("time");
    world.book.left(bob.id, world.now).expect("left");
    world.now += 10 * DAY;
    world = world.again();
    world.book.resume(world.now).expect("resumed");
    let all = world.book.candidates(anna.id, &world.online, world.now);
    let all = all.expect("candidates").into_iter();
    let good: Vec<UserId> = all.filter(|it| it.is_good).map(|it| it.holder).collect();
    assert_eq!(good, [bob.id, carol.id]);
}

#[test]
fn a_holder_is_believed_more_each_week_and_less_after_two_failures() {
    let mut world = World::new();
    let bob = world.holder("bob", 200 * GIB);
    let proved = |world: &World| world.book.space(bob.id).expect("space").proved;
    assert_eq!(proved(&world), 16 * GIB);
    let mark = |world: &World, mark, number| {
        let marked = world.book.mark(bob.id, mark, name(number), world.now);
        marked.expect("mark")
    };
    for (weeks, mark_now, expected) in [
        (0, Mark::Pass, 16),
        (1, Mark::Pass, 32),
        (1, Mark::Half, 32),
        (0, Mark::Pass, 32),
        (1, Mark::Pass, 64),
        (1, Mark::Pass, 128),
        (1, Mark::Pass, 200),
    ] {
        world.now += weeks * 7 * DAY;
        assert!(!mark(&world, mark_now, 1));
        assert_eq!(proved(&world), expected * GIB);
    }
    assert!(!mark(&world, Mark::Fail, 1));
    assert!(!mark(&world, Mark::Fail, 1), "the same file");
    assert!(mark(&world, Mark::Fail, 2));
    world.book.is_back(bob.id, world.now).expect("back");
    let anna = world.owner("anna");
    let among = |world: &World| {
        let all = world.book.candidates(anna.id, &world.online, world.now);
        all.expect("candidates").len()
    };
    assert_eq!(among(&world), 0);
    for _ in 0..50 {
        mark(&world, Mark::Pass, 1);
    }
    assert_eq!(among(&world), 1);
}
