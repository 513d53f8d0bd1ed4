//! A program whose standard input and output are a connection to a server, as ssh
//! makes one through another machine. No shell starts it.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use super::error::{ClientError, Result};

/// How long a program may take to end after its connection.
const GRACE: Duration = Duration::from_millis(500);

/// How often to look whether it has.
const PAUSE: Duration = Duration::from_millis(5);

/// A running program. It ends with this.
#[derive(Debug)]
pub(super) struct Program(Child);

impl Program {
    /// Starts it; the connection.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn start(arguments: &[OsString]) -> io::Result<(Program, TcpStream)> {
        let (name, others) = arguments.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let (ours, theirs) = UnixStream::pair()?;
        let output = theirs.try_clone()?;
        let child = Command::new(name)
            .args(others)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(OwnedFd::from(output)))
            .spawn()?;
        Ok((Program(child), TcpStream::from(OwnedFd::from(ours))))
    }

    /// How it has ended, if it does soon.
    fn end(&mut self) -> Option<ExitStatus> {
        let begin = Instant::now();
        loop {
            match self.0.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if begin.elapsed() < GRACE => std::thread::sleep(PAUSE),
                _ => return None,
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The connection is closed: what was sent last may still be on its way.
        if self.end().is_none() {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// A machine through which a server is reached: `ssh:[user@]host[:port]`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Via {
    machine: String,
    port: Option<u16>,
}

/// What is wrong with a [`Via`].
#[derive(Debug, thiserror::Error)]
#[error("write ssh:[user@]host[:port]")]
pub struct BadVia;

impl FromStr for Via {
    type Err = BadVia;

    fn from_str(text: &str) -> std::result::Result<Via, BadVia> {
        let rest = text.strip_prefix("ssh:").ok_or(BadVia)?;
        // The colons of an address of IPv6 are within brackets.
        let (machine, port) = match rest.rsplit_once(':') {
            Some((machine, port)) if !port.ends_with(']') => {
                (machine, Some(port.parse().map_err(|_| BadVia)?))
            }
            _ => (rest, None),
        };
        let machine = machine.replace(['[', ']'], "");
        // ssh would take it for an option.
        let is_word = !machine.contains(|c: char| c.is_whitespace() || c.is_control());
        match is_word && !machine.is_empty() && !machine.starts_with('-') {
            true => Ok(Via { machine, port }),
            false => Err(BadVia),
        }
    }
}

impl TryFrom<String> for Via {
    type Error = BadVia;

    fn try_from(text: String) -> std::result::Result<Via, BadVia> {
        text.parse()
    }
}

impl From<Via> for String {
    fn from(via: Via) -> String {
        via.to_string()
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Via { machine, port } = self;
        match (machine.contains(':'), port) {
            (false, None) => write!(f, "ssh:{machine}"),
            (true, None) => write!(f, "ssh:[{machine}]"),
            (false, Some(port)) => write!(f, "ssh:{machine}:{port}"),
            (true, Some(port)) => write!(f, "ssh:[{machine}]:{port}"),
        }
    }
}

impl Via {
    /// Starts ssh, which connects its ends to the server.
    ///
    /// # Errors
    /// `Connect` when it cannot be started.
    pub(super) fn reach(&self, server: &str) -> Result<(Program, TcpStream)> {
        let mut arguments = vec!["ssh".to_owned(), "-W".to_owned(), server.to_owned()];
        if let Some(port) = self.port {
            arguments.extend(["-p".to_owned(), port.to_string()]);
        }
        arguments.extend(["--".to_owned(), self.machine.clone()]);
        let arguments: Vec<OsString> = arguments.into_iter().map(OsString::from).collect();
        Program::start(&arguments).map_err(|e| {
            let source = io::Error::new(e.kind(), format!("can't start ssh: {e}"));
            self.failed(server, source)
        })
    }

    /// The cause of a connection that ended in the handshake: ssh, if it has ended
    /// with a failure. It has said why.
    pub(super) fn blame(&self, program: &mut Program, server: &str, e: ClientError) -> ClientError {
        let failed = matches!(e, ClientError::Handshake(_))
            .then(|| program.end())
            .flatten()
            .filter(|status| !status.success());
        match failed {
            Some(status) => {
                let text = format!("ssh to {} ended with {status}", self.machine);
                self.failed(server, io::Error::other(text))
            }
            None => e,
        }
    }

    fn failed(&self, server: &str, source: io::Error) -> ClientError {
        ClientError::Connect {
            server: format!("{server} via {self}"),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_named_as_ssh_names_it() {
        for text in [
            "ssh:jump",
            "ssh:ann@jump.example.org:2222",
            "ssh:[2001:db8::7]:22",
            "ssh:ann@192.0.2.7",
        ] {
            let via: Via = text.parse().expect(text);
            assert_eq!(via.to_string(), text);
        }
        for text in [
            "jump",
            "ssh:",
            "ssh:-oProxyCommand=x",
            "ssh:a b",
            "ssh:a:b",
            "ssh:a:70000",
        ] {
            assert!(text.parse::<Via>().is_err(), "{text}");
        }
    }
}
