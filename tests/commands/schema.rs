//! Every line of `tf --json` has a shape that conf/tf-output.schema.json
//! promises.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::common::Server;
use crate::common::schema::{fits, schema, types};
use crate::common::tf::Person;

#[test]
fn each_command_prints_lines_of_the_schema_and_each_shape_is_printed() {
    let other = Server::start();
    let server = crate::probes::with_pool(&other);
    server.write("f", "12345");
    server.write("d/sub/g \u{1b} x", "x");
    let person = Person::of(&server);
    person.write("pass", "secret");
    crate::common::wait_until("the pool is alive", || {
        person.tf(&["where"]).code == Some(0)
    });
    let sums = person.fine(&["sha256", "f"]);
    person.write("SUMS", sums);
    person.configure(&format!(
        "default = \"s\"\n[server.s]\naddress = \"{}\"\nkey = \"../../public.pem\"\n\
         [server.t]\naddress = [\"h\", \"[::1]:7\"]\njail = \"j\"\nuser = \"ann\"\n",
        server.address()
    ));
    let schema = schema("tf-output.schema.json");
    let mut shapes = BTreeSet::new();
    for arguments in [
        &["ls"][..],
        &["ls", "-lR"],
        &["ls", "f", "d"],
        &["ls", "-U"],
        &["find"],
        &["find", "--size", "5"],
        &["stat", "f", "d"],
        &["sha256", "f"],
        &["sha256", "-c", "SUMS"],
        &["df"],
        &["ping", "-c", "1"],
        &["where"],
        &["servers"],
        &["secret", "path", "x", "--passphrase-file", "pass"],
        &["watch", "-n", "1", "d/sub"],
        &["watch", "-n", "1", "--get", ".", "d/sub"],
        &["raw", "PROCKEY"],
    ] {
        let out = person.fine(&[&["--json"], arguments].concat());
        assert!(!out.is_empty(), "{arguments:?}");
        for line in out.lines() {
            let value: Value = serde_json::from_str(line).expect(line);
            assert!(fits(&schema, &value), "{arguments:?}: {line}");
            shapes.insert(value["type"].as_str().expect("type").to_owned());
        }
    }
    assert_eq!(shapes, types(&schema));
}

#[test]
fn paths_in_json_can_be_used_again() {
    let server = Server::start();
    server.write("d/a\u{1b}b \"c\"", "x");
    let person = Person::of(&server);
    let line = person.fine(&["--json", "find", "--type", "f"]);
    let value: Value = serde_json::from_str(line.trim_end()).expect("JSON");
    let path = value["path"].as_str().expect("path");
    assert_eq!(path, "d/a\u{1b}b \"c\"");
    person.fine(&["rm", path]);
    assert!(server.names("d").is_empty());
}
