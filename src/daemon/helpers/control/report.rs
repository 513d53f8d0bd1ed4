//! The report behind `tfd status`: the connections and what they do, as JSON.
//! tfd(8) documents its keys; they stay.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::daemon::helpers::control::view::{Entry, Published, View};
use crate::session::slots::{Doing, now};
use crate::text::{json_line, lossy};

/// How long to count bytes for the rate.
const WATCH: Duration = Duration::from_secs(1);

/// The report.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Report {
    pub(crate) version: String,
    pub(crate) pid: u32,
    pub(crate) uptime_seconds: u64,
    pub(crate) limit: u32,
    pub(crate) stopping: bool,
    /// What services publish; an older tfd does not.
    #[serde(default)]
    pub(crate) services: BTreeMap<String, BTreeMap<String, u64>>,
    pub(crate) connections: Vec<Connection>,
}

/// A connection; `user` and `request` may be null.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Connection {
    pub(crate) slot: u32,
    pub(crate) pid: u32,
    pub(crate) protocol: String,
    pub(crate) state: String,
    pub(crate) user: Option<String>,
    pub(crate) peer: SocketAddr,
    pub(crate) since: String,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_per_second: u64,
    pub(crate) request: Option<Underway>,
}

/// A request in progress.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Underway {
    pub(crate) command: String,
    pub(crate) path: String,
    pub(crate) seconds: f64,
}

/// [`Connection::state`] before and after the login.
pub(crate) const GATE: &str = "gate";
const SESSION: &str = "session";

/// The addresses listened on, and the path of the configuration.
pub(crate) fn serving(view: &View<'_>) -> String {
    let listening: Vec<String> = view.listening.iter().map(ToString::to_string).collect();
    format!("{}\n{}\n", listening.join(" "), view.config.display())
}

/// The report, a second after the call.
pub(crate) fn status(view: &View<'_>) -> String {
    let before = view.entries();
    std::thread::sleep(WATCH);
    let moved = |slot| before.iter().find(|entry| entry.slot == slot);
    let connections = view.entries().into_iter().map(|entry| {
        let earlier = moved(entry.slot).map_or(0, Entry::moved);
        connection(&entry, entry.moved().saturating_sub(earlier))
    });
    json_line(&Report {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: view.process,
        uptime_seconds: view.born.elapsed().as_secs(),
        limit: view.limit,
        stopping: view.stopping,
        services: services(view),
        connections: connections.collect(),
    })
}

fn services(view: &View<'_>) -> BTreeMap<String, BTreeMap<String, u64>> {
    let figures = |it: &Published| {
        let figures = it.figures.iter();
        figures
            .map(|(of, value)| (of.name.to_owned(), *value))
            .collect()
    };
    let all = view.published.iter();
    all.map(|it| (it.service.to_owned(), figures(it))).collect()
}

fn connection(entry: &Entry<'_>, bytes_per_second: u64) -> Connection {
    let connection = entry.connection;
    Connection {
        slot: entry.slot,
        pid: connection.process().unwrap_or(0),
        protocol: connection.arrived.protocol.1.to_owned(),
        state: if entry.is_in { SESSION } else { GATE }.to_owned(),
        user: connection.user.clone(),
        peer: connection.client(),
        since: since(entry.age()),
        bytes_received: entry.activity.received,
        bytes_sent: entry.activity.sent,
        bytes_per_second,
        request: entry.activity.doing.as_ref().map(underway),
    }
}

fn underway(doing: &Doing) -> Underway {
    let milliseconds = now().saturating_sub(doing.begun).as_millis();
    Underway {
        command: lossy(&doing.command).into_owned(),
        path: lossy(&doing.path).into_owned(),
        seconds: milliseconds as f64 / 1000.0,
    }
}

fn since(age: Duration) -> String {
    let begin = jiff::SignedDuration::try_from(age)
        .ok()
        .and_then(|age| jiff::Timestamp::now().checked_sub(age).ok());
    begin.map_or_else(String::new, |begin| format!("{begin:.0}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::admission::Limits;
    use crate::daemon::registry::{Arrived, Registry};
    use crate::session::slots::Activity;

    #[test]
    fn a_path_can_not_break_the_json() {
        let limits = Limits {
            unauthenticated: 9,
            ..Limits::default()
        };
        let mut registry = Registry::new(1, limits).expect("registry");
        let arrived = Arrived {
            peer: "[::1]:9".parse().expect("address"),
            local: "[::1]:10345".parse().expect("address"),
            key: [1; 16],
            protocol: (0, "tf"),
            zygote: nix::unistd::Pid::from_raw(1),
            relay: None,
        };
        let slot = registry.take(arrived, 0).expect("slot");
        let doing = Doing {
            command: b"SNDFILE".to_vec(),
            begun: now(),
            path: b"a\"\x1b[2J\n\xff".to_vec(),
        };
        let entry = Entry {
            slot,
            connection: registry.get(slot).expect("connection"),
            is_in: true,
            activity: Activity {
                received: 2048,
                sent: 1,
                doing: Some(doing),
                ..Activity::default()
            },
        };
        let text = json_line(&connection(&entry, 10));
        assert!(
            text.contains("\"path\":\"a\\\"\\u001b[2J\\n\\\\xff\""),
            "{text}"
        );
        assert!(
            text.contains("\"user\":null,\"peer\":\"[::1]:9\""),
            "{text}"
        );
    }
}
