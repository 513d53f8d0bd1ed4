//! The audit log: one JSON object a line on who did what to which path. Sessions
//! report to the auditor, a process that only has the log open for appending, over
//! a socket on which the kernel gives the sender's process and uid: a session that
//! an attacker has taken over can lie about itself, but can neither speak for
//! another nor remove what is written.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::unistd::Pid;
use rustix::net::{RecvFlags, sockopt};
use serde::Serialize;

use crate::daemon::helpers::line_file::LineFile;
use crate::ipc::channel::{Channel, pair};
use crate::ipc::codec::Decode;
use crate::ipc::{Helper, Pipe, Poll};
use crate::sandbox::Sandbox;
use crate::sandbox::confinement::{Confinement, Duty};
use crate::session::audit::{MAX_RECORD, Outcome, Record};
use crate::text::{json_line, lossy};
use crate::trusted;
use crate::users::Identity;

/// The auditor, in the daemon.
#[derive(Debug)]
pub struct Auditor {
    /// Its process.
    pub pid: Pid,
    control: Pipe<OwnedFd, ()>,
    records: OwnedFd,
}

impl Auditor {
    /// Opens the log and starts the auditor.
    ///
    /// # Errors
    /// One line that says what could not be done.
    pub fn start(
        path: &Path,
        identity: Option<&Identity>,
        sandbox: &Sandbox,
    ) -> Result<Auditor, String> {
        let shown = path.display();
        let log = trusted::open_log(path).map_err(|e| format!("server.audit: {shown}: {e}"))?;
        let failed = |e: io::Error| format!("auditor: {e}");
        let (records, sessions) = pair().map_err(failed)?;
        sockopt::set_socket_passcred(&records, true).map_err(|e| failed(e.into()))?;
        let confinement = Confinement::new(identity, sandbox)?;
        let helper = Helper::spawn("auditor", |child| {
            let confined = confinement.with(Duty::Alone(None));
            child.enter(c"tfd-auditor", &confined, &[log.as_fd(), records.as_fd()])?;
            write_records(log, &child.channel, &records)
        })?;
        Ok(Auditor {
            pid: helper.pid,
            control: helper.channel,
            records: sessions.into_handle(),
        })
    }

    /// Makes the auditor continue in another file.
    ///
    /// # Errors
    /// The system's; it then continues in the old one.
    pub fn go_on_in(&self, log: File) -> io::Result<()> {
        self.control.send(&log.into())
    }
}

impl AsFd for Auditor {
    /// The socket on which sessions report.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.records.as_fd()
    }
}

/// Writes what a command of an operator has done, next to the auditor.
///
/// # Errors
/// The system's.
pub(crate) fn note(log: File, record: &Record) -> io::Result<()> {
    let (pid, uid) = (std::process::id().cast_signed(), nix::unistd::getuid());
    let line = Line::of(record, &jiff::Timestamp::now(), pid, uid.as_raw());
    LineFile::from(OwnedFd::from(log)).write(&line)
}

/// Writes the record in a session's message, if it is one.
fn record(log: &mut LineFile, message: &[u8], pid: i32, uid: u32) {
    let Some(record) = Record::from_bytes(message) else {
        return;
    };
    let line = Line::of(&record, &jiff::Timestamp::now(), pid, uid);
    if let Err(e) = log.write(&line) {
        log::error!(error:% = e, record:% = line.trim_end(); "audit log not written");
    }
}

/// What the auditor waits for.
enum Source {
    Daemon,
    Sessions,
}

/// Writes records until the daemon and all sessions have ended.
fn write_records(log: File, daemon: &Pipe<(), OwnedFd>, records: &Channel) -> io::Result<()> {
    let mut log = LineFile::from(OwnedFd::from(log));
    let mut is_over = false;
    let mut buffer = vec![0; MAX_RECORD];
    loop {
        let mut poll = Poll::default();
        if !is_over {
            poll.read(Source::Daemon, daemon);
        }
        poll.read(Source::Sessions, records);
        for (source, _) in poll.wait(None)? {
            match source {
                Source::Daemon => match daemon.receive() {
                    Ok(Some(file)) => log = LineFile::from(file),
                    _ => is_over = true,
                },
                Source::Sessions if !take_record(&mut log, records, &mut buffer)? => return Ok(()),
                Source::Sessions => {}
            }
        }
    }
}

/// Writes the next record; whether there may be more.
fn take_record(log: &mut LineFile, records: &Channel, buffer: &mut [u8]) -> io::Result<bool> {
    let sent = records.receive_stamped(buffer, RecvFlags::empty())?;
    if let Some(sent) = &sent
        && !sent.is_cut
    {
        record(log, &buffer[..sent.len], sent.pid, sent.uid);
    }
    Ok(sent.is_some())
}

/// A record in the form of the log.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    pid: i32,
    uid: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    user: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    peer: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    command: Cow<'a, str>,
    path: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    other: Cow<'a, str>,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    bytes: u64,
}

impl Line<'_> {
    fn of(record: &Record, time: &jiff::Timestamp, pid: i32, uid: u32) -> String {
        let (result, code) = match record.outcome {
            Outcome::Done => ("ok", None),
            Outcome::BrokenOff => ("broken off", None),
            Outcome::Lost => ("connection lost", None),
            Outcome::Failed(code) | Outcome::NoRoom { code, .. } => ("failed", code),
        };
        let cause = match record.outcome {
            Outcome::NoRoom { shortage, .. } => Some(shortage.to_string()),
            _ => None,
        };
        json_line(&Line {
            time: format!("{time:.3}"),
            pid,
            uid,
            user: lossy(&record.user),
            peer: lossy(&record.peer),
            command: lossy(&record.command),
            path: lossy(&record.path),
            other: lossy(&record.other),
            result,
            code,
            cause,
            bytes: record.bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::codec::Encode;
    use proptest::prelude::*;

    #[test]
    fn a_record_arrives_as_sent_and_becomes_one_line_of_json() {
        let record = Record {
            peer: b"[::1]:9".to_vec(),
            user: b"ann".to_vec(),
            command: b"RENAM".to_vec(),
            path: b"a\"\\\n\xff".to_vec(),
            other: "\u{9b}ü".as_bytes().to_vec(),
            outcome: Outcome::Failed(Some(31)),
            bytes: 7,
        };
        let bytes = record.to_bytes();
        assert_eq!(Record::from_bytes(&bytes).as_ref(), Some(&record));
        let time = jiff::Timestamp::UNIX_EPOCH;
        assert_eq!(
            Line::of(&record, &time, 3, 1000),
            "{\"time\":\"1970-01-01T00:00:00.000Z\",\"pid\":3,\"uid\":1000,\"user\":\"ann\",\
             \"peer\":\"[::1]:9\",\"command\":\"RENAM\",\"path\":\"a\\\"\\\\\\n\\\\xff\",\
             \"other\":\"\\u009bü\",\"result\":\"failed\",\"code\":31,\"bytes\":7}\n"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic_and_stay_on_one_line(
            bytes in proptest::collection::vec(any::<u8>(), 0..200)
        ) {
            if let Some(record) = Record::from_bytes(&bytes) {
                let line = Line::of(&record, &jiff::Timestamp::UNIX_EPOCH, 1, 2);
                prop_assert_eq!(line.lines().count(), 1);
            }
        }
    }
}
