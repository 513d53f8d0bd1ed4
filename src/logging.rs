//! The log: one line an event to standard error, with `key=value` pairs, written
//! with one call so that lines of different processes don't mix.
//! Control characters are escaped: what a client sends can't forge a line.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use log::{Level, Record};

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
        log::error!("the log can't go back error=\"{e}\"");
    }
}

/// A log line: under systemd with its priority, elsewhere with time and level.
fn line(record: &Record<'_>, journal: bool) -> String {
    let pid = std::process::id();
    let text = escape(&record.args().to_string());
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
    fn lines_carry_a_priority_for_the_journal_and_a_time_elsewhere() {
        let args = format_args!("up");
        let record = Record::builder().args(args).level(Level::Warn).build();
        assert_eq!(line(&record, true), "<4>up\n");
        assert!(line(&record, false).contains("Z WARN  ["));
    }
}
