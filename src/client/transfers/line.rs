//! A connection that comes back: lost, it is opened anew with growing pauses,
//! and the work at hand begins again.

use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::net::sockopt::{
    set_socket_keepalive, set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl,
    set_tcp_user_timeout,
};

use super::run::Run;
use crate::client::connect::Connection;
use crate::client::error::{ClientError, Result};
use crate::client::observe::Event;

/// The pauses before tries: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A link that is silent for longer, though it was asked, is dead.
const SILENCE: Duration = Duration::from_secs(40);

/// A connection of a run, while there is one.
pub(super) struct Line<'r> {
    run: &'r Run<'r>,
    connection: Option<Connection>,
    /// Whether there ever was a connection: the first is tried once.
    was_open: bool,
    failures: u32,
    /// What had been moved at the last failure.
    moved_then: u64,
    moved: AtomicU64,
}

impl<'r> Line<'r> {
    pub(super) fn new(run: &'r Run<'r>) -> Line<'r> {
        Line {
            run,
            connection: None,
            was_open: false,
            failures: 0,
            moved_then: 0,
            moved: AtomicU64::new(0),
        }
    }

    /// Opens the connection.
    ///
    /// # Errors
    /// Why it can't be opened.
    pub(super) fn open(&mut self) -> Result<()> {
        if self.connection.is_none() {
            self.take(self.run.access.open()?);
        }
        Ok(())
    }

    /// Takes a connection that is open.
    pub(super) fn take(&mut self, mut connection: Connection) {
        // Without it a dead link is noticed later.
        let _ = notice_silence(connection.wire().socket());
        if let Some(pace) = &self.run.pace {
            connection.wire().share_rate(pace.clone());
        }
        connection.wire().expect_transfers();
        self.connection = Some(connection);
        self.was_open = true;
    }

    /// Does work that can be begun anew, with a connection that is opened
    /// again when it is lost. What moves something says so by the counter;
    /// only tries in a row that moved nothing are counted.
    ///
    /// # Errors
    /// What `work` returns but a loss of connection, or the loss when it is
    /// given up, or `Interrupted`.
    pub(super) fn steadily<T>(
        &mut self,
        mut work: impl FnMut(&mut Connection, &AtomicU64) -> Result<T>,
    ) -> Result<T> {
        loop {
            let done = self.open().and_then(|()| match &mut self.connection {
                Some(connection) => work(connection, &self.moved),
                None => Err(ClientError::Interrupted),
            });
            match done {
                Err(e) if e.ends_a_run() => {
                    self.connection = None;
                    // Then it was we who cut it.
                    self.run.go_on()?;
                    if !self.was_open || !is_loss(&e) {
                        return Err(e);
                    }
                    self.pause(e)?;
                }
                other => return other,
            }
        }
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// The loss, when there have been tries enough, or `Interrupted`.
    fn pause(&mut self, error: ClientError) -> Result<()> {
        let moved = self.moved.load(Ordering::Relaxed);
        if moved > self.moved_then {
            self.failures = 0;
        }
        self.moved_then = moved;
        let attempts = self.run.options.retries;
        if self.failures >= attempts {
            return Err(error);
        }
        let wait = (FIRST_PAUSE * 2u32.saturating_pow(self.failures)).min(LONGEST_PAUSE);
        self.failures += 1;
        let attempt = self.failures;
        self.run.tell(&Event::Retrying {
            attempt,
            attempts,
            wait,
            error: &error,
        });
        self.run.access.target.cancel.sleep(wait)
    }

    /// Gives the connection up; the next work opens another.
    pub(super) fn close(&mut self) {
        self.connection = None;
    }

    /// Ends the session politely.
    pub(super) fn end(self) {
        if let Some(connection) = self.connection {
            // It is over either way.
            let _ = connection.end();
        }
    }

    /// The connection, if there is one, as fast as it can be.
    pub(super) fn into_connection(self) -> Option<Connection> {
        let mut connection = self.connection?;
        connection.wire().limit_rate(None);
        Some(connection)
    }
}

/// Lets the system find out that a link is dead, whether it is we who wait or
/// the bytes we sent.
pub(super) fn notice_silence(socket: &TcpStream) -> rustix::io::Result<()> {
    set_socket_keepalive(socket, true)?;
    set_tcp_keepidle(socket, SILENCE / 2)?;
    set_tcp_keepintvl(socket, SILENCE / 8)?;
    set_tcp_keepcnt(socket, 4)?;
    set_tcp_user_timeout(socket, SILENCE.as_millis() as u32)
}

/// Whether a new connection may help.
fn is_loss(error: &ClientError) -> bool {
    use ClientError as E;
    matches!(
        error,
        E::Lost(_) | E::Handshake(_) | E::Connect { .. } | E::Resolve { .. }
    )
}
