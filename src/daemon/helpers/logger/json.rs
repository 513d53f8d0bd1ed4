//! A line of the log as a JSON object.

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::logging::{Event, Value};
use crate::text::json_line;

/// The members that the logger writes; a key with such a name gets `_` behind it.
const OURS: [&str; 5] = ["time", "level", "process", "pid", "message"];

struct Line<'a> {
    time: String,
    from: (&'a str, u32),
    event: &'a Event,
}

/// The object of an event, and the end of its line.
pub(super) fn line(now: &jiff::Timestamp, from: (&str, u32), event: &Event) -> String {
    let time = format!("{now:.3}");
    json_line(&Line { time, from, event })
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        members.serialize_entry("time", &self.time)?;
        let level = self.event.level().as_str().to_ascii_lowercase();
        members.serialize_entry("level", &level)?;
        members.serialize_entry("process", self.from.0)?;
        members.serialize_entry("pid", &self.from.1)?;
        members.serialize_entry("message", &self.event.message)?;
        for (key, value) in &self.event.fields {
            let key = match key.as_str() {
                ours if OURS.contains(&ours) => format!("{ours}_"),
                key => key.to_owned(),
            };
            members.serialize_entry(&key, value)?;
        }
        members.end()
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Word(text) | Value::Text(text) => serializer.serialize_str(text),
            Value::Unsigned(number) => serializer.serialize_u64(*number),
            Value::Signed(number) => serializer.serialize_i64(*number),
            Value::Flag(flag) => serializer.serialize_bool(*flag),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::Level;

    #[test]
    fn keys_are_members_and_none_takes_the_place_of_ours() {
        let event = Event::new(Level::Warn, "a\n\"b")
            .with("pid", 7)
            .with("slot", 8);
        let line = line(&jiff::Timestamp::UNIX_EPOCH, ("gate", 3), &event);
        let begin =
            r#"{"time":"1970-01-01T00:00:00.000Z","level":"warn","process":"gate","pid":3,"#;
        let end = r#""message":"a\n\"b","pid_":7,"slot":8}"#;
        assert_eq!(line, format!("{begin}{end}\n"));
    }
}
