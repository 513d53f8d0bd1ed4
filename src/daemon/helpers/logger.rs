//! The logger: the one process that writes the log. All others send it their
//! lines, each kind of process on a channel of its own; see `ipc::log_channel`. It
//! writes down who has sent a line by what the kernel says, and holds processes
//! that an attacker may have taken over to a rate.

mod journal;
mod json;
mod limit;
mod output;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use log::Level;
use nix::unistd::Pid;
use rustix::net::RecvFlags;

pub(crate) use self::journal::connect as connect_journal;
use self::limit::Limiter;
pub use self::output::Output;
use self::output::Writer;
use crate::config::Config;
use crate::ipc::channel::Channel;
use crate::ipc::codec::codec;
use crate::ipc::log_channel::{self, KINDS, MAX_LINE};
use crate::ipc::service::Service;
use crate::ipc::{Helper, Pipe, Poll};
use crate::logging::Event;
use crate::sandbox::Sandbox;
use crate::sandbox::confinement::{Confinement, Duty};
use crate::users::Identity;

/// The most messages taken from one channel before the others get their turn.
const AT_ONCE: usize = 64;

/// What the daemon orders.
#[derive(Debug)]
pub enum Order {
    /// Continue in another place.
    WriteTo(Output),
    /// Write what there is, and end.
    Finish,
}

codec!(enum Order { 1 => WriteTo(output), 2 => Finish });

/// The log, in the daemon. It keeps the output for loggers to come.
#[derive(Debug)]
pub struct Log {
    receivers: Vec<Channel>,
    output: Output,
    /// That of the daemon's caller.
    standard_error: OwnedFd,
    logger: Option<Service<Order>>,
}

impl Log {
    /// Opens the log that a configuration names. What this process and those it
    /// forks log waits from now on until a logger runs.
    ///
    /// # Errors
    /// One line that says what could not be done.
    pub fn open(config: &Config) -> Result<Log, String> {
        let failed = |e: io::Error| format!("log: {e}");
        let standard_error = io::stderr().as_fd().try_clone_to_owned().map_err(failed)?;
        let output = Output::open(config, &standard_error)?;
        Ok(Log {
            receivers: log_channel::open().map_err(failed)?,
            output,
            standard_error,
            logger: None,
        })
    }

    /// Starts the logger.
    ///
    /// # Errors
    /// One line that says what could not be done.
    pub fn start(&mut self, identity: Option<&Identity>, sandbox: &Sandbox) -> Result<(), String> {
        self.logger = Some(Service::new(self.spawn(identity, sandbox)?));
        Ok(())
    }

    fn spawn(
        &self,
        identity: Option<&Identity>,
        sandbox: &Sandbox,
    ) -> Result<Helper<Order>, String> {
        let confinement = Confinement::new(identity, sandbox)?;
        Helper::spawn("logger", |child| {
            log_channel::leave(&self.standard_error)?;
            let mut handles: Vec<_> = self.receivers.iter().map(AsFd::as_fd).collect();
            let output = self.output.try_clone()?;
            handles.push(output.sink.as_fd());
            child.enter(c"tfd-logger", &confinement.with(Duty::Logging), &handles)?;
            write_lines(&child.channel, &self.receivers, output)
        })
    }

    /// The place of the log by another configuration.
    ///
    /// # Errors
    /// One line with the reason.
    pub fn next_output(&self, config: &Config) -> Result<Output, String> {
        Output::open(config, &self.standard_error)
    }

    /// Continues there.
    pub fn write_to(&mut self, output: Output) {
        let copy = output.try_clone();
        let sent = copy.and_then(|output| match &self.logger {
            Some(logger) => logger.send(&Order::WriteTo(output)),
            None => Ok(()),
        });
        if let Err(e) = sent {
            log::error!(error:% = e; "the log stays where it was");
        }
        self.output = output;
    }

    /// Takes note that a process has ended; whether it was the logger.
    pub fn reaped(&mut self, pid: Pid) -> bool {
        self.logger
            .as_mut()
            .is_some_and(|logger| logger.reaped(pid))
    }

    /// When [`Log::restart_if_due`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        self.logger.as_ref()?.due()
    }

    /// Starts the logger again once that is due.
    pub fn restart_if_due(&mut self, identity: Option<&Identity>, sandbox: &Sandbox) {
        if let Some(mut logger) = self.logger.take() {
            logger.restart_if_due(|| self.spawn(identity, sandbox));
            self.logger = Some(logger);
        }
    }

    /// Ends the log: the logger writes what it has, and ends.
    pub fn close(&mut self) {
        let _ = log_channel::leave(&self.standard_error);
        if let Some(logger) = self.logger.take() {
            let _ = logger.send(&Order::Finish);
        }
    }

    /// Writes what the logger, which has ended, has left.
    pub fn write_rest(&self) {
        if let Ok(output) = self.output.try_clone() {
            let _ = Lines::new(output).drain(&self.receivers);
        }
    }
}

/// What the logger waits for.
enum Source {
    Daemon,
    Lines(usize),
}

/// Writes lines until no process that sends some is left, or the daemon says so.
fn write_lines(daemon: &Pipe<(), Order>, receivers: &[Channel], output: Output) -> io::Result<()> {
    let mut lines = Lines::new(output);
    let mut open: Vec<usize> = (0..receivers.len()).collect();
    let mut has_daemon = true;
    while !open.is_empty() {
        let mut poll = Poll::default();
        if has_daemon {
            poll.read(Source::Daemon, daemon);
        }
        for index in &open {
            poll.read(Source::Lines(*index), &receivers[*index]);
        }
        for (source, _) in poll.wait(lines.limiter.pause())? {
            match source {
                Source::Lines(index) => {
                    let is_over = lines.take(index, &receivers[index])? == Taken::Over;
                    open.retain(|other| !is_over || *other != index);
                }
                Source::Daemon => match daemon.receive() {
                    Ok(Some(Order::WriteTo(output))) => lines.writer = Writer::new(output),
                    Ok(Some(Order::Finish)) => return lines.drain(receivers),
                    _ => has_daemon = false,
                },
            }
        }
        lines.report_left_out();
    }
    Ok(())
}

/// How far a channel was emptied.
#[derive(PartialEq)]
enum Taken {
    Some,
    All,
    Over,
}

/// Lines on their way to the log.
struct Lines {
    writer: Writer,
    limiter: Limiter,
    buffer: Vec<u8>,
}

impl Lines {
    fn new(output: Output) -> Lines {
        Lines {
            writer: Writer::new(output),
            limiter: Limiter::default(),
            buffer: vec![0; MAX_LINE],
        }
    }

    /// Writes what waits in a channel, up to a number of messages.
    fn take(&mut self, kind: usize, receiver: &Channel) -> io::Result<Taken> {
        for _ in 0..AT_ONCE {
            let sent = match receiver.receive_stamped(&mut self.buffer, RecvFlags::DONTWAIT) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(Taken::All),
                other => other?,
            };
            let Some(sent) = sent else {
                return Ok(Taken::Over);
            };
            let from = (KINDS[kind], sent.pid.unsigned_abs());
            // A process that may flood the log is not to cost more than the reading.
            if !self.limiter.admits(from, sent.len) {
                continue;
            }
            for (number, event) in Event::all(&self.buffer[..sent.len]).iter().enumerate() {
                if number == 0 || self.limiter.admits(from, 0) {
                    self.writer.write(from, event);
                }
            }
        }
        Ok(Taken::Some)
    }

    /// Writes all that waits.
    fn drain(&mut self, receivers: &[Channel]) -> io::Result<()> {
        for (kind, receiver) in receivers.iter().enumerate() {
            while self.take(kind, receiver)? == Taken::Some {}
        }
        Ok(())
    }

    /// Says of each process how many of its lines were left out.
    fn report_left_out(&mut self) {
        for (from, count) in self.limiter.left_out() {
            let event = Event::new(Level::Warn, "log lines left out").with("count", count);
            self.writer.write(from, &event);
        }
    }
}
