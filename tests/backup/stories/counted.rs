//! Each party killed at each message: proxies count the records of TLS between parties,
//! and hold the one at which one of them dies.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use super::*;

/// The type of a record that has something for the other end.
const APPLICATION_DATA: u8 = 23;

/// Why a run may end where its hub or its only keeper is away for too long.
const AWAY: [&str; 4] = [
    "connection closed",
    "no keeper is online",
    "no keeper takes",
    "no keeper that is online has it",
];

/// How many kills of a party a line gets where not every record does.
const SOME: usize = 3;

/// A way to an address that counts.
struct Proxy {
    address: SocketAddr,
    counter: Arc<Counter>,
}

#[derive(Default)]
struct Counter {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    passed: usize,
    /// The record that is to be held.
    at: Option<usize>,
    is_held: bool,
}

impl Proxy {
    fn new(to: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = listener.local_addr().expect("address");
        let counter = Arc::<Counter>::default();
        let counting = Arc::clone(&counter);
        thread::spawn(move || {
            for near in listener.incoming() {
                let near = near.expect("accept");
                let Ok(far) = TcpStream::connect(to) else {
                    continue;
                };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone(), to.try_clone());
                    let (from, to) = (from.expect("socket"), to.expect("socket"));
                    let counter = Arc::clone(&counting);
                    thread::spawn(move || pass(from, to, &counter));
                }
            }
        });
        Proxy { address, counter }
    }
}

/// Passes records on until one end has no more.
fn pass(mut from: TcpStream, mut to: TcpStream, counter: &Counter) {
    while let Ok(record) = record(&mut from) {
        if record[0] == APPLICATION_DATA {
            counter.count();
        }
        if to.write_all(&record).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Read);
    let _ = to.shutdown(Shutdown::Write);
}

fn record(from: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut record = vec![0; 5];
    from.read_exact(&mut record)?;
    let len = u16::from_be_bytes([record[3], record[4]]);
    record.resize(5 + usize::from(len), 0);
    from.read_exact(&mut record[5..])?;
    Ok(record)
}

impl Counter {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("state")
    }

    /// Counts a record, and holds it if it is the one.
    fn count(&self) {
        let mut state = self.state();
        state.passed += 1;
        state.is_held |= state.at == Some(state.passed);
        let _free = self.changed.wait_while(state, |it| it.is_held);
    }

    /// Counts from now on, and holds this one.
    fn hold(&self, at: usize) {
        *self.state() = State {
            at: Some(at),
            ..State::default()
        };
    }

    /// Lets all go; how many there were.
    fn free(&self) -> usize {
        let passed = std::mem::take(&mut *self.state()).passed;
        self.changed.notify_all();
        passed
    }
}

/// Who is killed.
#[derive(Clone, Copy, PartialEq)]
enum Victim {
    Owner,
    Hub,
    Keeper,
}

/// A hub, a keeper and an owner, with a proxy between each two of them.
struct Stage {
    party: Party,
    owner: Desk,
    /// Has the phrase, and ways of its own.
    reader: Desk,
    to_hub: Proxy,
    to_keeper: Proxy,
    of_keeper: Proxy,
    changes: u64,
    acknowledged: BTreeSet<String>,
}

impl Stage {
    /// One with a snapshot; `None` without root.
    fn new() -> Option<Stage> {
        let hub = hub("")?;
        let port = free_port();
        let to_hub = Proxy::new(hub.tls_address());
        let of_keeper = Proxy::new(hub.tls_address());
        let to_keeper = Proxy::new(SocketAddr::from(([127, 0, 0, 1], port)));
        let different = Different {
            port: Some(port),
            public_port: Some(to_keeper.address.port()),
            hub: Some(of_keeper.address),
            ..Different::default()
        };
        let party = Party::at(hub, "1", vec![("bob", different)]);
        let mut stage = Stage {
            owner: party.machine_by(to_hub.address),
            reader: party.machine(),
            party,
            to_hub,
            to_keeper,
            of_keeper,
            changes: 0,
            acknowledged: BTreeSet::new(),
        };
        stage.back_up();
        Some(stage)
    }

    /// The command of each run.
    fn words(&self) -> [String; 3] {
        let source = self.party.anna.text("source");
        ["--json", "backup", &source].map(str::to_owned)
    }

    fn back_up(&mut self) {
        let words = self.words();
        let printed = self.owner.fine(&words.each_ref().map(String::as_str));
        self.acknowledge(&printed);
    }

    fn acknowledge(&mut self, printed: &str) {
        let made: serde_json::Value = serde_json::from_str(printed).expect(printed);
        let id = made["snapshot"]["id"].as_str().expect("id");
        assert!(self.acknowledged.insert(id.to_owned()));
    }

    /// Something that the next run has to save.
    fn change(&mut self) {
        self.changes += 1;
        let file = self.party.anna.path("source/changed");
        fs::write(file, noise(900 + self.changes, 3000)).expect("file");
    }

    /// Has a run meet its end, or that of who serves it, at this record of a line. Whether
    /// it has as many.
    fn kill(&mut self, victim: Victim, line: fn(&Stage) -> &Proxy, at: usize) -> bool {
        self.change();
        let counter = Arc::clone(&line(self).counter);
        counter.hold(at);
        let words = self.words();
        let mut run = begin(&self.owner, &words.each_ref().map(String::as_str));
        wait_until("the record is there, or the run has ended", || {
            counter.state().is_held || run.try_wait().expect("state").is_some()
        });
        let is_held = counter.state().is_held;
        let log = self.party.keepers[0].server.log();
        let lines = log.iter().filter(|line| line.contains(ONLINE)).count();
        if is_held {
            match victim {
                Victim::Owner => run.kill().expect("kill"),
                Victim::Hub => kill(&mut self.party.hub),
                Victim::Keeper => self.party.keeper("bob").kill(),
            }
        }
        counter.free();
        match victim {
            _ if !is_held => {}
            Victim::Owner => {}
            Victim::Hub => self.party.hub.start_again(),
            Victim::Keeper => self.party.keeper("bob").start_again(),
        }
        let output = run.wait_with_output().expect("end");
        let said = String::from_utf8_lossy(&output.stderr);
        let printed = String::from_utf8_lossy(&output.stdout);
        if is_held && victim == Victim::Owner {
            assert_eq!(output.status.signal(), Some(9), "record {at}: {said}");
            self.back_up();
        } else if is_held && !output.status.success() {
            // There was no run yet, or it has waited for a while.
            assert!(
                AWAY.iter().any(|why| said.contains(why)),
                "record {at}: {said}"
            );
            let lines = match victim {
                Victim::Hub => lines,
                _ => 0,
            };
            let keeper = &mut self.party.keepers[0].server;
            keeper.wait_for_lines(ONLINE, lines + 1);
            self.back_up();
        } else {
            assert!(output.status.success(), "record {at}: {said}{printed}");
            self.acknowledge(&printed);
        }
        self.expect_all();
        is_held
    }

    /// All that was acknowledged is there, and is what it was.
    #[track_caller]
    fn expect_all(&self) {
        let listed = self.reader.fine(&["--json", "snapshots"]);
        for id in &self.acknowledged {
            assert!(listed.contains(id), "{id} in {listed}");
        }
        let _ = fs::remove_dir_all(self.reader.path("back"));
        self.reader.fine(&["restore", "latest", "--target", "back"]);
        self.party.expect_same(&self.reader);
        self.reader.fine(&["check"]);
    }
}

/// Kills somebody at the records of a line: at each in a full test, else at some of them.
fn kill_at_records(victim: Victim, line: fn(&Stage) -> &Proxy) {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    stage.change();
    line(&stage).counter.free();
    stage.back_up();
    let count = line(&stage).counter.free();
    assert!(count > 2 * SOME, "{count} records");
    let step = match std::env::var_os("TFD_TEST_FULL") {
        Some(_) => 1,
        None => count / SOME,
    };
    let mut met = 0;
    for at in (1..=count).step_by(step) {
        met += usize::from(stage.kill(victim, line, at));
    }
    assert!(
        met >= SOME.min(count / step),
        "{met} kills in {count} records"
    );
    for id in &stage.acknowledged {
        stage.reader.fine(&["restore", &id[..8], "--target", id]);
    }
    stage.reader.fine(&["check", "--read-data"]);
}

#[test]
fn an_owner_may_die_at_each_message_to_the_hub() {
    kill_at_records(Victim::Owner, |stage| &stage.to_hub);
}

#[test]
fn an_owner_may_die_at_each_message_to_a_keeper() {
    kill_at_records(Victim::Owner, |stage| &stage.to_keeper);
}

#[test]
fn the_hub_may_die_at_each_message_of_an_owner() {
    kill_at_records(Victim::Hub, |stage| &stage.to_hub);
}

#[test]
fn the_hub_may_die_at_each_message_of_a_keeper() {
    kill_at_records(Victim::Hub, |stage| &stage.of_keeper);
}

#[test]
fn a_keeper_may_die_at_each_message_of_an_owner() {
    kill_at_records(Victim::Keeper, |stage| &stage.to_keeper);
}

#[test]
fn a_keeper_may_die_at_each_message_of_the_hub() {
    kill_at_records(Victim::Keeper, |stage| &stage.of_keeper);
}
