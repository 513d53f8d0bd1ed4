//! Tests of the pool as a whole, with fake servers that are functions.

use crate::tf::pool::*;

fn at(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn server(last: u8, priority: u16) -> Server {
    Server {
        address: ([192, 0, 2, last], 1).into(),
        weight: 1,
        priority,
    }
}

fn pool(count: u8) -> Balancer {
    let mut balancer = Balancer::default();
    balancer.replace((1..=count).map(|n| server(n, 0)), at(0.0));
    balancer
}

/// Asks all that are due; those with an answer give it at once.
fn round(balancer: &mut Balancer, now: f64, answer: impl Fn(u8, &[u8]) -> Option<Vec<u8>>) {
    let mut nonce = 0;
    let probes = balancer.due(at(now), || {
        nonce += 1;
        nonce
    });
    for probe in probes {
        let std::net::IpAddr::V4(ip) = probe.address.ip() else {
            panic!("{probe:?}")
        };
        if let Some(bytes) = answer(ip.octets()[3], &probe.question) {
            assert!(balancer.answered(probe.address, &bytes, at(now)));
        }
    }
}

fn chosen(balancer: &mut Balancer, now: f64, count: usize) -> Vec<u8> {
    let last = |server: Server| {
        server
            .tuple()
            .split(['.', ';'])
            .nth(3)
            .and_then(|n| n.parse().ok())
    };
    let choose = |_| balancer.choose(at(now)).and_then(last).unwrap_or(0);
    (0..count).map(choose).collect()
}

#[test]
fn an_empty_pool_has_none() {
    let mut balancer = Balancer::default();
    assert_eq!(
        (balancer.choose(at(0.0)), balancer.wait(at(0.0))),
        (None, None)
    );
    assert!(balancer.due(at(0.0), || 1).is_empty());
}

#[test]
fn public_servers_come_line_after_line_and_dead_ones_do_not() {
    let mut balancer = pool(3);
    assert_eq!(
        chosen(&mut balancer, 0.0, 4),
        [1, 2, 3, 1],
        "none is known yet"
    );
    let plain = |n: u8, _: &[u8]| (n != 2).then(|| vec![1]);
    for tenth in 0..80 {
        round(&mut balancer, f64::from(tenth) / 10.0, plain);
    }
    let states: Vec<_> = balancer
        .summary()
        .iter()
        .map(|summary| summary.state)
        .collect();
    assert_eq!(states, [State::Alive, State::Dead, State::Alive]);
    let mut next = chosen(&mut balancer, 8.0, 4);
    next.sort_unstable();
    assert_eq!(next, [1, 1, 3, 3]);
    for tenth in 80..160 {
        round(&mut balancer, f64::from(tenth) / 10.0, |_, _| None);
    }
    assert_eq!(balancer.choose(at(16.0)), None, "52 when none is alive");
}

#[test]
fn unknown_servers_are_not_handed_out_after_the_first_round() {
    let mut balancer = pool(2);
    round(&mut balancer, 0.0, |_, _| None);
    assert!(balancer.choose(at(0.9)).is_some());
    assert_eq!(balancer.choose(at(1.0)), None);
    let mut balancer = pool(2);
    round(&mut balancer, 0.0, |n, _| (n == 2).then(|| vec![1]));
    assert_eq!(chosen(&mut balancer, 0.1, 3), [2, 2, 2], "one is known");
}

#[test]
fn a_draining_server_gets_nobody() {
    let mut balancer = pool(2);
    let answer = |n: u8, question: &[u8]| Some(probe::answer(question, Load::default(), n == 1));
    round(&mut balancer, 0.0, answer);
    assert_eq!(chosen(&mut balancer, 0.5, 2), [2, 2]);
    assert_eq!(balancer.summary()[0].state, State::Draining);
}

#[test]
fn a_burst_spreads_until_the_next_report() {
    let mut balancer = pool(2);
    let answer = |n: u8, question: &[u8]| {
        let load = Load {
            sessions: if n == 1 { 10 } else { 6 },
            most: 100,
        };
        Some(probe::answer(question, load, false))
    };
    round(&mut balancer, 0.0, answer);
    let burst = chosen(&mut balancer, 0.1, 10);
    assert_eq!(burst[..4], [2; 4]);
    assert_eq!(burst.iter().filter(|n| **n == 1).count(), 3, "{burst:?}");
    round(&mut balancer, 1.5, answer);
    assert_eq!(chosen(&mut balancer, 1.6, 4), [2; 4]);
}

#[test]
fn a_higher_number_serves_only_when_all_lower_ones_are_gone() {
    let mut balancer = Balancer::default();
    balancer.replace([server(1, 10), server(2, 20), server(3, 20)], at(0.0));
    assert_eq!(chosen(&mut balancer, 0.0, 2), [1, 1]);
    round(&mut balancer, 0.0, |n, _| (n != 1).then(|| vec![1]));
    let mut both = chosen(&mut balancer, 0.1, 2);
    both.sort_unstable();
    assert_eq!(both, [2, 3]);
}

#[test]
fn servers_that_stay_keep_what_is_known_of_them() {
    let mut balancer = pool(2);
    round(&mut balancer, 0.0, |_, _| Some(vec![1]));
    let heavier = Server {
        weight: 7,
        ..server(2, 0)
    };
    balancer.replace([server(3, 0), heavier, server(2, 0)], at(0.2));
    let summary = balancer.summary();
    assert_eq!((summary.len(), summary[1].server), (2, heavier));
    assert_eq!(
        (summary[0].state, summary[1].state),
        (State::Unknown, State::Alive)
    );
    assert!(
        !balancer.answered(server(1, 0).address, b"\x01", at(0.3)),
        "no longer in the pool"
    );
}

#[test]
fn only_answers_to_questions_from_their_server_count() {
    let mut balancer = pool(2);
    assert!(
        !balancer.answered(server(1, 0).address, b"\x01", at(0.0)),
        "nobody asked"
    );
    let probes = balancer.due(at(0.0), || 1);
    assert_eq!(probes.len(), 2);
    assert!(!balancer.answered(([192, 0, 2, 1], 2).into(), b"\x01", at(0.1)));
    assert!(!balancer.answered(server(1, 0).address, b"\x03", at(0.1)));
    let mapped = "[::ffff:192.0.2.1]:1".parse().expect("address");
    assert!(balancer.answered(mapped, b"\x01", at(0.1)));
    assert_eq!(balancer.summary()[0].state, State::Alive);
}

#[test]
fn large_pools_are_asked_in_batches_and_are_bounded() {
    let mut balancer = Balancer::default();
    let address = |n: u32| (std::net::Ipv4Addr::from(0x0a00_0000 + n), 1).into();
    let all = (0..5000).map(|n| Server {
        address: address(n),
        ..server(0, 0)
    });
    balancer.replace(all, at(0.0));
    assert_eq!(balancer.summary().len(), MAX_SERVERS);
    let mut asked = 0;
    while balancer.wait(at(0.0)) == Some(Duration::ZERO) {
        let probes = balancer.due(at(0.0), || 0);
        assert!((1..=BATCH).contains(&probes.len()));
        asked += probes.len();
    }
    assert_eq!(asked, MAX_SERVERS);
}

fn loaded(servers: &[(u32, Option<u32>)]) -> Vec<Candidate> {
    let load = |sessions| Load { sessions, most: 0 };
    let candidates = servers
        .iter()
        .enumerate()
        .map(|(place, (weight, sessions))| Candidate {
            place,
            weight: *weight,
            load: sessions.map(load),
            given: 0,
            turn: 0,
        });
    candidates.collect()
}

/// The places handed out in a burst of questions.
fn burst(candidates: &mut [Candidate], turns: &mut Turns, count: usize) -> Vec<usize> {
    let next = |_| {
        let (place, turn) = choose(candidates, turns).expect("some");
        candidates[place].given += 1;
        candidates[place].turn = turn;
        place
    };
    (0..count).map(next).collect()
}

#[test]
fn servers_without_a_report_come_in_turn() {
    let mut candidates = loaded(&[(1, None), (1, None), (1, None)]);
    assert_eq!(
        burst(&mut candidates, &mut Turns::default(), 7),
        [0, 1, 2, 0, 1, 2, 0]
    );
    let mut weighted = loaded(&[(3, None), (1, None)]);
    let chosen = burst(&mut weighted, &mut Turns::default(), 400);
    assert_eq!(chosen.iter().filter(|place| **place == 0).count(), 300);
    assert_eq!(choose(&[], &mut Turns::default()), None);
}

#[test]
fn a_server_that_was_away_does_not_get_all_it_missed() {
    let mut turns = Turns::default();
    let mut candidates = loaded(&[(1, None), (1, None)]);
    burst(&mut candidates[..1], &mut turns, 100);
    let chosen = burst(&mut candidates, &mut turns, 10);
    assert_eq!(
        chosen.iter().filter(|place| **place == 1).count(),
        5,
        "{chosen:?}"
    );
}

#[test]
fn the_least_loaded_for_its_weight_is_chosen_and_a_burst_spreads() {
    let mut candidates = loaded(&[(1, Some(10)), (1, Some(4)), (2, Some(10))]);
    let chosen = burst(&mut candidates, &mut Turns::default(), 3);
    assert_eq!(chosen[0], 1, "4 of 1 is less than 10 of 2");
    let mut even = loaded(&[(1, Some(5)), (1, Some(5)), (2, Some(10))]);
    burst(&mut even, &mut Turns::default(), 400);
    assert_eq!(
        even.iter().map(|c| c.given).collect::<Vec<_>>(),
        [100, 100, 200]
    );
}

#[test]
fn an_unknown_load_counts_as_the_median() {
    let mut candidates = loaded(&[(1, Some(100)), (1, None), (1, Some(2)), (1, Some(50))]);
    assert_eq!(burst(&mut candidates, &mut Turns::default(), 1), [2]);
    candidates[2].load = Some(Load {
        sessions: 60,
        most: 0,
    });
    candidates[2].given = 0;
    assert_eq!(burst(&mut candidates, &mut Turns::default(), 1), [3]);
}

#[test]
fn a_full_server_comes_last() {
    let mut candidates = loaded(&[(100, Some(8)), (1, Some(90))]);
    candidates[0].load = Some(Load {
        sessions: 8,
        most: 10,
    });
    let mut turns = Turns::default();
    assert_eq!(burst(&mut candidates, &mut turns, 4), [0, 0, 1, 1]);
    assert_eq!(
        burst(&mut candidates[..1], &mut turns, 1),
        [0],
        "better than none"
    );
}

#[test]
fn a_silent_server_that_takes_connections_is_the_last_resort() {
    let mut balancer = pool(3);
    let address = |n: u8| server(n, 0).address;
    let mut now = 0.0;
    assert_eq!(balancer.next_knocks(at(now)), []);
    round(&mut balancer, now, |n, _| (n == 3).then(|| vec![0]));
    for _ in 0..4 {
        now += 1.01;
        round(&mut balancer, now, |n, _| (n == 3).then(|| vec![0]));
    }
    assert_eq!(chosen(&mut balancer, now, 1), [0]);
    let tried = balancer.next_knocks(at(now));
    assert_eq!(tried, [address(1), address(2)], "not who takes no clients");
    assert_eq!(balancer.next_knocks(at(now + 4.0)), []);
    balancer.knocked(&tried, &[address(2)]);
    assert_eq!(chosen(&mut balancer, now, 2), [2, 2]);
    now += 5.0;
    let tried = balancer.next_knocks(at(now));
    assert_eq!(tried.len(), 2);
    balancer.knocked(&tried, &[]);
    assert_eq!(chosen(&mut balancer, now, 1), [0]);
    for _ in 0..20 {
        now += 1.0;
        round(&mut balancer, now, |n, _| (n == 1).then(|| vec![1]));
    }
    assert_eq!(chosen(&mut balancer, now, 1), [1]);
    assert_eq!(balancer.next_knocks(at(now + 9.0)), [], "one is alive");
}
