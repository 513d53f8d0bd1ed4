//! The audit log: one JSON object a line on who did what to which path. A
//! session tells the auditor, a process that has the log open for appending
//! and nothing else, over a socket on which the kernel says which process with
//! which uid is speaking: a session that was taken over can lie about itself,
//! but it can neither speak for another nor take back what is written.

use std::fs::File;
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::unistd::{Pid, getpid};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg, sockopt,
};

use crate::ipc::channel::{Channel, pair};
use crate::sandbox::Sandbox;
use crate::sandbox::confinement::{Confinement, finish};
use crate::sys::process::fork;
use crate::tf::operation::{Operation, Outcome, Subject};
use crate::trusted;
use crate::users::Identity;

/// The longest path that is put on record whole, in bytes.
const MAX_PATH: usize = 4096;

/// No message is longer: five texts with their lengths, and the rest.
const MAX_RECORD: usize = 2 * MAX_PATH + 1024;

/// The auditor, in the daemon.
#[derive(Debug)]
pub struct Auditor {
    /// Its process.
    pub pid: Pid,
    control: Channel,
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
        let (control, theirs) = pair().map_err(failed)?;
        let (records, sessions) = pair().map_err(failed)?;
        sockopt::set_socket_passcred(&records, true).map_err(|e| failed(e.into()))?;
        let confinement = Confinement::new(identity, sandbox)?;
        let parent = getpid();
        let child = || {
            let run = || {
                let handles = [log.as_fd(), theirs.as_fd(), records.as_fd()];
                confinement.enter_as_leaf(parent, &handles, None)?;
                let _ = nix::sys::prctl::set_name(c"tfd-auditor");
                write_records(log, &theirs, &records)
            };
            finish("auditor", run())
        };
        let pid = fork(child).map_err(failed)?;
        Ok(Auditor {
            pid,
            control,
            records: sessions.into_handle(),
        })
    }

    /// Lets the auditor go on in another file.
    ///
    /// # Errors
    /// The system's; it goes on in the old one then.
    pub fn go_on_in(&self, log: &File) -> io::Result<()> {
        self.control.send(&[0], &[log.as_fd()])
    }
}

impl AsFd for Auditor {
    /// The socket on which sessions tell what they did.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.records.as_fd()
    }
}

/// The file that records go to.
struct Log {
    file: File,
    /// Whether its last line stopped short, on a disk that was full.
    is_broken: bool,
}

impl Log {
    /// Writes a line, on a new one if the last stopped short.
    fn write(&mut self, line: &str) -> io::Result<()> {
        let before = if self.is_broken { "\n" } else { "" };
        let text = [before, line].concat();
        let mut left = text.as_bytes();
        while !left.is_empty() {
            match self.file.write(left) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    left = &left[n..];
                    self.is_broken = !left.is_empty();
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// Writes records until the daemon and all sessions are gone.
fn write_records(log: File, daemon: &Channel, records: &Channel) -> io::Result<()> {
    let mut log = Log {
        file: log,
        is_broken: false,
    };
    let mut daemon = Some(daemon);
    let mut buffer = vec![0; MAX_RECORD];
    loop {
        let mut fds = vec![PollFd::new(records, PollFlags::IN)];
        fds.extend(daemon.map(|daemon| PollFd::new(daemon, PollFlags::IN)));
        match poll(&mut fds, None) {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        if ready.get(1) == Some(&true)
            && let Some(channel) = daemon
        {
            match channel.receive(&mut [0; 1]) {
                Ok((1, handles)) => {
                    let file = handles.into_iter().next().map(File::from);
                    log = file.map_or(log, |file| Log {
                        file,
                        is_broken: false,
                    });
                }
                _ => daemon = None,
            }
        }
        if ready[0] {
            let Some((pid, uid, len)) = receive(records, &mut buffer)? else {
                return Ok(());
            };
            let Some(record) = Record::from_bytes(&buffer[..len]) else {
                continue;
            };
            let line = record.line(&jiff::Timestamp::now(), pid, uid);
            if let Err(e) = log.write(&line) {
                log::error!("audit log not written error=\"{e}\" record={line}");
            }
        }
    }
}

/// One message and the process it is from, as the kernel says; `None` when
/// nobody is left to send one.
fn receive(records: &Channel, buffer: &mut [u8]) -> io::Result<Option<(i32, u32, usize)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let parts = &mut [io::IoSliceMut::new(buffer)];
    let received = recvmsg(records, parts, &mut beside, RecvFlags::CMSG_CLOEXEC)?;
    let sender = beside.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmCredentials(sender) => Some(sender),
        _ => None,
    });
    let Some(sender) = sender else {
        return Ok(None);
    };
    let len = if received.flags.contains(ReturnFlags::TRUNC) {
        0
    } else {
        received.bytes
    };
    Ok(Some((
        sender.pid.as_raw_nonzero().get(),
        sender.uid.as_raw(),
        len,
    )))
}

/// What a session tells.
#[derive(Debug, PartialEq, Eq)]
struct Record<'a> {
    peer: &'a [u8],
    user: &'a [u8],
    command: &'a [u8],
    path: &'a [u8],
    other: &'a [u8],
    outcome: Outcome,
    bytes: u64,
}

impl<'a> Record<'a> {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.bytes.to_be_bytes().to_vec();
        bytes.extend_from_slice(&match self.outcome {
            Outcome::Done => [0, 0],
            Outcome::BrokenOff => [1, 0],
            Outcome::Lost => [2, 0],
            Outcome::Failed(status) => [3, status.map_or(0, crate::tf::status::Status::code)],
        });
        for text in [self.peer, self.user, self.command, self.path, self.other] {
            let text = &text[..text.len().min(MAX_PATH)];
            bytes.extend_from_slice(&(text.len() as u16).to_be_bytes());
            bytes.extend_from_slice(text);
        }
        bytes
    }

    fn from_bytes(bytes: &'a [u8]) -> Option<Record<'a>> {
        let (count, rest) = bytes.split_first_chunk()?;
        let (outcome, mut rest) = rest.split_first_chunk::<2>()?;
        let outcome = match *outcome {
            [0, 0] => Outcome::Done,
            [1, 0] => Outcome::BrokenOff,
            [2, 0] => Outcome::Lost,
            [3, 0] => Outcome::Failed(None),
            [3, code] => Outcome::Failed(Some(crate::tf::status::Status::from_code(code.into())?)),
            _ => return None,
        };
        let mut text = || {
            let (len, behind) = rest.split_first_chunk::<2>()?;
            let (text, behind) = behind.split_at_checked(u16::from_be_bytes(*len).into())?;
            rest = behind;
            Some(text)
        };
        let (peer, user, command) = (text()?, text()?, text()?);
        let (path, other) = (text()?, text()?);
        let bytes = u64::from_be_bytes(*count);
        Some(Record {
            peer,
            user,
            command,
            path,
            other,
            outcome,
            bytes,
        })
    }

    /// The line of the log.
    fn line(&self, time: &jiff::Timestamp, pid: i32, uid: u32) -> String {
        let mut line = format!("{{\"time\":\"{time:.3}\",\"pid\":{pid},\"uid\":{uid}");
        let texts = [
            ("user", self.user),
            ("peer", self.peer),
            ("command", self.command),
            ("path", self.path),
            ("other", self.other),
        ];
        for (key, text) in texts
            .into_iter()
            .filter(|(key, text)| *key == "path" || !text.is_empty())
        {
            line.push_str(&format!(",\"{key}\":\"{}\"", json(text)));
        }
        let (result, code) = match self.outcome {
            Outcome::Done => ("ok", None),
            Outcome::BrokenOff => ("broken off", None),
            Outcome::Lost => ("connection lost", None),
            Outcome::Failed(status) => ("failed", status.map(crate::tf::status::Status::code)),
        };
        line.push_str(&format!(",\"result\":\"{result}\""));
        if let Some(code) = code {
            line.push_str(&format!(",\"code\":{code}"));
        }
        line.push_str(&format!(",\"bytes\":{}}}\n", self.bytes));
        line
    }
}

/// A text as it stands in JSON; a byte that is no UTF-8 becomes `\\xNN`.
pub(crate) fn json(text: &[u8]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => escaped.push_str("\\\""),
                '\\' => escaped.push_str("\\\\"),
                c if c.is_control() => escaped.push_str(&format!("\\u{:04x}", u32::from(c))),
                c => escaped.push(c),
            }
        }
        for byte in chunk.invalid() {
            escaped.push_str(&format!("\\\\x{byte:02x}"));
        }
    }
    escaped
}

/// A session's voice in the audit log, or silence where there is none.
#[derive(Debug)]
pub struct Audit {
    records: Option<Channel>,
    peer: String,
    user: String,
}

impl Audit {
    /// The voice of a session on the socket that [`Auditor`] listens to.
    #[must_use]
    pub fn new(records: Option<OwnedFd>, peer: SocketAddr, user: &str) -> Audit {
        let records = records.map(Channel::from_handle);
        Audit {
            records,
            peer: peer.to_string(),
            user: user.to_owned(),
        }
    }

    /// Puts the begin of the session on record.
    ///
    /// # Errors
    /// When the auditor is gone.
    pub fn begin(&mut self, certificate: bool) -> io::Result<()> {
        let other = if certificate {
            b"certificate".to_vec()
        } else {
            Vec::new()
        };
        let subject = Subject {
            command: "BEGIN",
            path: Vec::new(),
            other,
        };
        self.record(Operation {
            subject,
            outcome: Outcome::Done,
            bytes: 0,
        })
    }
}

impl Audit {
    /// Puts a request that is over on record.
    ///
    /// # Errors
    /// When the auditor is gone.
    pub fn record(&mut self, operation: Operation) -> io::Result<()> {
        let Some(records) = &self.records else {
            return Ok(());
        };
        let record = Record {
            peer: self.peer.as_bytes(),
            user: self.user.as_bytes(),
            command: operation.subject.command.as_bytes(),
            path: &operation.subject.path,
            other: &operation.subject.other,
            outcome: operation.outcome,
            bytes: operation.bytes,
        };
        records.send(&record.to_bytes(), &[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tf::status::Status;
    use proptest::prelude::*;

    #[test]
    fn a_record_arrives_as_sent_and_becomes_one_line_of_json() {
        let record = Record {
            peer: b"[::1]:9",
            user: b"ann",
            command: b"RENAM",
            path: b"a\"\\\n\xff",
            other: "\u{9b}ü".as_bytes(),
            outcome: Outcome::Failed(Some(Status::Rename)),
            bytes: 7,
        };
        let bytes = record.to_bytes();
        assert_eq!(Record::from_bytes(&bytes).as_ref(), Some(&record));
        let time = jiff::Timestamp::UNIX_EPOCH;
        assert_eq!(
            record.line(&time, 3, 1000),
            "{\"time\":\"1970-01-01T00:00:00.000Z\",\"pid\":3,\"uid\":1000,\"user\":\"ann\",\
             \"peer\":\"[::1]:9\",\"command\":\"RENAM\",\"path\":\"a\\\"\\\\\\u000a\\\\xff\",\
             \"other\":\"\\u009bü\",\"result\":\"failed\",\"code\":31,\"bytes\":7}\n"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic_and_stay_on_one_line(
            bytes in proptest::collection::vec(any::<u8>(), 0..200)
        ) {
            if let Some(record) = Record::from_bytes(&bytes) {
                let line = record.line(&jiff::Timestamp::UNIX_EPOCH, 1, 2);
                prop_assert_eq!(line.lines().count(), 1);
            }
        }
    }
}
