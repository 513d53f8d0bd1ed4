//! What `tf` prints of its transfers.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::schema::{fits, schema, types};
use crate::desk::{Desk, content};
use crate::relay::{Link, Relay};

/// The events in an output, all of them of the schema.
fn events(text: &str) -> Vec<Value> {
    let schema = schema("tf-transfers.schema.json");
    let event = |line| {
        let event = serde_json::from_str(line).expect(line);
        assert!(fits(&schema, &event), "{line}");
        event
    };
    text.lines().map(event).collect()
}

fn of_type<'e>(events: &'e [Value], kind: &str) -> Vec<&'e Value> {
    events
        .iter()
        .filter(|event| event["type"] == kind)
        .collect()
}

#[test]
fn programs_read_events_one_a_line() {
    let mut desk = Desk::new();
    let link = Link {
        delay: Duration::ZERO,
        rate: 4_000_000,
    };
    let direct = desk.address;
    let mut lives = [Some(3_000_000), None].into_iter();
    let relay = Relay::start(direct, link, Box::new(move || lives.next().flatten()));
    desk.address = relay.address;
    desk.write("t/large", content(8_000_000, 1));
    desk.write("t/small", "x");
    std::os::unix::fs::symlink("small", desk.path("t/link")).expect("link");
    let begin = Instant::now();
    let run = desk.fine(&["put", "--json", "-r", "t"]);
    let seconds = begin.elapsed().as_secs();
    assert_eq!(run.err, "");
    let events = events(&run.out);
    let start = of_type(&events, "start");
    assert_eq!(
        (&start[0]["files"], &start[0]["bytes"]),
        (&2.into(), &8_000_001.into())
    );
    let progress = of_type(&events, "progress");
    // One a second at most.
    assert!(
        (1..=1 + seconds as usize).contains(&progress.len()),
        "{}",
        run.out
    );
    assert!(
        progress
            .iter()
            .all(|event| event["bytes"].as_u64() <= Some(8_000_001))
    );
    let retry = of_type(&events, "retry");
    assert_eq!((retry.len(), &retry[0]["attempt"]), (1, &1.into()));
    assert_eq!(of_type(&events, "begin").len(), 2);
    let mut done: Vec<_> = of_type(&events, "done")
        .iter()
        .map(|event| event["path"].as_str())
        .collect();
    done.sort_unstable();
    assert_eq!(done, [Some("t/large"), Some("t/small")]);
    assert_eq!(of_type(&events, "note")[0]["path"], "link");
    let last = events.last().expect("events");
    assert_eq!(last["type"], "summary");
    assert_eq!(
        (&last["files"], &last["left_out"], &last["failed"]),
        (&2.into(), &1.into(), &0.into())
    );
    // What came before the connection was lost is not moved again, but for what
    // was on its way.
    let moved = last["moved"].as_u64().expect("moved");
    assert!((8_000_001..16_000_000).contains(&moved), "{moved}");

    let mut shapes: BTreeSet<String> = BTreeSet::new();
    let mut shapes_of = |events: &[Value]| {
        shapes.extend(
            events
                .iter()
                .map(|event| event["type"].as_str().expect("type").to_owned()),
        );
    };
    shapes_of(&events);
    shapes_of(&self::events(
        &desk.fine(&["mirror", "--json", "t", ":mirrored"]).out,
    ));

    let run = desk.tf(&["get", "--json", "none", "t/small", "."]);
    assert_eq!(run.code, Some(1));
    let events = self::events(&run.out);
    shapes_of(&events);
    // Said where an account may have fewer sessions than a run asks for.
    shapes.insert("sessions".to_owned());
    assert_eq!(shapes, types(&schema("tf-transfers.schema.json")));
    let error = of_type(&events, "error");
    assert_eq!(
        (&error[0]["path"], &error[0]["exit"]),
        (&"none".into(), &1.into())
    );
    assert_eq!(events.last().expect("events")["failed"], 1);
}

#[test]
fn a_rate_is_kept_over_all_connections() {
    let desk = Desk::new();
    for number in 0..4 {
        desk.write(&format!("t/{number}"), content(250_000, number));
    }
    let begin = Instant::now();
    desk.fine(&["put", "-r", "-j", "4", "--limit", "500K", "t"]);
    desk.fine(&["get", "-r", "-j", "4", "--limit", "500K", "t", "back"]);
    // Twice a million bytes at 512,000 a second, less what is not yet due.
    let took = begin.elapsed();
    assert!(took > Duration::from_millis(2_800), "{took:?}");
    assert_eq!(desk.tf(&["put", "--limit", "fast", "t"]).code, Some(2));
}

#[test]
fn nothing_is_said_where_nobody_looks() {
    let desk = Desk::new();
    desk.write("t/a", "x");
    for arguments in [&["put", "-r", "t"][..], &["get", "-r", "t", "back"]] {
        let run = desk.fine(arguments);
        assert_eq!((run.out.as_str(), run.err.as_str()), ("", ""));
    }
}

#[test]
fn of_many_equal_failures_the_first_are_printed_and_the_others_counted() {
    let desk = Desk::new();
    let names: Vec<String> = (0..60).map(|n| format!("none/{n}")).collect();
    let arguments: Vec<&str> = names.iter().map(String::as_str).chain(["."]).collect();
    let run = desk.tf(&[&["get", "nosuch"][..], &arguments].concat());
    assert_eq!(run.code, Some(1));
    assert_eq!(run.err.matches(": no such file or directory\n").count(), 11);
    let rest = "tf: ... and 51 more like this: no such file or directory\n";
    assert!(run.err.contains(rest), "{}", run.err);
    assert!(run.err.contains("61 of 61 entries failed"), "{}", run.err);
    let run = desk.tf(&[&["get", "--json", "nosuch"][..], &arguments].concat());
    assert_eq!(of_type(&events(&run.out), "error").len(), 61);
}

#[test]
fn an_error_is_a_sentence_and_the_wire_is_quoted_on_demand() {
    let desk = Desk::new();
    desk.write("f", "x");
    desk.server.write("file", "x");
    std::os::unix::fs::symlink("/etc", desk.server.path("out")).expect("link");
    for (arguments, text) in [
        (&["get", "nosuch"][..], "nosuch: no such file or directory"),
        (&["put", "f", "none/f"], "none/f: no such directory: none"),
        (&["put", "f", "file/f"], "file/f: file is not a directory"),
        (
            &["put", "f", "out/f"],
            "out/f: permission denied, or the path leads outside the root",
        ),
        (&["put", "f", ".tfd-f.part"], "the server keeps such names"),
    ] {
        let run = desk.tf(arguments);
        assert!(run.err.contains(text), "{}", run.err);
        assert!(
            !run.err.contains("FAILED") && !run.err.contains("os error"),
            "{}",
            run.err
        );
        assert_eq!(run.err.lines().count(), 1, "{}", run.err);
    }
    let run = desk.tf(&["-v", "get", "nosuch"]);
    assert!(
        run.err
            .contains("nosuch: no such file or directory (TFD_LIST nosuch: FAILED 9 : "),
        "{}",
        run.err
    );
    let run = desk.tf(&["--server", "127.0.0.1:1", "ls"]);
    assert!(
        run.err
            .contains("can't connect to 127.0.0.1:1: Connection refused: nothing listens"),
        "{}",
        run.err
    );
}
