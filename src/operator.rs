//! `tfd status` and `tfd kick`: one line to the control socket of a running
//! tfd, and what it answers.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crate::daemon::desk::request::Request;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks the tfd behind a control socket and prints what it says: the exit
/// code of the command.
#[must_use]
pub fn ask(control: &Path, request: &Request) -> ExitCode {
    let shown = control.display();
    match exchange(control, request) {
        Ok((0, text)) => {
            // Whoever reads this may have had enough.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
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
