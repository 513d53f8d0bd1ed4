//! Ctrl-C: what has been moved stays, and repeat the command to continue from there.

use std::os::unix::fs::MetadataExt;
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{Server, Setup, wait_until};
use crate::desk::{Desk, Run, content};
use crate::relay::{Link, Relay};

fn start(desk: &Desk, arguments: &[&str]) -> Child {
    let mut command = desk.command(arguments);
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tf")
}

fn interrupt(child: Child) -> Run {
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).expect("signal");
    child.wait_with_output().expect("tf").into()
}

#[test]
fn an_interrupted_transfer_goes_on_with_the_same_command() {
    let mut desk = Desk::at(Server::with(Setup {
        server: "audit = \"audit.jsonl\"".to_owned(),
        ..Setup::default()
    }));
    // What is to be interrupted would go on for ten seconds.
    const SLOW: u64 = 1_000_000;
    let link = Link {
        delay: Duration::from_millis(1),
        rate: SLOW,
    };
    let relay = Relay::start(desk.address, link, Box::new(|| None));
    desk.address = relay.address;
    let expected = content(12_000_000, 1);
    let size = |path: &std::path::Path| {
        let mut sizes = std::fs::read_dir(path).expect("names").map(|entry| {
            let entry = entry.expect("entry");
            let is_part = entry.file_name().to_string_lossy().ends_with(".part");
            if is_part {
                entry.metadata().map_or(0, |metadata| metadata.len())
            } else {
                0
            }
        });
        sizes.find(|size| *size > 0).unwrap_or(0)
    };

    desk.write("source", &expected);
    let child = start(&desk, &["put", "source", "there"]);
    wait_until("some bytes are there", || {
        size(desk.server.root()) > 2_000_000
    });
    let run = interrupt(child);
    assert_eq!(run.code, Some(130), "{}", run.err);
    assert!(
        run.err
            .contains("repeat the command to continue from there"),
        "{}",
        run.err
    );
    assert!(!desk.server.exists("there"));
    assert_eq!(desk.fine(&["ls"]).out, "");
    assert_eq!(desk.fine(&["find"]).out, "");
    for all in ["ls", "find"] {
        let shown = desk.fine(&[all, "-a"]).out;
        assert!(shown.contains(".part"), "{all}: {shown}");
    }
    relay.set_rate(0);
    let run = desk.fine(&["put", "--json", "source", "there"]);
    assert!(from(&run.out) > 1_000_000, "{}", run.out);
    assert!(desk.server.read("there") == expected);
    let audit = desk.server.config_path().with_file_name("audit.jsonl");
    let by_target = "\"path\":\"there\",\"other\":\".tf-";
    wait_until("the record with the target's name", || {
        let audit = std::fs::read_to_string(&audit).expect("audit log");
        let mut puts = audit.lines().filter(|line| line.contains("\"PUT\""));
        puts.any(|line| line.contains(by_target))
    });

    relay.set_rate(SLOW);
    let child = start(&desk, &["get", "there", "back"]);
    wait_until("some bytes are here", || size(&desk.path("")) > 2_000_000);
    let run = interrupt(child);
    assert_eq!(run.code, Some(130), "{}", run.err);
    assert!(!desk.path("back").exists());
    relay.set_rate(0);
    let run = desk.fine(&["get", "--json", "there", "back"]);
    assert!(from(&run.out) > 1_000_000, "{}", run.out);
    assert!(desk.read("back") == expected);
    assert_eq!(size(&desk.path("")) + size(desk.server.root()), 0);
}

/// Where the first file was gone on with.
fn from(events: &str) -> u64 {
    let event = events
        .lines()
        .find(|line| line.contains("\"begin\""))
        .expect("begin");
    let event: serde_json::Value = serde_json::from_str(event).expect("JSON");
    event["from"].as_u64().expect("from")
}

#[test]
fn an_upload_over_several_connections_is_resumed_in_its_ranges() {
    const MIB: usize = 1 << 20;
    let desk = Desk::new();
    let expected = content(300 * MIB, 5);
    desk.write("source", &expected);
    let part = || {
        let names = std::fs::read_dir(desk.server.root())
            .expect("names")
            .flatten();
        let mut parts =
            names.filter(|entry| entry.file_name().to_string_lossy().ends_with(".part"));
        parts.next().and_then(|entry| entry.metadata().ok())
    };
    // Four ranges of 32 MiB are under way at a time.
    for streams in ["4", "1"] {
        let child = start(
            &desk,
            &["put", "-j", "4", "--limit", "60M", "source", "there"],
        );
        wait_until("the second ranges", || {
            let blocks = part().map_or(0, |part| part.blocks() as usize * 512);
            blocks > 170 * MIB
        });
        let run = interrupt(child);
        assert_eq!(run.code, Some(130), "{}", run.err);
        assert!(!desk.server.exists("there") && part().is_some());
        let run = desk.fine(&["--json", "put", "-j", streams, "source", "there"]);
        let kept = from(&run.out);
        assert!(kept >= 64 << 20, "{streams}: {}", run.out);
        assert!(desk.server.read("there") == expected, "{streams}");
        assert!(part().is_none());
        std::fs::remove_file(desk.server.path("there")).expect("remove");
    }
    // Kept ranges of another version are noticed, and nothing of them stays.
    let child = start(
        &desk,
        &["put", "-j", "4", "--limit", "60M", "source", "there"],
    );
    wait_until("the second ranges", || {
        part().is_some_and(|part| part.blocks() as usize * 512 > 170 * MIB)
    });
    interrupt(child);
    let mut other = expected;
    for at in (0..other.len()).step_by(MIB) {
        other[at] ^= 1;
    }
    desk.write("source", &other);
    desk.fine(&["put", "-j", "4", "--no-verify", "source", "there"]);
    assert!(desk.server.read("there") == other);
}
