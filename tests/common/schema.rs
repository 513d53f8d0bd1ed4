//! The JSON schemas in `conf/`, and whether a value fits one.

use std::collections::BTreeSet;

use serde_json::Value;

/// Whether a value fits a schema of the few words that ours uses; any other
/// word is a panic, so that none is passed over.
pub fn fits(schema: &Value, value: &Value) -> bool {
    schema
        .as_object()
        .expect("a schema")
        .iter()
        .all(|(word, argument)| match word.as_str() {
            "title" | "$schema" => true,
            "oneOf" => {
                argument
                    .as_array()
                    .expect("list")
                    .iter()
                    .filter(|s| fits(s, value))
                    .count()
                    == 1
            }
            "const" => argument == value,
            "enum" => argument.as_array().expect("list").contains(value),
            "type" => match argument {
                Value::Array(types) => types.iter().any(|name| is(name, value)),
                name => is(name, value),
            },
            "pattern" => {
                let text = value.as_str().unwrap_or("");
                let hex = text
                    .bytes()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
                match argument.as_str().expect("pattern") {
                    "^[0-9a-f]{64}$" => hex && text.len() == 64,
                    "^[0-9a-f]*$" => hex,
                    other => panic!("no such pattern: {other}"),
                }
            }
            "items" => value
                .as_array()
                .is_some_and(|all| all.iter().all(|one| fits(argument, one))),
            "properties" => value.as_object().is_some_and(|object| {
                let known = argument.as_object().expect("properties");
                object
                    .iter()
                    .all(|(key, value)| known.get(key).is_none_or(|s| fits(s, value)))
            }),
            "required" => value.as_object().is_some_and(|object| {
                let names = argument.as_array().expect("list");
                names
                    .iter()
                    .all(|name| object.contains_key(name.as_str().expect("name")))
            }),
            "additionalProperties" => {
                assert_eq!(argument, &Value::Bool(false));
                let known = schema["properties"].as_object().expect("properties");
                value
                    .as_object()
                    .is_some_and(|object| object.keys().all(|key| known.contains_key(key)))
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

/// The schema in this file of `conf/`.
pub fn schema(file: &str) -> Value {
    let path = format!("{}/conf/{file}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).expect("schema")).expect("JSON")
}

/// The types of lines it has a shape for.
pub fn types(schema: &Value) -> BTreeSet<String> {
    let shapes = schema["oneOf"].as_array().expect("shapes").iter();
    shapes
        .map(|shape| {
            shape["properties"]["type"]["const"]
                .as_str()
                .expect("type")
                .to_owned()
        })
        .collect()
}
