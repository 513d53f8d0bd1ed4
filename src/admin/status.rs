//! What operators see: the output of commands, and of `tfd status` and
//! `tfd kick`, which send one line to the control socket of a running tfd.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use rustix::fs::Mode;

use crate::daemon::helpers::control::request::Request;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Lets what a command makes have the modes that tfd(8) tells, whatever umask
/// it was called with: public keys for everybody to read, directories to pass
/// through, and nothing for others to write to.
pub fn set_modes() {
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
}

/// Writes a text to standard output: the exit code of the command that says no
/// more. Whoever reads it may have had enough; a disk that is full has not.
#[must_use]
pub fn say(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("tfd: standard output: {e}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Asks the tfd behind a control socket and prints what it says: the exit
/// code of the command.
#[must_use]
pub fn ask(control: &Path, request: &Request) -> ExitCode {
    let shown = control.display();
    match exchange(control, request) {
        Ok((0, text)) => say(&text),
        Ok((code, text)) => {
            eprint!("tfd: {text}");
            ExitCode::from(code)
        }
        Err(e) => {
            eprintln!("tfd: no daemon answers at {shown}: is it running? (sudo?): {e}");
            ExitCode::FAILURE
        }
    }
}

/// The addresses that the tfd behind a control socket listens on, and the path
/// of its configuration; `None` where none answers.
#[must_use]
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
fn exchange(control: &Path, request: &Request) -> io::Result<(u8, String)> {
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
