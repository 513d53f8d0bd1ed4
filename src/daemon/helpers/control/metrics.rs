//! Metrics in the text format of Prometheus, 0.0.4, and the little HTTP/1.1 to
//! serve them: one request, one answer, the end.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::daemon::accounts::Moved;
use crate::daemon::admission::Full;
use crate::daemon::counters::{Counters, HELPERS};
use crate::daemon::helpers::control::view::{Entry, Published, View};
use crate::daemon::helpers::keeper::Refusal;
use crate::ipc::figures::Figure;
use crate::session::counts::Counts;
use crate::session::failure::Failure;
use crate::users::throttle::{self, Blocked};

/// The longest request, in bytes, and how long it may take to arrive.
const MAX_REQUEST: usize = 8 * 1024;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);

/// Reads one request and answers it.
///
/// # Errors
/// The connection's.
pub fn answer(mut stream: impl Read + Write + AsFd, text: &str) -> io::Result<()> {
    let until = Instant::now() + REQUEST_TIMEOUT;
    let mut request = Vec::new();
    let mut part = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < MAX_REQUEST {
        let left = Timespec::try_from(until.saturating_duration_since(Instant::now()));
        let mut fds = [PollFd::new(&stream, PollFlags::IN)];
        if poll(&mut fds, Some(&left.unwrap_or_default()))? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match stream.read(&mut part)? {
            0 => break,
            n => request.extend_from_slice(&part[..n]),
        }
    }
    let (status, body) = match route(&request) {
        Ok(()) => ("200 OK", text),
        Err(status) => (status, ""),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat())
}

/// Whether a request is for the metrics; else the status that it gets.
fn route(request: &[u8]) -> Result<(), &'static str> {
    let line = request
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [method, path, version] = words[..] else {
        return Err("400 Bad Request");
    };
    if !version.starts_with(b"HTTP/1.") {
        return Err("400 Bad Request");
    }
    match (method, path.split(|byte| *byte == b'?').next()) {
        (b"GET", Some(b"/metrics")) => Ok(()),
        (b"GET", _) => Err("404 Not Found"),
        _ => Err("405 Method Not Allowed"),
    }
}

/// The metrics.
pub fn text(view: &View<'_>) -> String {
    let mut metrics = Metrics(String::new());
    let build = concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}");
    metrics.add(GAUGE, "tfd_build_info", "The version of tfd.", [(build, 1)]);
    let entries = view.entries();
    add_connections(&mut metrics, view, &entries);
    let mut counters = view.registry.counters.clone();
    for entry in &entries {
        let Entry {
            connection,
            activity,
            ..
        } = entry;
        let account = connection
            .user
            .as_deref()
            .filter(|_| connection.session.is_some());
        let protocol = connection.arrived.protocol.1;
        counters.add(protocol, account, activity, u64::from(entry.is_in));
    }
    add_refusals(&mut metrics, &counters);
    add_traffic(&mut metrics, &counters);
    add_own_state(&mut metrics, view, &counters);
    add_room(&mut metrics, view);
    add_accounts(&mut metrics, view, &counters);
    add_published(&mut metrics, view);
    metrics.0
}

fn add_refusals(metrics: &mut Metrics, counters: &Counters) {
    let refused = Full::ALL.map(|full| (reason(full), counters.refused[full as usize]));
    let help = "Clients refused for a limit.";
    metrics.add(COUNTER, "tfd_refused_total", help, refused);
    let refused = Refusal::ALL.map(|(what, name)| {
        let count = counters.refused_handshakes[what as usize];
        (by_reason(name), count)
    });
    let help = "Clients refused because they did not show key or hash.";
    metrics.add(COUNTER, "tfd_handshakes_refused_total", help, refused);
    let failed = Failure::ALL.map(|(why, name)| {
        let count = counters.failed_logins[why as usize];
        (by_reason(name), count)
    });
    let help = "Logins that failed.";
    metrics.add(COUNTER, "tfd_logins_failed_total", help, failed);
}

fn add_traffic(metrics: &mut Metrics, counters: &Counters) {
    let help = "Bytes from clients.";
    metrics.counter("tfd_bytes_received_total", help, counters.received);
    let help = "Bytes to clients.";
    metrics.counter("tfd_bytes_sent_total", help, counters.sent);
    let all = &counters.requests;
    let labels = |protocol, (class, count)| {
        let labels = format!("{{protocol=\"{protocol}\",class=\"{class}\"}}");
        (labels, count)
    };
    let requests = all
        .iter()
        .flat_map(|(protocol, counts)| counts.requests().map(move |one| labels(*protocol, one)));
    let help = "Requests that name a path, by what they may do.";
    metrics.add(COUNTER, "tfd_requests_total", help, requests);
    let bytes = all
        .iter()
        .flat_map(|(protocol, counts)| counts.bytes().map(move |one| labels(*protocol, one)));
    let help = "Bytes of files and listings that these moved.";
    metrics.add(COUNTER, "tfd_request_bytes_total", help, bytes);
    let failed = all.iter().flat_map(|(protocol, counts)| {
        let labels = move |(code, count)| {
            (
                format!("{{protocol=\"{protocol}\",code=\"{code}\"}}"),
                count,
            )
        };
        counts.failed().map(labels)
    });
    let help = "Requests that failed, by the protocol's code; 0 has none.";
    metrics.add(COUNTER, "tfd_requests_failed_total", help, failed);
    let mut sum = Counts::default();
    all.values().for_each(|counts| sum.add(counts));
    let no_room = sum.no_room().map(|(what, count)| (by_reason(what), count));
    let help = "Requests that failed for lack of room.";
    metrics.add(COUNTER, "tfd_no_room_total", help, no_room);
}

/// What tfd itself is doing.
fn add_own_state(metrics: &mut Metrics, view: &View<'_>, counters: &Counters) {
    let help = "Clients' processes that did not end by themselves.";
    metrics.counter("tfd_processes_killed_total", help, counters.killed);
    let help = "Configurations that serve clients.";
    metrics.gauge("tfd_generations", help, view.generations as u64);
    let help = "Starts of helper processes, at reloads and after failures.";
    metrics.counter("tfd_generations_total", help, counters.generations);
    let help = "Helper processes that failed and were replaced.";
    metrics.counter("tfd_helper_failures_total", help, counters.failures());
    let helpers = HELPERS.iter().zip(counters.restarts);
    let restarts = helpers.map(|(helper, count)| (format!("{{helper=\"{helper}\"}}"), count));
    let help = "The same by helper process.";
    metrics.add(COUNTER, "tfd_helper_restarts_total", help, restarts);
    let uptime = view.born.elapsed().as_secs();
    metrics.gauge("tfd_uptime_seconds", "Seconds since the start.", uptime);
}

/// What there is room for.
fn add_room(metrics: &mut Metrics, view: &View<'_>) {
    if let Some(quota) = view.quota {
        let help = "Bytes that count for the root's quota.";
        metrics.gauge("tfd_quota_used_bytes", help, view.usage.stored());
        metrics.gauge("tfd_quota_limit_bytes", "The root's quota.", quota);
    }
    let Some(Ok(disk)) = view.root.map(rustix::fs::statvfs) else {
        return;
    };
    let help = "The size of the root's file system.";
    let size = disk.f_blocks.saturating_mul(disk.f_frsize);
    metrics.gauge("tfd_disk_size_bytes", help, size);
    let help = "What is free of it, for others than root.";
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    metrics.gauge("tfd_disk_free_bytes", help, free);
    let help = "The inodes of the root's file system, 0 if it has no number of them.";
    metrics.gauge("tfd_disk_inodes", help, disk.f_files);
    metrics.gauge("tfd_disk_free_inodes", "The free ones.", disk.f_favail);
}

/// What services publish.
fn add_published(metrics: &mut Metrics, view: &View<'_>) {
    for Published { service, figures } in view.published {
        for (
            Figure {
                name,
                help,
                is_counter,
            },
            value,
        ) in figures
        {
            if *is_counter {
                metrics.counter(&format!("tfd_{service}_{name}_total"), help, *value);
            } else {
                metrics.gauge(&format!("tfd_{service}_{name}"), help, *value);
            }
        }
    }
}

/// Those of blocked logins, by a copy of the file that keeps them.
pub fn blocks(copy: &[u8]) -> String {
    let mut metrics = Metrics(String::new());
    let all = throttle::blocks_in(copy, throttle::now());
    let count = |account: bool, address: bool, failures: bool| {
        let is_one = |one: &&Blocked| {
            let of = (&one.account, &one.address, &one.failures);
            (of.0.is_some(), of.1.is_some(), of.2.is_some()) == (account, address, failures)
        };
        all.iter().filter(is_one).count() as u64
    };
    let values = [
        ("address", "failures", count(false, true, true)),
        ("account_from_address", "failures", count(true, true, true)),
        ("address", "operator", count(false, true, false)),
        ("account", "operator", count(true, false, false)),
    ];
    let values =
        values.map(|(what, by, count)| (format!("{{what=\"{what}\",by=\"{by}\"}}"), count));
    let help = "Blocks of logins that last, as tfd blocked lists them.";
    metrics.add(GAUGE, "tfd_logins_blocked", help, values);
    metrics.0
}

/// What accounts move and store, if any are counted.
fn add_accounts(metrics: &mut Metrics, view: &View<'_>, counters: &Counters) {
    if !counters.accounts.are_counted() {
        return;
    }
    type Count = fn(&Moved) -> u64;
    let series: [(&str, &str, &str, Count); 5] = [
        (GAUGE, "sessions", "Sessions of the account.", |of| {
            of.sessions
        }),
        (COUNTER, "requests_total", "Its requests.", |of| of.requests),
        (
            COUNTER,
            "requests_failed_total",
            "Those that failed.",
            |of| of.failed,
        ),
        (COUNTER, "bytes_received_total", "Bytes from it.", |of| {
            of.received
        }),
        (COUNTER, "bytes_sent_total", "Bytes to it.", |of| of.sent),
    ];
    for (kind, name, help, count) in series {
        let all = counters.accounts.all();
        let values = all.map(|(account, moved)| (by_account(account), count(moved)));
        metrics.add(kind, &format!("tfd_account_{name}"), help, values);
    }
    let limits = view.logins.iter().filter_map(|login| {
        let used = view.usage.of(login.identity.uid.as_raw())?;
        Some((by_account(&login.name), used, login.quota?))
    });
    let limits: Vec<_> = limits.take(counters.accounts.most()).collect();
    if limits.is_empty() {
        return;
    }
    let used = limits.iter().map(|(labels, used, _)| (labels, *used));
    let help = "Bytes that count for the account's quota.";
    metrics.add(GAUGE, "tfd_account_quota_used_bytes", help, used);
    let limits = limits.iter().map(|(labels, _, limit)| (labels, *limit));
    let help = "The account's quota.";
    metrics.add(GAUGE, "tfd_account_quota_limit_bytes", help, limits);
}

fn by_account(name: &str) -> String {
    format!("{{account=\"{name}\"}}")
}

fn add_connections(metrics: &mut Metrics, view: &View<'_>, entries: &[Entry<'_>]) {
    let mut by_protocol: BTreeMap<String, u64> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.is_in) {
        let labels = format!("{{protocol=\"{}\"}}", entry.connection.arrived.protocol.1);
        *by_protocol.entry(labels).or_default() += 1;
    }
    let sessions = by_protocol.values().sum();
    let gates = entries.len() as u64 - sessions;
    metrics.gauge("tfd_sessions", "Clients that are in.", sessions);
    let help = "Clients that are in, by protocol.";
    metrics.add(GAUGE, "tfd_sessions_by_protocol", help, by_protocol);
    metrics.gauge("tfd_gates", "Clients that are logging in.", gates);
    let help = "The most clients at once.";
    metrics.gauge("tfd_connections_limit", help, view.limit.into());
    let accepted = view.registry.counters.connections;
    let help = "Clients that were accepted.";
    metrics.counter("tfd_connections_total", help, accepted);
}

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";

/// The text so far.
struct Metrics(String);

impl Metrics {
    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.add(GAUGE, name, help, [("", value)]);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.add(COUNTER, name, help, [("", value)]);
    }

    /// A metric with a value for each set of labels.
    fn add<L: Display>(
        &mut self,
        kind: &str,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) {
        let text = &mut self.0;
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        for (labels, value) in values {
            text.push_str(&format!("{name}{labels} {value}\n"));
        }
    }
}

fn by_reason(name: &str) -> String {
    format!("{{reason=\"{name}\"}}")
}

fn reason(full: Full) -> &'static str {
    match full {
        Full::InAll => "{reason=\"max_sessions\"}",
        Full::FromAddress => "{reason=\"max_sessions_per_address\"}",
        Full::Unauthenticated => "{reason=\"max_unauthenticated\"}",
        Full::UnauthenticatedAddress => "{reason=\"max_unauthenticated_per_address\"}",
        Full::UnauthenticatedNetwork => "{reason=\"max_unauthenticated_per_network\"}",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_a_get_of_metrics_is_answered_with_them() {
        for (request, status) in [
            ("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", Ok(())),
            ("GET /metrics?x=1 HTTP/1.0\r\n\r\n", Ok(())),
            ("GET / HTTP/1.1\r\n\r\n", Err("404 Not Found")),
            (
                "POST /metrics HTTP/1.1\r\n\r\n",
                Err("405 Method Not Allowed"),
            ),
            ("GET /metrics HTTP/2.0\r\n\r\n", Err("400 Bad Request")),
            ("GET /metrics\r\n\r\n", Err("400 Bad Request")),
            ("", Err("400 Bad Request")),
        ] {
            assert_eq!(route(request.as_bytes()), status, "{request}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = route(&bytes);
        }
    }
}
