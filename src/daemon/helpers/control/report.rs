//! `tfd status`: the connections and what they do, as a table for people or as
//! JSON for programs. The keys of the JSON are told in tfd(8) and stay.

use std::time::Duration;

use crate::daemon::helpers::auditor::json;
use crate::daemon::helpers::control::view::{Entry, View};
use crate::session::slots::now;
use crate::text::{human_size, shown};

/// The addresses listened on, and the path of the configuration.
#[must_use]
pub fn serving(view: &View<'_>) -> String {
    let listening: Vec<String> = view.listening.iter().map(ToString::to_string).collect();
    format!("{}\n{}\n", listening.join(" "), view.config.display())
}

/// How long bytes are watched for their rate.
const WATCH: Duration = Duration::from_secs(1);

/// A connection, and how many bytes a second it moves.
struct Line {
    entry: Entry,
    rate: u64,
}

/// The report, a second after the call.
#[must_use]
pub fn status(view: &View<'_>, as_json: bool) -> String {
    let before = view.entries();
    std::thread::sleep(WATCH);
    let moved = |entry: &Entry| entry.received.wrapping_add(entry.sent);
    let earlier = |slot| {
        before
            .iter()
            .find(|entry| entry.slot == slot)
            .map_or(0, moved)
    };
    let lines: Vec<Line> = view
        .entries()
        .into_iter()
        .map(|entry| Line {
            rate: moved(&entry).saturating_sub(earlier(entry.slot)),
            entry,
        })
        .collect();
    if as_json {
        object(view, &lines)
    } else {
        table(view, &lines)
    }
}

fn since(age: Duration) -> String {
    let begin = jiff::SignedDuration::try_from(age)
        .ok()
        .and_then(|age| jiff::Timestamp::now().checked_sub(age).ok());
    begin.map_or_else(String::new, |begin| format!("{begin:.0}"))
}

fn table(view: &View<'_>, lines: &[Line]) -> String {
    let gates = lines.iter().filter(|line| !line.entry.admitted).count();
    let head = [
        "SLOT", "PID", "USER", "ADDRESS", "SINCE", "IN", "OUT", "RATE", "DOING",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(lines.iter().map(|Line { entry, rate }| {
        [
            entry.slot.to_string(),
            entry.process.to_string(),
            entry
                .user
                .as_ref()
                .map_or_else(|| "-".to_owned(), |user| shown(user.as_bytes())),
            entry.peer.to_string(),
            since(entry.age),
            human_size(entry.received),
            human_size(entry.sent),
            format!("{}/s", human_size(*rate)),
            doing(entry),
        ]
    }));
    let sessions = lines.len() - gates;
    let s = if sessions == 1 { "" } else { "s" };
    let mut text = format!(
        "tfd {} pid {} up {}: {sessions} session{s}, {gates} logging in, at most {}{}\n",
        env!("CARGO_PKG_VERSION"),
        view.process,
        span(view.born.elapsed()),
        view.limit,
        if view.stopping { ", stopping" } else { "" },
    );
    if lines.is_empty() {
        return text;
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..head.len())
        .map(|column| width(column).unwrap_or(0))
        .collect();
    for row in &rows {
        let line: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, width))| match column {
                0 | 1 | 5..=7 => format!("{cell:>width$}"),
                _ => format!("{cell:width$}"),
            })
            .collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn doing(entry: &Entry) -> String {
    match &entry.doing {
        _ if !entry.admitted => "logging in".to_owned(),
        Some(doing) => {
            let seconds = now().saturating_sub(doing.begun).as_secs();
            format!(
                "{} {} {seconds}s",
                shown(&doing.command),
                shown(&doing.path)
            )
        }
        None => "-".to_owned(),
    }
}

/// A span as 3d04:05:06.
fn span(span: Duration) -> String {
    let (days, seconds) = (span.as_secs() / 86400, span.as_secs() % 86400);
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let days = if days > 0 {
        format!("{days}d")
    } else {
        String::new()
    };
    format!("{days}{hours:02}:{minutes:02}:{:02}", seconds % 60)
}

fn object(view: &View<'_>, lines: &[Line]) -> String {
    let connections: Vec<String> = lines.iter().map(connection).collect();
    format!(
        "{{\"version\":\"{}\",\"pid\":{},\"uptime_seconds\":{},\"limit\":{},\"stopping\":{},\
         \"connections\":[{}]}}\n",
        env!("CARGO_PKG_VERSION"),
        view.process,
        view.born.elapsed().as_secs(),
        view.limit,
        view.stopping,
        connections.join(","),
    )
}

fn connection(Line { entry, rate }: &Line) -> String {
    let user = entry
        .user
        .as_ref()
        .map(|user| format!("\"{}\"", json(user.as_bytes())));
    let request = entry.doing.as_ref().map(|doing| {
        format!(
            "{{\"command\":\"{}\",\"path\":\"{}\",\"seconds\":{:.3}}}",
            json(&doing.command),
            json(&doing.path),
            now().saturating_sub(doing.begun).as_secs_f64()
        )
    });
    let null = || "null".to_owned();
    format!(
        "{{\"slot\":{},\"pid\":{},\"state\":\"{}\",\"user\":{},\"peer\":\"{}\",\"since\":\"{}\",\
         \"bytes_received\":{},\"bytes_sent\":{},\"bytes_per_second\":{rate},\"request\":{}}}",
        entry.slot,
        entry.process,
        if entry.admitted { "session" } else { "gate" },
        user.unwrap_or_else(null),
        entry.peer,
        since(entry.age),
        entry.received,
        entry.sent,
        request.unwrap_or_else(null),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::slots::Doing;

    fn line() -> Line {
        let doing = Doing {
            command: b"SNDFILE".to_vec(),
            begun: now(),
            path: b"a\"\x1b[2J\n\xff".to_vec(),
        };
        let entry = Entry {
            slot: 3,
            peer: "[::1]:9".parse().expect("address"),
            age: Duration::from_secs(5),
            user: None,
            admitted: true,
            process: 7,
            received: 2048,
            sent: 1,
            doing: Some(doing),
        };
        Line { entry, rate: 10 }
    }

    #[test]
    fn a_path_can_neither_drive_the_terminal_nor_break_the_json() {
        let line = line();
        assert_eq!(doing(&line.entry), "SNDFILE a\"\\u{1b}[2J\\n\\xff 0s");
        let text = connection(&line);
        assert!(
            text.contains("\"path\":\"a\\\"\\u001b[2J\\u000a\\\\xff\""),
            "{text}"
        );
        assert!(
            text.contains("\"user\":null,\"peer\":\"[::1]:9\""),
            "{text}"
        );
    }

    #[test]
    fn spans_are_short() {
        assert_eq!(span(Duration::from_secs(59)), "00:00:59");
        assert_eq!(span(Duration::from_secs(3 * 86400 + 3661)), "3d01:01:01");
    }
}
