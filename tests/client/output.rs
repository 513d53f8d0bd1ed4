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
