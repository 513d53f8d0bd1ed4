//! What systemd is told: ready, reloading, stopping, alive. Where nothing
//! listens, nothing is said; see sd_notify(3).

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use crate::session::slots::now;
use crate::sys::environment::take;

/// What systemd may wait beyond the grace that a stop has.
const LAST: Duration = Duration::from_secs(5);

/// The way to systemd, if there is one.
#[derive(Debug)]
pub struct Notifier {
    socket: Option<UnixDatagram>,
    /// How often it wants a sign of life, and when it gets the next.
    watchdog: Option<(Duration, Instant)>,
}

impl Notifier {
    /// The one that the environment names, once: it is taken out of it.
    #[must_use]
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
                .inspect_err(|e| log::warn!("can't tell systemd anything error=\"{e}\""))
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
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// The configuration is being read again; [`Notifier::ready`] follows.
    pub fn reloading(&self) {
        self.tell(&format!(
            "RELOADING=1\nMONOTONIC_USEC={}",
            now().as_micros()
        ));
    }

    /// The daemon is about to end, at the latest after this time.
    pub fn stopping(&self, grace: Duration) {
        let longest = grace.saturating_add(LAST).as_micros();
        self.tell(&format!(
            "STOPPING=1\nEXTEND_TIMEOUT_USEC={longest}\nSTATUS=letting transfers finish"
        ));
    }

    /// When the next sign of life is due.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.watchdog.map(|(_, next)| next)
    }

    /// Gives a sign of life if one is due and the daemon is well.
    pub fn alive(&mut self, is_well: bool, status: impl FnOnce() -> String) {
        let Some((interval, next)) = &mut self.watchdog else {
            return;
        };
        if Instant::now() < *next {
            return;
        }
        *next = Instant::now() + *interval;
        if is_well {
            self.tell(&format!("WATCHDOG=1\nSTATUS={}", status()));
        }
    }

    fn tell(&self, text: &str) {
        if let Some(Err(e)) = self
            .socket
            .as_ref()
            .map(|socket| socket.send(text.as_bytes()))
        {
            log::debug!("systemd was not told error=\"{e}\"");
        }
    }
}
