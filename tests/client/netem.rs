//! A link as bad as real ones: between two network namespaces, slow, losing
//! packets, down at random moments. Needs root and a kernel with netem, which
//! `TFD_TEST_NETEM=1` says this one is; `scripts/vm` has one. A seed of
//! `TFD_TEST_SEED` gives the same chances again.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use tfd::client::{ClientError, Options, Summary, Transfers};

use crate::common::namespaces::{Link, NEAR};
use crate::common::{Server, Setup, wait_until};
use crate::cuts::{Told, dice};
use crate::desk::{Desk, content};

const BAD: &str = "delay 5ms 2ms loss 1% rate 40mbit limit 200";

/// A link that netem has made bad; none where that is not possible.
fn bad_link() -> Option<Link> {
    let link = Link::make().and_then(|link| match link.worsen(BAD) {
        Ok(()) => Some(link),
        Err(e) => {
            println!("left out: {e}");
            None
        }
    });
    assert!(
        link.is_some() || std::env::var_os("TFD_TEST_NETEM").is_none(),
        "no bad link"
    );
    link
}

fn seed() -> u64 {
    let given = std::env::var("TFD_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let now = || {
        SystemTime::UNIX_EPOCH
            .elapsed()
            .expect("time")
            .subsec_nanos()
            .into()
    };
    let seed = given.unwrap_or_else(now);
    println!("TFD_TEST_SEED={seed}");
    seed
}

/// Takes the link down and up until all is done; in one case of three the far
/// machine forgets its connections meanwhile.
fn disturb(link: &Link, seed: u64, done: &AtomicBool) -> u32 {
    let mut roll = dice(seed);
    let mut wait = |from, more| std::thread::sleep(Duration::from_millis(from + roll(more)));
    let mut cuts = 0;
    while !done.load(Ordering::Relaxed) {
        wait(100, 900);
        link.cut();
        cuts += 1;
        if cuts % 3 == 0 {
            link.forget_connections();
        }
        wait(20, 300);
        link.mend();
    }
    cuts
}

/// Does it again as long as there is not even a first connection, which is
/// given up at once.
fn steadily(in_vain: &AtomicU32, work: impl Fn() -> Result<Summary, ClientError>) {
    loop {
        match work() {
            Ok(summary) => return assert!(summary.failures.is_empty(), "{:?}", summary.failures),
            Err(ClientError::Connect { .. } | ClientError::Handshake(_) | ClientError::Lost(_)) => {
                in_vain.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(e) => panic!("{e}"),
        }
    }
}

#[test]
fn a_hundred_files_survive_a_link_that_is_slow_loses_packets_and_goes_down() {
    let Some(link) = bad_link() else { return };
    let seed = seed();
    // Of a client that forgot its connection the server hears nothing more.
    let tf = "listen = [\"0.0.0.0:0\"]".to_owned();
    let mut desk = Desk::at(link.near(|| {
        Server::with(Setup {
            server: "idle_timeout = 3".to_owned(),
            tf,
            ..Setup::default()
        })
    }));
    desk.address = SocketAddr::new(NEAR, desk.address.port());
    let options = Options {
        retries: 30,
        ..Options::default()
    };
    let told = Told::default();
    let in_vain = AtomicU32::new(0);
    let done = AtomicBool::new(false);
    let mut roll = dice(seed ^ 0x5555);
    let cuts = std::thread::scope(|scope| {
        let disturber = scope.spawn(|| disturb(&link, seed, &done));
        // Whatever comes of it, the link is left alone then.
        let result = catch_unwind(AssertUnwindSafe(|| {
            link.far(|| {
                for round in 0..50 {
                    let most = [3_000, 60_000, 400_000][round as usize % 3];
                    let expected = content(roll(most) as usize, round);
                    let source = desk.write("source", &expected);
                    let access = desk.access();
                    let transfers = Transfers::new(&access, &options, &told);
                    steadily(&in_vain, || {
                        transfers.put(std::slice::from_ref(&source), "there")
                    });
                    assert!(desk.server.read("there") == expected, "put {round}");
                    let back = desk.path("back");
                    steadily(&in_vain, || transfers.get(&["there".to_owned()], &back));
                    assert!(desk.read("back") == expected, "get {round}");
                }
            });
        }));
        done.store(true, Ordering::Relaxed);
        let cuts = disturber.join().expect("cuts");
        result.unwrap_or_else(|panic| resume_unwind(panic));
        cuts
    });
    let retries = *told.retries.lock().expect("lock");
    println!("{cuts} cuts, {retries} connections anew, {in_vain:?} times not even a first one");
    assert!(cuts >= 20 && retries >= 5, "{cuts} {retries}");
    wait_until("the end of what was begun", || {
        desk.server.names("") == ["there"]
    });
}
