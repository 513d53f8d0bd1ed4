//! The output of commands, and `tfd status` and `tfd kick`, which send one line
//! to the control socket of a running tfd.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use rustix::fs::Mode;

use crate::daemon::helpers::control::report::{Connection, GATE, Report};
use crate::daemon::helpers::control::request::{Request, Whom};
use crate::text::{human_size, shown};
use crate::users::throttle::Target;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sets the umask so that the files of a command have the modes that tfd(8)
/// promises: everybody may read public keys and pass through directories, and
/// nobody else may write.
pub fn set_modes() {
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
}

/// Writes a text to standard output; the exit code of the command. A closed pipe
/// is not an error, a full disk is.
pub fn say(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => fail(format!("standard output: {e}")),
        _ => ExitCode::SUCCESS,
    }
}

/// Prints why a command failed.
pub fn fail(why: impl Display) -> ExitCode {
    eprintln!("tfd: {why}");
    ExitCode::FAILURE
}

/// Sends a request to the tfd behind a control socket and prints its answer:
/// the exit code of the command.
pub fn ask(control: &Path, request: &Request) -> ExitCode {
    print(control, exchange(control, request))
}

/// Ends the sessions of a user, if there are any and a tfd runs.
pub fn kick_quietly(control: &Path, user: &str) {
    let request = Request::Kick(Whom::User(user.to_owned()));
    if let Err(e) = exchange(control, &request) {
        eprintln!("tfd: no session was ended: {}: {e}", control.display());
    }
}

/// Has the servers that share the state of a tfd free somebody.
///
/// # Errors
/// One line: why they have not heard of it.
pub fn free_elsewhere(control: &Path, target: Target) -> Result<(), String> {
    match exchange(control, &Request::Free(target)) {
        Ok((0, _)) => Ok(()),
        Ok((_, text)) => Err(text.trim_end().to_owned()),
        Err(e) => Err(format!("{}: {e}", control.display())),
    }
}

/// Prints the report of the tfd behind a control socket, as JSON or as a
/// table: the exit code of the command.
pub fn report(control: &Path, as_json: bool) -> ExitCode {
    let answer = exchange(control, &Request::Status).and_then(|(code, text)| match code {
        0 if !as_json => Ok((code, table(&serde_json::from_str(&text)?))),
        _ => Ok((code, text)),
    });
    print(control, answer)
}

fn print(control: &Path, answer: io::Result<(u8, String)>) -> ExitCode {
    match answer {
        Ok((0, text)) => say(&text),
        Ok((code, text)) => {
            eprint!("tfd: {text}");
            ExitCode::from(code)
        }
        Err(e) => fail(no_daemon(control, &e)),
    }
}

/// What an operator reads where none answers.
pub fn no_daemon(control: &Path, error: &io::Error) -> String {
    let control = control.display();
    format!("no daemon answers at {control}: is it running? (sudo?): {error}")
}

/// The addresses that the tfd behind a control socket listens on, and the path
/// of its configuration; `None` where none answers.
pub fn serving(control: &Path) -> Option<(Vec<SocketAddr>, PathBuf)> {
    let (code, text) = exchange(control, &Request::Serving).ok()?;
    let (addresses, path) = text.strip_suffix('\n')?.split_once('\n')?;
    let addresses = addresses
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>();
    Some((addresses.ok()?, PathBuf::from(path))).filter(|_| code == 0)
}

/// The exit code and the text that a tfd answers with.
///
/// # Errors
/// Nobody answers.
pub fn exchange(control: &Path, request: &Request) -> io::Result<(u8, String)> {
    let mut stream = UnixStream::connect(control)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{}\n", request.to_line()).as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let answer = answer.split_once('\n').and_then(|(code, text)| {
        let text = text.strip_suffix('\n')?;
        Some((code.parse().ok()?, format!("{text}\n")))
    });
    answer.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// The report as a table.
fn table(report: &Report) -> String {
    let all = report.connections.len();
    let gates = report.connections.iter().filter(|one| one.state == GATE);
    let gates = gates.count();
    let sessions = all - gates;
    let mut text = format!(
        "tfd {} pid {} up {}: {sessions} session{}, {gates} logging in, at most {}{}\n",
        report.version,
        report.pid,
        span(report.uptime_seconds),
        if sessions == 1 { "" } else { "s" },
        report.limit,
        if report.stopping { ", stopping" } else { "" },
    );
    text.extend(report.services.iter().map(service));
    if all == 0 {
        return text;
    }
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(report.connections.iter().map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; HEAD.len()] = std::array::from_fn(|column| width(column).unwrap_or(0));
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate();
        let line: Vec<String> = cells
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

/// What a service publishes, in a line.
fn service((name, figures): (&String, &BTreeMap<String, u64>)) -> String {
    let figure = |(name, value): (&String, &u64)| match name.strip_suffix("_bytes") {
        Some(name) => format!("{name} {}", human_size(*value)),
        None => format!("{} {value}", name.replace('_', " ")),
    };
    let figures: Vec<String> = figures.iter().map(figure).collect();
    format!("{name}: {}\n", figures.join(", "))
}

const HEAD: [&str; 9] = [
    "SLOT", "PID", "USER", "ADDRESS", "SINCE", "IN", "OUT", "RATE", "DOING",
];

fn row(connection: &Connection) -> [String; HEAD.len()] {
    let user = connection.user.as_deref();
    [
        connection.slot.to_string(),
        connection.pid.to_string(),
        user.map_or_else(|| "-".to_owned(), |user| shown(user.as_bytes())),
        connection.peer.to_string(),
        shown(connection.since.as_bytes()),
        human_size(connection.bytes_received),
        human_size(connection.bytes_sent),
        format!("{}/s", human_size(connection.bytes_per_second)),
        doing(connection),
    ]
}

fn doing(connection: &Connection) -> String {
    match &connection.request {
        _ if connection.state == GATE => "logging in".to_owned(),
        None => "-".to_owned(),
        Some(request) => {
            let [command, path] = [&request.command, &request.path].map(|t| shown(t.as_bytes()));
            format!("{command} {path} {:.0}s", request.seconds.trunc())
        }
    }
}

/// A span of seconds as 3d04:05:06.
fn span(seconds: u64) -> String {
    let (days, seconds) = (seconds / 86400, seconds % 86400);
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let days = if days > 0 {
        format!("{days}d")
    } else {
        String::new()
    };
    format!("{days}{hours:02}:{minutes:02}:{:02}", seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_can_not_drive_the_terminal() {
        let line = r#"{"slot":3,"pid":7,"protocol":"tf","state":"session","user":null,"peer":"[::1]:9","since":"",
            "bytes_received":2048,"bytes_sent":1,"bytes_per_second":10,
            "request":{"command":"SNDFILE","path":"a\"\u001b[2J\n\\xff","seconds":0.999}}"#;
        let connection = serde_json::from_str(line).expect("JSON");
        assert_eq!(doing(&connection), "SNDFILE a\"\\u{1b}[2J\\n\\xff 0s");
    }

    #[test]
    fn spans_are_short() {
        assert_eq!(span(59), "00:00:59");
        assert_eq!(span(3 * 86400 + 3661), "3d01:01:01");
    }
}
