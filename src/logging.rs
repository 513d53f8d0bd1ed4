//! The log: each event is a message and keys with values. A process sends it to the
//! logger, which writes it with time, kind of process and process id; a process
//! without a logger writes the line itself. Control characters are escaped by who
//! writes: what a client or a taken-over process sends can't forge a line.

use std::io::Write;

use env_logger::Logger;
use log::kv::{self, Key, VisitSource, VisitValue};
use log::{Level, Log, Metadata, Record};

use crate::ipc::codec::{Decode, Encode, codec};
use crate::ipc::log_channel::{self, MAX_LINE};

/// Keys whose values are quoted even if they are one word.
const TEXTS: [&str; 2] = ["error", "reason"];

/// The most keys of an event that are written.
const MAX_FIELDS: usize = 32;

/// Something that has happened.
#[derive(Debug, PartialEq)]
pub(crate) struct Event {
    /// The number of its level, 1 for an error.
    level: u8,
    /// What has happened.
    pub(crate) message: String,
    /// The keys and their values.
    pub(crate) fields: Vec<(String, Value)>,
}

/// The value of a key.
#[derive(Debug, PartialEq)]
pub(crate) enum Value {
    /// It stands as it is if it is one word.
    Word(String),
    /// It is quoted.
    Text(String),
    Unsigned(u64),
    Signed(i64),
    Flag(bool),
}

/// An event on its way. Anything else there is text for standard error.
enum Sent {
    Event(Event),
}

codec!(struct Event { level, message, fields });
codec!(enum Value { 1 => Word(word), 2 => Text(text), 3 => Unsigned(number), 4 => Signed(number),
    5 => Flag(flag) });
codec!(enum Sent { 0 => Event(event) });

/// Sets the log up. `filter` is a level or a list of `module=level`; `RUST_LOG`
/// overrides it.
pub fn start(filter: &str) {
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| filter.to_owned());
    let filter = env_logger::Builder::new().parse_filters(&filter).build();
    let level = filter.filter();
    if log::set_boxed_logger(Box::new(Sender { filter })).is_ok() {
        log::set_max_level(level);
    }
}

/// Passes events on.
struct Sender {
    filter: Logger,
}

impl Log for Sender {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.filter.matches(record) {
            return;
        }
        let event = Event::of(record);
        if log_channel::is_open() {
            event.send();
            return;
        }
        let now = jiff::Timestamp::now();
        let from = (log_channel::DAEMON, std::process::id());
        let line = format!("{}\n", timed(&now, from, &event));
        let _ = std::io::stderr().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

/// The line of an event for a file or a terminal.
pub(crate) fn timed(now: &jiff::Timestamp, from: (&str, u32), event: &Event) -> String {
    format!("{now:.3} {:5} {}", event.level(), text(from, event))
}

/// The same without time and level.
pub(crate) fn text((kind, pid): (&str, u32), event: &Event) -> String {
    let mut text = format!("[{kind} {pid}] {}", escape(&event.message));
    for (key, value) in &event.fields {
        let value = match value {
            Value::Word(word) if is_word(word) && !TEXTS.contains(&key.as_str()) => word.clone(),
            Value::Word(text) | Value::Text(text) => format!("{text:?}"),
            Value::Unsigned(number) => number.to_string(),
            Value::Signed(number) => number.to_string(),
            Value::Flag(flag) => flag.to_string(),
        };
        text.push_str(&format!(" {key}={value}"));
    }
    text
}

fn is_word(text: &str) -> bool {
    let is_loose = |c: char| c.is_whitespace() || c.is_control() || c == '"';
    !text.is_empty() && !text.contains(is_loose)
}

impl Event {
    /// An event of a level.
    pub(crate) fn new(level: Level, message: &str) -> Event {
        Event {
            level: level as u8,
            message: message.to_owned(),
            fields: Vec::new(),
        }
    }

    /// The same with a number.
    pub(crate) fn with(mut self, key: &str, number: u64) -> Event {
        self.fields.push((key.to_owned(), Value::Unsigned(number)));
        self
    }

    fn of(record: &Record<'_>) -> Event {
        let mut event = Event::new(record.level(), &record.args().to_string());
        // Neither the visitor nor what it is given fails.
        let _ = record.key_values().visit(&mut event);
        event
    }

    /// The events in a message that a process has sent: one, or a line of text each.
    pub(crate) fn all(message: &[u8]) -> Vec<Event> {
        if let Some(Sent::Event(mut event)) = Sent::from_bytes(message) {
            event.fields.truncate(MAX_FIELDS);
            event.fields.retain(|(key, _)| is_key(key));
            return vec![event];
        }
        let text = String::from_utf8_lossy(message);
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        lines.map(|line| Event::new(Level::Error, line)).collect()
    }

    /// Sends it to the logger, cut if it is too long.
    fn send(self) {
        let mut bytes = Sent::Event(self).to_bytes();
        if bytes.len() > MAX_LINE
            && let Some(Sent::Event(mut event)) = Sent::from_bytes(&bytes)
        {
            event.fields.clear();
            event.message = event.message.chars().take(MAX_LINE / 8).collect();
            bytes = Sent::Event(event).to_bytes();
        }
        if let Some(lost @ 1..) = log_channel::send(&bytes) {
            Event::new(Level::Warn, "log lines lost")
                .with("count", lost)
                .send();
        }
    }

    /// Its level.
    pub(crate) fn level(&self) -> Level {
        let mut levels = Level::iter();
        let level = levels.find(|level| *level as u8 == self.level);
        level.unwrap_or(Level::Error)
    }
}

/// Whether a key is one of ours: it can neither be taken for another nor end its
/// line.
fn is_key(key: &str) -> bool {
    let is_part = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
    key.starts_with(|c: char| c.is_ascii_lowercase()) && key.len() <= 32 && key.bytes().all(is_part)
}

impl<'v> VisitSource<'v> for Event {
    fn visit_pair(&mut self, key: Key<'v>, value: kv::Value<'v>) -> Result<(), kv::Error> {
        value.visit(Field { key, event: self })
    }
}

struct Field<'a, 'v> {
    key: Key<'v>,
    event: &'a mut Event,
}

impl Field<'_, '_> {
    fn add(&mut self, value: Value) -> Result<(), kv::Error> {
        self.event.fields.push((self.key.to_string(), value));
        Ok(())
    }
}

impl<'v> VisitValue<'v> for Field<'_, 'v> {
    fn visit_any(&mut self, value: kv::Value<'_>) -> Result<(), kv::Error> {
        self.add(Value::Word(value.to_string()))
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        Ok(())
    }

    fn visit_str(&mut self, value: &str) -> Result<(), kv::Error> {
        self.add(Value::Text(value.to_owned()))
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        self.add(Value::Unsigned(value))
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        self.add(Value::Signed(value))
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        self.add(Value::Flag(value))
    }
}

/// Control characters as `\xNN`.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_control_characters_stays_on_its_line() {
        assert_eq!(escape("a\nERROR b\u{1b}[2J"), "a\\nERROR b\\u{1b}[2J");
    }

    #[test]
    fn values_are_typed_and_none_can_forge_a_key() {
        let fields = [
            ("peer", kv::Value::from_display(&"192.0.2.1:7")),
            ("user", kv::Value::from("a \"b\"")),
            ("path", kv::Value::from_display(&"a b=c\n")),
            ("by", kv::Value::null()),
            ("slot", kv::Value::from(7)),
            ("at_once", kv::Value::from(true)),
            ("reason", kv::Value::from_display(&"END")),
        ];
        let record = Record::builder()
            .args(format_args!("login failed"))
            .level(Level::Warn)
            .key_values(&fields)
            .build();
        let event = Event::of(&record);
        let line = r#"[gate 3] login failed peer=192.0.2.1:7 user="a \"b\"" path="a b=c\n" slot=7 at_once=true reason="END""#;
        assert_eq!(text(("gate", 3), &event), line);
        let time = jiff::Timestamp::UNIX_EPOCH;
        let line = format!("1970-01-01T00:00:00.000Z WARN  {line}");
        assert_eq!(timed(&time, ("gate", 3), &event), line);
        let sent = Sent::Event(Event::of(&record)).to_bytes();
        assert_eq!(Event::all(&sent), [event]);
    }

    #[test]
    fn what_is_no_event_is_text_and_a_strange_key_is_left_out() {
        let events = Event::all(b"thread 'main' panicked\n\nat \xff\n");
        let texts: Vec<&str> = events.iter().map(|event| &*event.message).collect();
        assert_eq!(texts, ["thread 'main' panicked", "at \u{fffd}"]);
        let mut event = Event::new(Level::Info, "a").with("b", 1);
        for key in ["a b", "", "A", "\n", "_", "c=1 d"] {
            event = event.with(key, 2);
        }
        let sent = Sent::Event(event).to_bytes();
        let event = &Event::all(&sent)[0];
        assert_eq!(text(("gate", 3), event), "[gate 3] a b=1");
    }

    #[test]
    fn a_level_out_of_range_is_an_error() {
        let level = |level| {
            Event {
                level,
                ..Event::new(Level::Info, "")
            }
            .level()
        };
        assert_eq!(
            (level(5), level(0), level(6)),
            (Level::Trace, Level::Error, Level::Error)
        );
    }
}
