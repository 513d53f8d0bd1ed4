//! The log: one line an event to standard error, with `key=value` pairs, written
//! with one call so that lines of different processes don't mix.
//! Control characters are escaped: what a client sends can't forge a line.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use log::kv::{self, Key, Value, VisitSource, VisitValue};
use log::{Level, Record};

/// Keys whose values are quoted even if they are one word.
const TEXTS: [&str; 2] = ["error", "reason"];

/// Sets the log up. `filter` is a level or a list of `module=level`;
/// `RUST_LOG` overrides it. Lines for a file have time and level, also under
/// systemd.
pub fn start(filter: &str, to_file: bool) {
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| filter.to_owned());
    let journal = !to_file && std::env::var_os("JOURNAL_STREAM").is_some();
    let _ = env_logger::Builder::new()
        .parse_filters(&filter)
        .format(move |out, record| out.write_all(line(record, journal).as_bytes()))
        .try_init();
    log::set_max_level(log::max_level());
}

/// Makes a file standard error, for this process and those it starts from now
/// on; returns the previous one.
///
/// # Errors
/// One line with the reason; nothing changes then.
pub fn go_on_in(path: &Path) -> Result<OwnedFd, String> {
    let in_log = |e: io::Error| format!("{}: {e}", path.display());
    let file = crate::trusted::open_log(path).map_err(in_log)?;
    let before = io::stderr().as_fd().try_clone_to_owned().map_err(in_log)?;
    rustix::stdio::dup2_stderr(&file).map_err(|e| in_log(e.into()))?;
    Ok(before)
}

/// Restores what [`go_on_in`] has replaced.
pub fn go_back_to(before: &OwnedFd) {
    if let Err(e) = rustix::stdio::dup2_stderr(before) {
        log::error!(error:% = e; "the log can't go back");
    }
}

/// A log line: under systemd with its priority, elsewhere with time and level.
fn line(record: &Record<'_>, journal: bool) -> String {
    let pid = std::process::id();
    let text = text(record);
    if journal {
        let priority = match record.level() {
            Level::Error => 3,
            Level::Warn => 4,
            Level::Info => 6,
            Level::Debug | Level::Trace => 7,
        };
        return format!("<{priority}>{text}\n");
    }
    let now = jiff::Timestamp::now();
    format!("{now:.3} {:5} [{pid}] {text}\n", record.level())
}

/// The message and its keys: `login failed peer=192.0.2.1 reason="wrong password"`.
fn text(record: &Record<'_>) -> String {
    let mut text = Text(escape(&record.args().to_string()));
    // Neither the visitor nor what it is given fails.
    let _ = record.key_values().visit(&mut text);
    text.0
}

struct Text(String);

impl<'v> VisitSource<'v> for Text {
    fn visit_pair(&mut self, key: Key<'v>, value: Value<'v>) -> Result<(), kv::Error> {
        value.visit(Field { key, text: self })
    }
}

struct Field<'a, 'v> {
    key: Key<'v>,
    text: &'a mut Text,
}

impl Field<'_, '_> {
    fn add(&mut self, value: &str) {
        self.text.0.push_str(&format!(" {}={value}", self.key));
    }
}

impl<'v> VisitValue<'v> for Field<'_, 'v> {
    /// A value that is one word stands as it is, unless its key says that it is
    /// a text.
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), kv::Error> {
        let text = value.to_string();
        let is_loose = |c: char| c.is_whitespace() || c.is_control() || c == '"';
        if text.is_empty() || text.contains(is_loose) || TEXTS.contains(&self.key.as_str()) {
            return self.visit_str(&text);
        }
        self.add(&text);
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        Ok(())
    }

    fn visit_str(&mut self, value: &str) -> Result<(), kv::Error> {
        self.add(&format!("{value:?}"));
        Ok(())
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
            ("peer", Value::from_display(&"192.0.2.1:7")),
            ("user", Value::from("a \"b\"")),
            ("path", Value::from_display(&"a b=c\n")),
            ("by", Value::null()),
            ("slot", Value::from(7)),
            ("reason", Value::from_display(&"END")),
        ];
        let record = Record::builder()
            .args(format_args!("login failed"))
            .key_values(&fields)
            .build();
        assert_eq!(
            text(&record),
            r#"login failed peer=192.0.2.1:7 user="a \"b\"" path="a b=c\n" slot=7 reason="END""#
        );
    }

    #[test]
    fn lines_carry_a_priority_for_the_journal_and_a_time_elsewhere() {
        let args = format_args!("up");
        let record = Record::builder().args(args).level(Level::Warn).build();
        assert_eq!(line(&record, true), "<4>up\n");
        assert!(line(&record, false).contains("Z WARN  ["));
    }
}
