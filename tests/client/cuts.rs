//! A link that breaks: connections come back by themselves, and files end
//! whole.

use std::fs;
use std::sync::Mutex;
use std::time::Duration;

use tfd::client::{Event, Observer, Options, Transfers};

use crate::common::Server;
use crate::desk::{Desk, content, tree};
use crate::relay::{Link, Relay};

/// Numbers that look like chance, the same in each run.
pub(crate) fn dice(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

/// A desk whose link cuts each connection after a number of bytes that
/// `lives` gives.
fn desk_behind(link: Link, lives: impl FnMut() -> Option<u64> + Send + 'static) -> (Desk, Relay) {
    let mut desk = Desk::at(Server::start());
    let relay = Relay::start(desk.address, link, Box::new(lives));
    desk.address = relay.address;
    (desk, relay)
}

/// What a run told.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) retries: Mutex<u64>,
    resumed: Mutex<Vec<u64>>,
}

impl Observer for Told {
    fn notify(&self, event: &Event<'_>) {
        match event {
            Event::Retrying { .. } => *self.retries.lock().expect("lock") += 1,
            Event::Begun { from, .. } => self.resumed.lock().expect("lock").push(*from),
            _ => {}
        }
    }
}

/// A hundred transfers of files of all sizes, each over connections that are
/// cut at random moments: each file ends whole.
#[test]
fn a_hundred_files_survive_a_link_that_is_cut_at_random_moments() {
    let mut roll = dice(7);
    let (desk, relay) = desk_behind(Link::default(), move || Some(20_000 + roll(2_500_000)));
    let access = desk.access();
    let options = Options {
        retries: 30,
        ..Options::default()
    };
    let mut roll = dice(11);
    let told = Told::default();
    for round in 0..50 {
        let len = match round % 5 {
            0 => roll(5_000),
            1 => roll(200_000),
            2 => roll(1_000_000),
            3 => roll(4_000_000),
            _ => 4_500_000 + roll(4_000_000),
        };
        let expected = content(len as usize, round);
        let source = desk.write("source", &expected);
        let transfers = Transfers::new(&access, &options, &told);
        let summary = transfers.put(&[source], "there").expect("put");
        assert!(
            summary.failures.is_empty(),
            "{round}: {:?}",
            summary.failures
        );
        assert!(
            desk.server.read("there") == expected,
            "put {round} of {len}"
        );
        let summary = transfers
            .get(&["there".to_owned()], &desk.path("back"))
            .expect("get");
        assert!(
            summary.failures.is_empty(),
            "{round}: {:?}",
            summary.failures
        );
        assert!(desk.read("back") == expected, "get {round} of {len}");
    }
    assert!(relay.connections() > 150, "{}", relay.connections());
    let retries = *told.retries.lock().expect("lock");
    assert!(retries >= 40, "{retries}");
    let resumed = told.resumed.lock().expect("lock");
    assert!(
        resumed.iter().filter(|from| **from > 0).count() >= 10,
        "{resumed:?}"
    );
    // Nothing is left of the parts.
    assert_eq!(desk.server.names(""), ["there"]);
}

#[test]
fn a_tree_survives_it_too_over_several_connections() {
    let mut roll = dice(3);
    let (desk, _relay) = desk_behind(Link::default(), move || Some(200_000 + roll(2_000_000)));
    for number in 0..300 {
        let len = [100, 4_096, 30_000, 100_000][number % 4];
        desk.write(
            &format!("t/{}/{number}", number % 7),
            content(len, number as u64),
        );
    }
    desk.write("t/large", content(6_000_000, 1));
    desk.fine(&["put", "-r", "-j", "2", "--retries", "30", "t"]);
    assert!(tree(&desk.server.path("t")) == tree(&desk.path("t")));
    desk.fine(&["get", "-r", "-j", "2", "--retries", "30", "t", "back"]);
    assert!(tree(&desk.path("back")) == tree(&desk.path("t")));
}

#[test]
fn a_later_run_goes_on_where_an_earlier_one_was_cut() {
    let lives = std::sync::Arc::new(Mutex::new(Some(3_000_000)));
    let given = std::sync::Arc::clone(&lives);
    let (desk, _relay) = desk_behind(Link::default(), move || *given.lock().expect("lock"));
    let expected = content(12_000_000, 5);
    let source = desk.write("source", &expected);
    let access = desk.access();
    let options = Options {
        retries: 0,
        ..Options::default()
    };

    let put = |told: &Told| {
        Transfers::new(&access, &options, told).put(std::slice::from_ref(&source), "there")
    };
    put(&Told::default()).expect_err("cut");
    assert!(!desk.server.exists("there"));
    *lives.lock().expect("lock") = None;
    let told = Told::default();
    put(&told).expect("put");
    let from = told.resumed.lock().expect("lock")[0];
    assert!(from > 1_000_000, "resumed from {from}");
    assert!(desk.server.read("there") == expected);

    *lives.lock().expect("lock") = Some(3_000_000);
    let sources = ["there".to_owned()];
    let get =
        |told: &Told| Transfers::new(&access, &options, told).get(&sources, &desk.path("back"));
    get(&Told::default()).expect_err("cut");
    assert!(!desk.path("back").exists());
    *lives.lock().expect("lock") = None;
    let told = Told::default();
    get(&told).expect("get");
    let from = told.resumed.lock().expect("lock")[0];
    assert!(from > 1_000_000, "resumed from {from}");
    assert!(desk.read("back") == expected);
    assert_eq!(desk.server.names(""), ["there"]);
    assert_eq!(fs::read_dir(desk.path("")).expect("names").count(), 3);
}

/// A part whose bytes are others is not gone on with.
#[test]
fn what_changed_meanwhile_is_sent_anew() {
    let lives = std::sync::Arc::new(Mutex::new(Some(3_000_000)));
    let given = std::sync::Arc::clone(&lives);
    let (desk, _relay) = desk_behind(Link::default(), move || *given.lock().expect("lock"));
    let access = desk.access();
    let options = Options {
        retries: 0,
        ..Options::default()
    };
    let transfers = Transfers::new(&access, &options, &());
    let source = desk.write("source", content(8_000_000, 1));
    desk.server.write("other", content(8_000_000, 3));
    transfers
        .put(std::slice::from_ref(&source), "there")
        .expect_err("cut");
    transfers
        .get(&["other".to_owned()], &desk.path("back"))
        .expect_err("cut");
    *lives.lock().expect("lock") = None;
    let (new, other) = (content(8_000_000, 2), content(8_100_000, 4));
    desk.write("source", &new);
    desk.server.write("other", &other);
    transfers.put(&[source], "there").expect("put");
    assert!(desk.server.read("there") == new);
    transfers
        .get(&["other".to_owned()], &desk.path("back"))
        .expect("get");
    assert!(desk.read("back") == other);
    assert_eq!(desk.server.names(""), ["other", "there"]);
    assert_eq!(fs::read_dir(desk.path("")).expect("names").count(), 3);
}

#[test]
fn a_server_that_is_gone_for_good_is_given_up_and_told() {
    let (desk, _relay) = desk_behind(Link::default(), || Some(2_000_000));
    desk.write("source", content(9_000_000, 5));
    let relay_gone = desk.tf(&["put", "--retries", "0", "source"]);
    assert_eq!(relay_gone.code, Some(5), "{}", relay_gone.err);
    assert!(
        relay_gone
            .err
            .contains("repeat the command to continue from there"),
        "{}",
        relay_gone.err
    );
    let run = desk.tf(&["--server", "127.0.0.1:1", "put", "source"]);
    assert_eq!(run.code, Some(3), "{}", run.err);
}

/// 2,000 small files through a link of 20 ms need a few round trips, not some
/// for each file.
#[test]
fn many_small_files_do_not_wait_for_each_other_on_a_far_link() {
    let link = Link {
        delay: Duration::from_millis(20),
        rate: 25_000_000,
    };
    let (desk, _relay) = desk_behind(link, || None);
    for number in 0..1000 {
        desk.write(
            &format!("t/{}/{number}", number % 10),
            content(4096, number),
        );
    }
    let begin = std::time::Instant::now();
    desk.fine(&["put", "-r", "t"]);
    desk.fine(&["get", "-r", "t", "back"]);
    assert!(tree(&desk.path("back")) == tree(&desk.path("t")));
    // One round trip a file would be 80 s, and more on a slow machine.
    assert!(
        begin.elapsed() < Duration::from_secs(75),
        "{:?}",
        begin.elapsed()
    );
}
