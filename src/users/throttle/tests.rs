use std::os::unix::fs::FileExt;

use super::shared::{Failures, LoginState};
use super::*;

const LIMITS: Limits = Limits {
    failures: 3,
    block: Duration::from_secs(60),
};

fn address(text: &str) -> IpAddr {
    text.parse().expect("address")
}

/// How long a failure blocks.
fn fail(throttle: &mut Throttle, from: IpAddr, name: &str, now: u64) -> Option<u64> {
    let failed = throttle.failed(from, name, now);
    failed.expect("noted").map(|block| block.seconds)
}

#[test]
fn the_third_failure_blocks_and_each_further_one_twice_as_long() {
    let mut throttle = Throttle::new(LIMITS, None);
    let from = address("192.0.2.1");
    let mut failed = |now| fail(&mut throttle, from, "ann", now);
    assert_eq!(
        (failed(100), failed(101), failed(102)),
        (None, None, Some(60))
    );
    assert_eq!((failed(170), failed(300)), (Some(120), Some(240)));
    assert_eq!(throttle.login_blocked("ann", from, 301), Some(239));
    let other = address("192.0.2.2");
    assert_eq!(throttle.login_blocked("ann", other, 301), None);
    assert_eq!(throttle.login_blocked("bob", from, 301), None);
    assert_eq!(throttle.address_blocked(from, 301), None);
    assert_eq!(throttle.login_blocked("ann", from, 540), None);
}

#[test]
fn one_account_never_blocks_its_address_and_guesses_at_many_names_do() {
    let mut throttle = Throttle::new(LIMITS, None);
    let from = address("192.0.2.1");
    // A program with an old password goes on for a day.
    for n in 0..30 {
        fail(&mut throttle, from, "ann", 100 + n * 3000);
    }
    let now = 100 + 30 * 3000;
    assert_eq!(throttle.address_blocked(from, now), None);
    let guesser = address("192.0.2.2");
    for n in 0..15 {
        assert_eq!(throttle.address_blocked(guesser, now), None, "{n}");
        let blocked = fail(&mut throttle, guesser, &format!("name{n}"), now);
        assert_eq!(blocked, (n == 14).then_some(60));
    }
    assert_eq!(throttle.address_blocked(guesser, now), Some(60));
    // Nor does a login of its own let a guesser go on at other accounts.
    let insider = address("192.0.2.3");
    for n in 0..5 {
        assert_eq!(throttle.address_blocked(insider, now), None, "{n}");
        for _ in 0..3 {
            fail(&mut throttle, insider, &format!("user{n}"), now);
            let own = throttle.succeeded(insider, "mallory", now);
            own.expect("noted");
        }
    }
    assert_eq!(throttle.address_blocked(insider, now), Some(60));
}

#[test]
fn a_login_takes_the_failures_of_its_account_off_the_address() {
    let mut throttle = Throttle::new(LIMITS, None);
    let office = address("192.0.2.1");
    for n in 0..100 {
        let name = format!("user{n}");
        for _ in 0..2 {
            assert_eq!(fail(&mut throttle, office, &name, 100 + n), None);
        }
        let login = throttle.succeeded(office, &name, 100 + n);
        login.expect("noted");
    }
    assert_eq!(throttle.address_blocked(office, 200), None);
}

#[test]
fn operators_see_lift_and_add_blocks_in_a_running_throttle() {
    let file = tempfile::tempfile().expect("file");
    let open = || Throttle::new(LIMITS, Some(file.try_clone().expect("file")));
    let (mut running, mut other) = (open(), open());
    let (from, elsewhere) = (address("192.0.2.1"), address("2001:db8::1"));
    for now in 1..=3 {
        fail(&mut running, from, "ann", now);
        fail(&mut other, elsewhere, "bob", now);
    }
    let shown = |throttle: &mut Throttle| {
        let all = throttle.all(4).into_iter();
        all.map(|one| (one.account.unwrap_or_default(), one.failures, one.until))
            .collect::<Vec<_>>()
    };
    let both = [
        ("ann".to_owned(), Some(3), 63),
        ("bob".to_owned(), Some(3), 63),
    ];
    assert_eq!(shown(&mut other), both);
    assert_eq!(shown(&mut running), both);
    let ann = Target::of("ann");
    assert_eq!(other.free(&ann, 4).expect("written"), 1);
    assert_eq!(running.login_blocked("ann", from, 4), None);
    assert_eq!(other.free(&ann, 4).expect("written"), 0);
    assert_eq!(
        other.free(&Target::of("2001:db8::9"), 4).expect("written"),
        1
    );
    assert_eq!(running.login_blocked("bob", elsewhere, 4), None);
    // A bar holds everywhere, and its end is never brought forward.
    other.bar(ann.clone(), Some(100)).expect("written");
    other.bar(ann.clone(), Some(50)).expect("written");
    assert_eq!(running.barred("ann", elsewhere, 4), Some(100));
    assert_eq!(running.barred("ann", elsewhere, 100), None);
    assert_eq!(running.barred("bob", elsewhere, 4), None);
    other.bar(ann.clone(), Some(FOR_GOOD)).expect("written");
    assert_eq!(other.free(&ann, 4).expect("written"), 0, "it is locked");
    assert_eq!(open().barred("ann", from, 4), Some(FOR_GOOD));
    running.forget_bars_for_good().expect("written");
    assert_eq!(other.barred("ann", from, 4), None);
    let network = Target::of("192.0.2.1");
    other.bar(network.clone(), Some(90)).expect("written");
    assert_eq!(running.barred("bob", from, 4), Some(90));
    other.bar(network, None).expect("written");
    assert_eq!(running.barred("bob", from, 4), None);
}

#[test]
fn failures_from_everywhere_delay_strangers_and_block_nobody() {
    let mut throttle = Throttle::new(LIMITS, None);
    let (home, new) = (address("2001:db8::1"), address("198.51.100.1"));
    throttle.succeeded(home, "ann", 1).expect("noted");
    for n in 0..10 {
        assert_eq!(throttle.is_delayed("ann", new, 2), n >= 3);
        let from = IpAddr::V4((0xC000_0200 + n).into());
        assert_eq!(throttle.failed(from, "ann", 2).expect("noted"), None);
    }
    assert!(!throttle.is_delayed("ann", home, 3) && !throttle.is_delayed("bob", new, 3));
    for from in [home, new] {
        assert_eq!(throttle.login_blocked("ann", from, 3), None);
    }
    // What is behind the same network of 64 bits as its owner is known, too.
    assert!(throttle.knows("ann", address("2001:db8::2")) && !throttle.knows("ann", new));
    assert!(!throttle.is_delayed("ann", new, 4000), "an hour of quiet");
    // The owner's own failures are no reason to delay strangers.
    for now in [5000, 5001, 5002] {
        throttle.failed(home, "ann", now).expect("noted");
    }
    assert!(!throttle.is_delayed("ann", new, 5003));
    assert!(throttle.login_blocked("ann", home, 5003).is_some());
}

#[test]
fn a_clock_that_is_set_back_makes_no_block_longer() {
    let mut throttle = Throttle::new(LIMITS, None);
    let from = address("192.0.2.1");
    for now in [90_000, 90_001, 90_002] {
        fail(&mut throttle, from, "ann", now);
    }
    assert_eq!(throttle.login_blocked("ann", from, 3600), Some(60));
    assert_eq!(throttle.login_blocked("ann", from, 3602), Some(58));
    assert_eq!(fail(&mut throttle, from, "ann", 3602), Some(120));
    assert_eq!(throttle.login_blocked("ann", from, 3612), Some(110));
}

#[test]
fn a_login_or_an_hour_of_quiet_forgets() {
    let mut throttle = Throttle::new(LIMITS, None);
    let from = address("2001:db8::1");
    let neighbour = address("2001:db8::2");
    let fail = |throttle: &mut Throttle, now| fail(throttle, from, "ann", now);
    for now in [1, 2] {
        fail(&mut throttle, now);
    }
    throttle.succeeded(neighbour, "ann", 2).expect("noted");
    assert_eq!(fail(&mut throttle, 3), None);
    assert_eq!(fail(&mut throttle, 4), None);
    assert_eq!(fail(&mut throttle, 4000), None);
}

#[test]
fn a_login_to_another_account_forgets_no_failure_at_this_one() {
    let mut throttle = Throttle::new(LIMITS, None);
    let from = address("192.0.2.1");
    for now in [1, 2, 3] {
        throttle.failed(from, "ann", now).expect("noted");
        throttle.succeeded(from, "mallory", now).expect("noted");
    }
    assert_eq!(throttle.login_blocked("ann", from, 4), Some(59));
    assert_eq!(throttle.address_blocked(from, 4), None);
}

#[test]
fn a_restart_frees_nobody_and_rubbish_in_the_file_is_passed_over() {
    let file = tempfile::tempfile().expect("file");
    let mut throttle = Throttle::new(LIMITS, Some(file.try_clone().expect("file")));
    let (from, home) = (address("192.0.2.1"), address("2001:db8::1"));
    throttle.succeeded(home, "ann", 1).expect("noted");
    for now in [1, 2, 3] {
        throttle.failed(from, "ann", now).expect("noted");
    }
    // Without its first line, all that can be read of it counts.
    file.write_all_at(b"rubbish", 0).expect("write");
    let len = file.metadata().expect("stat").len();
    file.write_all_at(
        b"address x 1\nrubbish\naccount ann 9 9 9\nlogin ann 1.1.1.1 1",
        len,
    )
    .expect("write");
    let reopened = |file: &File| {
        use std::io::Seek;
        let mut file = file.try_clone().expect("file");
        file.rewind().expect("rewind");
        Throttle::new(LIMITS, Some(file))
    };
    let mut again = reopened(&file);
    assert_eq!(again.login_blocked("ann", from, 4), Some(59));
    assert!(again.knows("ann", home) && !again.knows("ann", from));
    again.succeeded(from, "ann", 5).expect("noted");
    let mut again = reopened(&file);
    assert_eq!(again.login_blocked("ann", from, 5), None);
    assert!(again.knows("ann", from));
}

#[test]
fn a_write_that_stops_anywhere_leaves_the_old_state() {
    let file = tempfile::tempfile().expect("file");
    let mut throttle = Throttle::new(LIMITS, Some(file.try_clone().expect("file")));
    let bytes = || {
        let len = file.metadata().expect("stat").len();
        let mut bytes = vec![0; usize::try_from(len).expect("a length")];
        file.read_exact_at(&mut bytes, 0).expect("read");
        bytes
    };
    let mut longest = 0;
    for n in 0..40 {
        let before = bytes();
        let old = blocks_in(&before, 1);
        // Every third time it becomes shorter.
        match n % 3 {
            2 => drop(throttle.free(&Target::of(&format!("user{}", n - 1)), 1)),
            _ => drop(throttle.bar(Target::of(&format!("user{n}")), Some(100 + n))),
        }
        let after = bytes();
        assert_ne!(blocks_in(&after, 1), old);
        longest = longest.max(after.len());
        for end in 0..=after.len() {
            // Lines are written in their order, and the first line behind them.
            let mut half = before.clone();
            half.resize(half.len().max(end), 0);
            let written = book::FIRST_LINE.min(end)..end;
            half[written.clone()].copy_from_slice(&after[written]);
            assert_eq!(blocks_in(&half, 1), old, "{n}, {end}");
        }
    }
    assert!(longest < 2048, "{longest}");
}

#[test]
fn the_memory_is_bounded() {
    let mut throttle = Throttle::new(LIMITS, None);
    for n in 0..10_000_u32 {
        let from = IpAddr::V4(std::net::Ipv4Addr::from(n));
        let name = format!("user{n}");
        throttle.failed(from, &name, 1).expect("noted");
    }
    for n in 0..u32::try_from(MOST).expect("number") {
        let pair = ("ann".to_owned(), IpAddr::V4(n.into()));
        throttle.state.known.insert(pair, n.into());
    }
    let last = address("192.0.2.1");
    throttle.succeeded(last, "ann", 1 << 20).expect("noted");
    let State { records, known, .. } = &throttle.state;
    assert!(records.len() <= MOST && known.len() <= MOST);
    assert!(throttle.knows("ann", last) && !throttle.knows("ann", address("0.0.0.0")));
}

#[test]
fn a_block_of_other_servers_is_kept_apart_and_lasts_over_a_restart() {
    let file = tempfile::tempfile().expect("file");
    let open = || Throttle::new(LIMITS, Some(file.try_clone().expect("file")));
    let (from, now) = (address("192.0.2.1"), 1000);
    let shared = LoginState {
        source: Failures {
            count: 15,
            left: 500,
        },
        ..LoginState::default()
    };
    let mut throttle = open();
    throttle.learn(from, "ann", &shared, now).expect("noted");
    for mut throttle in [throttle, open()] {
        assert_eq!(throttle.address_blocked(from, now), None);
        assert_eq!(throttle.address_blocked_elsewhere(from, now), Some(500));
    }
    let mut throttle = open();
    for n in 0..15 {
        fail(&mut throttle, from, &format!("name{n}"), now);
    }
    assert_eq!(throttle.address_blocked(from, now), Some(60));
    let all = throttle.all(now);
    let ends: Vec<_> = all.iter().map(|of| (of.address, of.until)).collect();
    assert_eq!(ends, [(Some(from), 1500)], "one line for an operator");
    throttle.free(&Target::Address(from), now).expect("noted");
    assert_eq!(throttle.address_blocked_elsewhere(from, now), None);
}
