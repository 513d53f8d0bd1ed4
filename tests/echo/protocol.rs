//! A protocol of tests: lines. `LOGIN name password`, then `PUT name text`,
//! `GET name`, `DIAL port text` (sends the text to that port of the client),
//! `ACCEPT` (writes a port to the file `port` and answers what arrives).

use std::fs::File;
use std::io::ErrorKind::{InvalidInput, PermissionDenied};
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::ops::RangeInclusive;

use rustix::fs::{Mode, OFlags};

use crate::config::{self, Config};
use crate::net::link::{Link, Meter};
use crate::session::audit::{Observer, Outcome, Subject};
use crate::session::context::{Context, End};
use crate::session::effect::Effect;
use crate::session::login::Login;
use crate::session::protocol::{Gate, Protocol, Serve};
use crate::store::{Policy, RootPath};
use crate::users::Rights;

/// The protocol.
#[derive(Debug)]
pub struct Echo {
    data_ports: RangeInclusive<u16>,
}

impl Echo {
    /// As this configuration has it.
    pub fn new(config: &Config) -> Echo {
        Echo {
            data_ports: config.data_ports(config::Protocol::Echo),
        }
    }
}

impl Protocol for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn data_ports(&self) -> Option<RangeInclusive<u16>> {
        Some(self.data_ports.clone())
    }

    fn gate(&self, gate: Gate<'_>) -> io::Result<()> {
        let Some(channel) = gate.keeper.enter()? else {
            return Ok(());
        };
        let (mut login, mut line) = (Login::new(channel, gate.steps, None), String::new());
        BufReader::new(&gate.socket).read_line(&mut line)?;
        let words: Vec<&str> = line.trim_end().splitn(3, ' ').collect();
        if let &["LOGIN", name, password] = words.as_slice() {
            if let Err(why) = login.password(name.as_bytes(), password.as_bytes(), None)? {
                writeln!(&gate.socket, "NO {why}")?;
            } else {
                writeln!(&gate.socket, "OK")?;
                login.hand_over(&gate.socket, b"state")?;
            }
        }
        Ok(())
    }

    fn resume(&self, socket: TcpStream, _state: &[u8], meter: Meter) -> io::Result<Serve<'_>> {
        let mut link = Link::new(socket)?;
        link.count_on(meter);
        Ok(Box::new(move |mut context| {
            link.set_pace(context.info.pace.clone());
            let end = serve(&mut link, &mut context);
            end.unwrap_or_else(|e| End::Failed(e.to_string()))
        }))
    }
}

fn serve(link: &mut Link, context: &mut Context) -> Result<End, Box<dyn std::error::Error>> {
    loop {
        let (mut line, mut byte) = (String::new(), [0]);
        while !line.ends_with('\n') {
            link.read_exact(&mut byte)?;
            line.push(byte[0].into());
        }
        let words: Vec<&str> = line.trim_end().splitn(3, ' ').collect();
        let subject = Subject {
            command: if words[0] == "PUT" { "PUT" } else { "OTHER" },
            path: line.trim_end().as_bytes().to_vec(),
            other: Vec::new(),
            effect: Effect::Reads,
        };
        context.observer.begins(&subject);
        let (outcome, answer) = match run(context, &words) {
            Ok(text) => (Outcome::Done, text),
            Err(e) => (Outcome::Failed(Some(7)), format!("NO {e}")),
        };
        context.observer.ended(&subject, outcome, 0)?;
        link.write(format!("{answer}\n").into_bytes().as_mut_slice())?;
    }
}

const CREATE: OFlags = OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::TRUNC);

fn run(context: &mut Context, words: &[&str]) -> io::Result<String> {
    let open = |name: &str, flags, mode: u32| {
        let path = RootPath::parse(name.as_bytes(), &Policy::NONE);
        let path = path.map_err(|_| InvalidInput)?;
        let file = context.root.open_at(&path, flags, Mode::from(mode));
        Ok::<File, io::Error>(file?.into())
    };
    match (words, &mut context.dialer) {
        (["PUT", ..], _) if context.info.rights == Rights::ReadOnly => Err(PermissionDenied)?,
        (["PUT", name, text], _) => {
            let _room = context.info.quota.reserve(text.len() as u64)?;
            open(name, CREATE, 0o644)?.write_all(text.as_bytes())?;
        }
        (["GET", name], _) => return io::read_to_string(open(name, OFlags::RDONLY, 0)?),
        (["DIAL", port, text], Some(dialer)) => {
            let mut socket = dialer.connect(port.parse().unwrap_or(0))?;
            socket.write_all(text.as_bytes())?;
        }
        (["ACCEPT"], Some(dialer)) => {
            let listening = dialer.listen()?;
            write!(open("port", CREATE, 0o644)?, "{}", listening.port)?;
            let text = io::read_to_string(dialer.accept(&listening)?)?;
            dialer.close(listening)?;
            return Ok(text);
        }
        _ => Err(InvalidInput)?,
    }
    Ok("OK".to_owned())
}
