//! Notifications to systemd: ready, reloading, stopping, alive. Silent without a
//! socket; see sd_notify(3).

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use crate::session::slots::now;
use crate::sys::environment::take;

/// How much longer than the grace period systemd may wait.
const LAST: Duration = Duration::from_secs(5);

/// The socket of systemd, if any.
#[derive(Debug)]
pub struct Notifier {
    socket: Option<UnixDatagram>,
    /// How often it wants a sign of life, and when it gets the next.
    watchdog: Option<(Duration, Instant)>,
}

impl Notifier {
    /// The one that the environment names; removes it from there.
    pub fn from_environment() -> Notifier {
        let name = take("NOTIFY_SOCKET");
        let socket = name.and_then(|name| {
            let address = match name.as_bytes() {
                [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
                _ => SocketAddr::from_pathname(&name),
            };
            let connected = address.and_then(|address| {
                let socket = UnixDatagram::unbound()?;
                socket.connect_addr(&address)?;
                socket.set_nonblocking(true)?;
                Ok(socket)
            });
            connected
                .inspect_err(|e| log::warn!(error:% = e; "can't notify systemd"))
                .ok()
        });
        let number = |name| take(name)?.to_str()?.parse::<u64>().ok();
        let (interval, process) = (number("WATCHDOG_USEC"), number("WATCHDOG_PID"));
        let is_meant = process.is_none_or(|process| process == u64::from(std::process::id()));
        let interval = interval.filter(|interval| is_meant && *interval > 0);
        let watchdog = interval.map(|us| (Duration::from_micros(us) / 2, Instant::now()));
        Notifier { socket, watchdog }
    }

    /// Clients can connect.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// The configuration is being read again; [`Notifier::ready`] follows.
    pub fn reloading(&self) {
        self.send(&format!(
            "RELOADING=1\nMONOTONIC_USEC={}",
            now().as_micros()
        ));
    }

    /// The daemon is about to end, at the latest after this time.
    pub fn stopping(&self, grace: Duration) {
        let longest = grace.saturating_add(LAST).as_micros();
        self.send(&format!(
            "STOPPING=1\nEXTEND_TIMEOUT_USEC={longest}\nSTATUS=letting transfers finish"
        ));
    }

    /// When the next sign of life is due.
    pub fn due(&self) -> Option<Instant> {
        self.watchdog.map(|(_, next)| next)
    }

    /// Sends a sign of life if one is due and the daemon is well.
    pub fn alive(&mut self, is_well: bool, status: impl FnOnce() -> String) {
        let Some((interval, next)) = &mut self.watchdog else {
            return;
        };
        if Instant::now() < *next {
            return;
        }
        *next = Instant::now() + *interval;
        if is_well {
            self.send(&format!("WATCHDOG=1\nSTATUS={}", status()));
        }
    }

    fn send(&self, text: &str) {
        if let Some(Err(e)) = self
            .socket
            .as_ref()
            .map(|socket| socket.send(text.as_bytes()))
        {
            log::debug!(error:% = e; "systemd not notified");
        }
    }
}
