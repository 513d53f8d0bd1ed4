//! `tf ping`: asks by each keepalive mechanism of the protocol, and measures the
//! time (document, "Keepalive").

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use super::prelude::*;
use crate::cli::place::ServerName;
use crate::client::{Answer, ClientError, Connection, Question};

/// What KEEPALIVE sets: seconds until the first probe, between two, and how
/// many.
const KEEPALIVE: (u32, u32, u32) = (60, 10, 6);

/// Check that a server, a session and its connection are alive
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf ping files:\n  tf ping --by host -c 1 && echo up\n  tf ping --by oob -c 0 -i 0.2\n\n\
                  host: asks the server by UDP (HOSTCHECK); needs no session.\n\
                  process: asks by UDP whether this session is alive (PROCHECK).\n\
                  socket: asks by UDP whether its connection has received our bytes (SOCKCHECK).\n\
                  oob: sends an urgent byte to the server and back.\n\
                  keepalive: has the server probe the connection by TCP (KEEPALIVE).\n\
                  The exit status is 0 if each way was answered at least once."
)]
pub(crate) struct Ping {
    /// Use this way [default: all]
    #[arg(long, value_enum)]
    by: Vec<Way>,
    /// How many rounds; 0 for no limit
    #[arg(short, long, default_value_t = 4)]
    count: u64,
    /// Seconds between two rounds
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    interval: Duration,
    /// How long to wait for an answer
    #[arg(short = 'W', long, value_name = "SECONDS", default_value = "2", value_parser = wait)]
    wait: Duration,
    /// The server, as NAME: or tf://HOST
    #[arg(value_name = "SERVER", default_value = "", hide_default_value = true, add = Names::Server)]
    of: RemoteArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Way {
    Host,
    Process,
    Socket,
    Oob,
    Keepalive,
}

/// The results of one way.
struct Count {
    way: Way,
    by: &'static str,
    sent: u64,
    times: Vec<Duration>,
}

impl Ping {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let server = context.server(&self.of)?;
        if let Some(via) = context.directory.via(&server)? {
            let text = format!("pings are datagrams, which do not pass {via}: try tf ls");
            return Err(Failure::Usage(text));
        }
        let ways = self.ways(context, &server)?;
        let mut counts: Vec<Count> = ways.iter().copied().map(Count::of).collect();
        let mut printer = Printer::new(context.output.json);
        let mut prober = Prober::new(context, &server, &ways)?;
        let rounds = match self.count {
            0 => u64::MAX,
            count => count,
        };
        for sequence in 1..=rounds {
            for count in &mut counts {
                let time = prober.ask(count.way, self.wait)?;
                count.sent += 1;
                count.times.extend(time);
                count.show(&mut printer, sequence, time)?;
            }
            printer.flush()?;
            if sequence < rounds {
                std::thread::sleep(self.interval);
            }
        }
        for count in &counts {
            count.summarize(&mut printer)?;
        }
        printer.flush()?;
        match counts.iter().all(|count| !count.times.is_empty()) {
            true => Ok(()),
            false => Err(Failure::Reported(Exit::Refused)),
        }
    }
}

impl Ping {
    /// The requested ways, or all.
    fn ways(&self, context: &mut Context, server: &ServerName) -> Result<Vec<Way>> {
        let needs_bytes = |way: &Way| matches!(way, Way::Oob | Way::Socket);
        let mut ways = self.by.clone();
        if ways.is_empty() {
            ways = Way::value_variants().to_vec();
        } else if !ways.iter().any(needs_bytes) {
            return Ok(ways);
        }
        if !context.connection(server)?.is_over_tls() {
            return Ok(ways);
        }
        if self.by.iter().any(needs_bytes) {
            let text = "over TLS there are no urgent bytes: leave oob and socket out";
            return Err(Failure::usage(text));
        }
        ways.retain(|way| !needs_bytes(way));
        Ok(ways)
    }
}

/// Asks the server and the session.
struct Prober<'a> {
    server: SocketAddr,
    session: Option<Session<'a>>,
}

struct Session<'a> {
    connection: &'a mut Connection,
    key: Vec<u8>,
    /// Urgent bytes sent so far.
    bytes: u32,
}

impl<'a> Prober<'a> {
    fn new(context: &'a mut Context, server: &ServerName, ways: &[Way]) -> Result<Prober<'a>> {
        if ways.iter().all(|way| *way == Way::Host) {
            let addresses = context.directory.addresses(server)?;
            let server = crate::client::resolve(&addresses[0])?;
            let session = None;
            return Ok(Prober { server, session });
        }
        let connection = context.connection(server)?;
        let key = connection.process_key()?;
        let server = connection.peer()?;
        let bytes = 0;
        let session = Some(Session {
            connection,
            key,
            bytes,
        });
        Ok(Prober { server, session })
    }

    /// Asks one way: how long the answer took, if there was a good one.
    fn ask(&mut self, way: Way, wait: Duration) -> Result<Option<Duration>> {
        let start = Instant::now();
        let alive = match (way, &mut self.session) {
            (Way::Host, _) | (_, None) => self.answer(Question::Host, wait)?.is_some(),
            (Way::Process, Some(session)) => {
                let key = session.key.clone();
                self.answer(Question::Process(&key), wait)?.is_some()
            }
            (Way::Socket, Some(session)) => {
                session.send_byte(wait)?;
                let (key, bytes) = (session.key.clone(), session.bytes);
                self.answer(Question::Socket(&key), wait)? == Some(bytes.to_string())
            }
            (Way::Oob, Some(session)) => return session.send_byte(wait),
            (Way::Keepalive, Some(session)) => {
                let (idle, interval, count) = KEEPALIVE;
                session.connection.keep_alive(true, idle, interval, count)?;
                true
            }
        };
        Ok(alive.then(|| start.elapsed()))
    }

    fn answer(&self, question: Question<'_>, wait: Duration) -> Result<Option<String>> {
        match question.ask(self.server, wait) {
            Ok(Answer::Yes(text)) => Ok(Some(text)),
            Ok(Answer::No | Answer::Silence) => Ok(None),
            Err(source) => {
                let server = self.server.to_string();
                Err(ClientError::Connect { server, source }.into())
            }
        }
    }
}

impl Session<'_> {
    fn send_byte(&mut self, wait: Duration) -> Result<Option<Duration>> {
        self.bytes = self.bytes.wrapping_add(1);
        Ok(self
            .connection
            .out_of_band((self.bytes & 0xff) as u8, wait)?)
    }
}

impl Count {
    fn of(way: Way) -> Count {
        let by = match way {
            Way::Host => "host",
            Way::Process => "process",
            Way::Socket => "socket",
            Way::Oob => "oob",
            Way::Keepalive => "keepalive",
        };
        let (sent, times) = (0, Vec::new());
        Count {
            way,
            by,
            sent,
            times,
        }
    }

    fn show(&self, printer: &mut Printer, sequence: u64, time: Option<Duration>) -> Result<()> {
        let (by, alive, milliseconds) = (self.by, time.is_some(), time.map(in_milliseconds));
        let record = Record::Ping {
            by,
            sequence,
            alive,
            milliseconds,
        };
        Ok(printer.show(&record, || match milliseconds {
            Some(time) => format!("{by:<9} {sequence}: {time:.3} ms"),
            None => format!("{by:<9} {sequence}: no answer"),
        })?)
    }

    fn summarize(&self, printer: &mut Printer) -> Result<()> {
        let (by, sent, answered) = (self.by, self.sent, self.times.len() as u64);
        let record = Record::PingSummary { by, sent, answered };
        Ok(printer.show(&record, || {
            let mut line = format!("{by:<9} {answered} of {sent} answered");
            if let (Some(least), Some(most)) = (self.times.iter().min(), self.times.iter().max()) {
                let mean = self.times.iter().sum::<Duration>().div_f64(answered as f64);
                let [least, mean, most] = [*least, mean, *most].map(in_milliseconds);
                line += &format!(", {least:.3} / {mean:.3} / {most:.3} ms (least, mean, most)");
            }
            line
        })?)
    }
}

fn in_milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn wait(text: &str) -> Result<Duration, String> {
    let wait = seconds(text)?;
    (!wait.is_zero())
        .then_some(wait)
        .ok_or_else(|| "must be more than 0".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text
        .parse()
        .map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(number).map_err(|e| e.to_string())
}
