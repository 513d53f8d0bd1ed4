//! A protocol of tests: lines. `LOGIN name password`, then `PUT name text`,
//! `GET name`, `DIAL port text` (sends the text to that port of the client),
//! `ACCEPT` (writes a port to the file `port` and answers what arrives), `END`.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;

use rustix::fs::{Mode, OFlags};

use crate::net::link::Meter;
use crate::session::audit::{Observer, Operation, Outcome, Subject};
use crate::session::context::{Context, End};
use crate::session::login::Login;
use crate::session::protocol::{Gate, Gated, Protocol, Serve};
use crate::store::{Policy, RootPath};
use crate::users::Rights;

/// The protocol.
#[derive(Debug)]
pub struct Echo;

impl Protocol for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn has_data_connections(&self) -> bool {
        true
    }

    fn gate(&self, gate: Gate<'_>) -> io::Result<Gated<'_>> {
        let mut lines = BufReader::new(gate.socket.try_clone()?).lines();
        let Some(channel) = gate.keeper.enter()? else {
            return Ok(Gated::Done);
        };
        let mut login = Login::new(channel, gate.steps, None);
        for line in lines.by_ref().take(3) {
            let line = line?;
            let words: Vec<&str> = line.splitn(3, ' ').collect();
            let &["LOGIN", name, password] = words.as_slice() else {
                break;
            };
            if let Err(why) = login.password(name.as_bytes(), password.as_bytes(), None)? {
                writeln!(&gate.socket, "NO {why}")?;
                continue;
            }
            writeln!(&gate.socket, "OK")?;
            login.hand_over(&gate.socket, b"state")?;
            break;
        }
        Ok(Gated::Done)
    }

    fn resume(&self, socket: TcpStream, state: &[u8], _meter: Meter) -> io::Result<Serve<'_>> {
        assert_eq!(state, b"state");
        Ok(Box::new(move |mut context| {
            let mut input = BufReader::new(&socket);
            let mut line = String::new();
            while matches!(input.read_line(&mut line), Ok(1..)) && line != "END\n" {
                let command = line.split(' ').next().unwrap_or_default();
                let subject = Subject {
                    command: if command == "PUT" { "PUT" } else { "OTHER" },
                    path: line.trim_end().as_bytes().to_vec(),
                    other: Vec::new(),
                };
                context.observer.begins(&subject);
                let answer = run(&mut context, line.trim_end());
                let outcome = answer
                    .as_ref()
                    .map_or(Outcome::Failed(Some(7)), |_| Outcome::Done);
                let bytes = line.len() as u64;
                let text = answer.unwrap_or_else(|e| format!("NO {e}"));
                let recorded = context.observer.ended(Operation {
                    subject,
                    outcome,
                    bytes,
                });
                if recorded.and_then(|()| writeln!(&socket, "{text}")).is_err() {
                    break;
                }
                line.clear();
            }
            End::Orderly("END".to_owned())
        }))
    }
}

const WRITE: OFlags = OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::TRUNC);

fn path(name: &str) -> io::Result<RootPath> {
    let path = RootPath::parse(name.as_bytes(), &Policy::NONE);
    path.map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn run(context: &mut Context, line: &str) -> io::Result<String> {
    let words: Vec<&str> = line.splitn(3, ' ').collect();
    match *words.as_slice() {
        ["PUT", _, _] if context.info.rights == Rights::ReadOnly => {
            Err(io::ErrorKind::PermissionDenied.into())
        }
        ["PUT", name, text] => {
            let _room = context.info.quota.reserve(text.len() as u64)?;
            let file = context
                .root
                .open_at(&path(name)?, WRITE, Mode::from(0o644))?;
            std::fs::File::from(file).write_all(text.as_bytes())?;
            Ok("OK".to_owned())
        }
        ["GET", name] => {
            let file = context
                .root
                .open_at(&path(name)?, OFlags::RDONLY, Mode::empty())?;
            io::read_to_string(std::fs::File::from(file))
        }
        _ => data(context, &words),
    }
}

/// The commands with a data connection.
fn data(context: &mut Context, words: &[&str]) -> io::Result<String> {
    let dialer = context.dialer.as_mut().ok_or(io::ErrorKind::Unsupported)?;
    match *words {
        ["DIAL", port, text] => {
            let port = port.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
            dialer.connect(port)?.write_all(text.as_bytes())?;
            Ok("OK".to_owned())
        }
        ["ACCEPT"] => {
            let listening = dialer.listen()?;
            let file = context
                .root
                .open_at(&path("port")?, WRITE, Mode::from(0o644))?;
            write!(std::fs::File::from(file), "{}", listening.port)?;
            let text = io::read_to_string(dialer.accept(&listening)?)?;
            dialer.close(listening)?;
            Ok(text)
        }
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}
