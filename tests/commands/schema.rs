//! Every line of `tf --json` has a shape that conf/tf-output.schema.json
//! promises.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::common::Server;
use crate::common::tf::Person;

/// Whether a value fits a schema of the few words that ours uses; any other
/// word is a panic, so that none is passed over.
fn fits(schema: &Value, value: &Value) -> bool {
    schema.as_object().expect("a schema").iter().all(|(word, argument)| match word.as_str() {
        "title" | "$schema" => true,
        "oneOf" => {
            argument.as_array().expect("list").iter().filter(|s| fits(s, value)).count() == 1
        }
        "const" => argument == value,
        "enum" => argument.as_array().expect("list").contains(value),
        "type" => match argument {
            Value::Array(types) => types.iter().any(|name| is(name, value)),
            name => is(name, value),
        },
        "pattern" => {
            let text = value.as_str().unwrap_or("");
            let hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            match argument.as_str().expect("pattern") {
                "^[0-9a-f]{64}$" => hex && text.len() == 64,
                "^[0-9a-f]*$" => hex,
                other => panic!("no such pattern: {other}"),
            }
        }
        "items" => value.as_array().is_some_and(|all| all.iter().all(|one| fits(argument, one))),
        "properties" => value.as_object().is_some_and(|object| {
            let known = argument.as_object().expect("properties");
            object.iter().all(|(key, value)| known.get(key).is_none_or(|s| fits(s, value)))
        }),
        "required" => value.as_object().is_some_and(|object| {
            let names = argument.as_array().expect("list");
            names.iter().all(|name| object.contains_key(name.as_str().expect("name")))
        }),
        "additionalProperties" => {
            assert_eq!(argument, &Value::Bool(false));
            let known = schema["properties"].as_object().expect("properties");
            value.as_object().is_some_and(|object| object.keys().all(|key| known.contains_key(key)))
        }
        other => panic!("the test does not know {other}"),
    })
}

fn is(name: &Value, value: &Value) -> bool {
    match name.as_str().expect("type") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        other => panic!("no such type: {other}"),
    }
}

fn schema() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/tf-output.schema.json");
    serde_json::from_str(&std::fs::read_to_string(path).expect("schema")).expect("JSON")
}

#[test]
fn each_command_prints_lines_of_the_schema_and_each_shape_is_printed() {
    let other = Server::start();
    let server = crate::probes::with_pool(&other);
    server.write("f", "12345");
    server.write("d/sub/g \u{1b} x", "x");
    let person = Person::of(&server);
    person.write("pass", "secret");
    crate::common::wait_until("the pool is alive", || person.tf(&["where"]).code == Some(0));
    let sums = person.fine(&["sha256", "f"]);
    person.write("SUMS", sums);
    person.configure(&format!(
        "default = \"s\"\n[server.s]\naddress = \"{}\"\nkey = \"../../public.pem\"\n\
         [server.t]\naddress = [\"h\", \"[::1]:7\"]\njail = \"j\"\nuser = \"ann\"\n",
        server.address()
    ));
    let schema = schema();
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
    let promised = schema["oneOf"].as_array().expect("shapes").iter();
    let promised: BTreeSet<String> = promised
        .map(|shape| shape["properties"]["type"]["const"].as_str().expect("type").to_owned())
        .collect();
    assert_eq!(shapes, promised);
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
