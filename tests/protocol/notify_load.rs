//! Notification mode with much to watch and much to tell, and what it costs
//! while there is nothing.

use std::collections::HashSet;
use std::fs;
use std::time::{Duration, Instant};

use crate::common::{Server, pids, wait_until};
use crate::notify::{arrive, expect_quiet, expect_told, watching};

/// Clock ticks a process has used.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .expect("name")
        .1
        .split_whitespace()
        .skip(11)
        .take(2)
        .collect();
    fields
        .iter()
        .map(|field| field.parse::<u64>().expect("number"))
        .sum()
}

#[test]
fn hundreds_of_directories_are_watched_and_the_4097th_entry_is_refused() {
    let server = Server::start();
    let names: Vec<String> = (0..600).map(|number| format!("all/{number}/in")).collect();
    names.iter().for_each(|name| server.mkdir(name));
    let mut client = server.connect();
    names
        .iter()
        .for_each(|name| client.expect(format!("ADDNTFY  {name}"), 0));
    for entry in names.len()..4097 {
        client.expect("ADDNTFY never all", if entry < 4096 { 0 } else { 5 });
    }
    client.send("STARTNTFY 0.001");
    for (index, name) in names.iter().enumerate().rev().step_by(7) {
        arrive(&server, &format!("{name}/f"));
        expect_told(&mut client, &format!("{index} f"), "DEL");
    }
    names
        .iter()
        .for_each(|name| fs::write(server.path(name).join("g"), "x").expect("write"));
    let told: HashSet<String> = names
        .iter()
        .map(|_| {
            let told = client.reply();
            client.send("DEL");
            told
        })
        .collect();
    assert_eq!(told.len(), names.len());
    expect_quiet(&mut client, 50);
}

#[test]
fn ten_thousand_files_that_come_at_once_all_arrive() {
    let server = Server::start();
    server.mkdir("d");
    server.mkdir("noise");
    let mut client = watching(&server, "", &[("never", "noise"), ("f", "d")]);
    expect_quiet(&mut client, 50);
    // More than the system keeps events of.
    for number in 0..10_000 {
        fs::write(server.path("d").join(format!("f{number}")), "").expect("write");
        fs::write(server.path("noise").join(format!("{number}")), "").expect("write");
    }
    assert!(
        !server
            .log()
            .iter()
            .any(|line| line.contains("scanned path="))
    );
    let begin = Instant::now();
    let mut told = HashSet::new();
    for _ in 0..10_000 {
        assert!(told.insert(client.reply()));
        client.send("DEL");
    }
    println!("10,000 files told and deleted in {:?}", begin.elapsed());
    expect_quiet(&mut client, 50);
    wait_until("the end of all", || server.names("d").is_empty());
    assert!((0..10_000).all(|number| told.contains(&format!("1 f{number}"))));
}

#[test]
fn files_that_come_while_others_are_told_all_arrive_whatever_moves_the_directory() {
    let server = Server::start();
    server.mkdir("a/d");
    let mut first = watching(&server, "0.001", &[("", "a/d")]);
    expect_quiet(&mut first, 50);
    let count = 3000;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..count {
                fs::write(server.path(&format!("a/d/{number}")), "").expect("write");
                if number % 100 == 0 {
                    fs::rename(server.path("a"), server.path("b")).expect("rename");
                    fs::rename(server.path("b"), server.path("a")).expect("rename");
                }
            }
        });
        let mut told = HashSet::new();
        while told.len() < count {
            told.insert(first.reply());
            first.send("DEL");
        }
    });
    wait_until("the end of all", || server.names("a/d").is_empty());
    expect_quiet(&mut first, 50);
}

#[test]
fn an_idle_watch_of_a_hundred_directories_costs_nothing_and_an_event_arrives_at_once() {
    let server = Server::start();
    let names: Vec<String> = (0..100).map(|number| format!("all/{number}")).collect();
    names.iter().for_each(|name| server.mkdir(name));
    let mut client = server.connect();
    names
        .iter()
        .for_each(|name| client.expect(format!("ADDNTFY  {name}"), 0));
    // No look at the interval could find an event in time.
    client.send("STARTNTFY 1000");
    expect_quiet(&mut client, 300);
    let session = pids(&server, "tfd-session")[0];
    let before = ticks(session);
    expect_quiet(&mut client, 1000);
    let used = ticks(session) - before;
    assert!(used <= 1, "{used} ticks");
    let mut delays: Vec<Duration> = (0..100)
        .map(|number| {
            server.write("staging", "x");
            let begin = Instant::now();
            let name = format!("all/{number}/f");
            fs::rename(server.path("staging"), server.path(&name)).expect("rename");
            expect_told(&mut client, &format!("{number} f"), "DEL");
            begin.elapsed()
        })
        .collect();
    delays.sort_unstable();
    println!(
        "idle for a second: {used} ticks; an event: {:?} {:?}",
        delays[50], delays[99]
    );
}
