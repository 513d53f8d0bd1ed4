//! Parts of uploads of `tf`: how long they stay, and what operators see of them.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::{Server, Setup, wait_until};

const LEFT: &str = ".tf-0123456789abcdef.part";
const USED: &str = ".tf-fedcba9876543210.part";

#[test]
fn a_part_that_nobody_resumes_goes_with_its_age_and_one_in_use_stays() {
    let mut server = Server::with(Setup {
        server: "keep_parts = 2".to_owned(),
        ..Setup::default()
    });
    server.mkdir("d");
    server.mkdir("x.sd");
    server.write("d/.tf-notes.part", "a client's own");
    let mut using = server.connect();
    using.hp_open("PUT", USED, &[0, 1000]);
    using.send_frame(b"first ");
    for directory in ["d", "x.sd"] {
        let mut leaving = server.connect();
        let path = format!("{directory}/{LEFT}");
        leaving.hp_open("PUT", &path, &[0, 1000]);
        leaving.send_frame(b"never finished");
        drop(leaving);
        wait_until("it is stored", || server.exists(&path));
    }
    let begun = Instant::now();
    wait_until("both are gone", || {
        !server.exists(&format!("d/{LEFT}")) && !server.exists(&format!("x.sd/{LEFT}"))
    });
    server.wait_for_log("removed parts of broken-off uploads");
    // Several more sweeps, in which the other has the same age.
    std::thread::sleep(Duration::from_secs(4).saturating_sub(begun.elapsed()));
    using.send_frame(b"last");
    using.wire.write_i64(0).expect("send");
    assert_eq!(using.wire.read_i64().expect("fin"), -127);
    using.wire.write_i64(-127).expect("send");
    using.expect(format!("RENAM {USED} | whole"), 0);
    assert_eq!(server.read("whole"), b"first last");
    assert_eq!(server.names("d"), [".tf-notes.part"]);
}

#[test]
fn parts_count_for_the_quota_until_they_go() {
    let server = Server::with(Setup {
        server: "keep_parts = 1\nquota = \"1000\"".to_owned(),
        ..Setup::default()
    });
    let mut client = server.connect();
    client.hp_open("PUT", LEFT, &[0, 1000]);
    client.send_frame(&[1; 600]);
    drop(client);
    let mut client = server.connect();
    wait_until("it counts", || client.ask("FREESP") == "OK 400");
    wait_until("its space is free", || client.ask("FREESP") == "OK 1000");
    assert!(!server.exists(LEFT));
}

#[test]
fn operators_see_an_upload_by_its_target() {
    let server = Server::with(Setup {
        server: "control = \"control\"\naudit = \"audit.jsonl\"".to_owned(),
        ..Setup::default()
    });
    server.mkdir("d");
    let beside = |name: &str| server.config_path().with_file_name(name);
    let mut client = server.connect();
    let part = format!("d/{LEFT}");
    client.expect("TFD_TARGET d/my report", 0);
    client.hp_open("PUT", &part, &[0, 1000]);
    client.send_frame(b"content");
    let mut status = Command::new(env!("CARGO_BIN_EXE_tfd"));
    status.arg("status").arg("--control").arg(beside("control"));
    let output = status.output().expect("tfd status");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains("PUT d/my report"), "{shown}");
    client.wire.write_i64(0).expect("send");
    assert_eq!(client.wire.read_i64().expect("fin"), -127);
    client.wire.write_i64(-127).expect("send");
    // It holds for one upload, and for a part.
    client.send_file(&part, true, b"again");
    client.expect("TFD_TARGET d/my report", 0);
    client.send_file("other", true, b"no part");
    client.send_file(&part, true, b"again");
    let audit = || fs::read_to_string(beside("audit.jsonl")).unwrap_or_default();
    let seen = |command: &str| -> Vec<String> {
        let audit = audit();
        let lines = audit.lines().filter(|line| line.contains(command));
        let path = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            format!("{} {}", line["path"], line["other"]).replace('"', "")
        };
        lines.map(path).collect()
    };
    wait_until("all are recorded", || seen("SNDFILE").len() == 3);
    assert_eq!(seen("PUT"), [format!("d/my report {part}")]);
    let plain = format!("{part} null");
    assert_eq!(seen("SNDFILE"), [plain.as_str(), "other null", &plain]);
}
