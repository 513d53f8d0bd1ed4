//! Metrics in the text format of Prometheus, 0.0.4, and as much of HTTP/1.1 as
//! it takes to hand them out: one request, one answer, the end.

use std::io::{self, Read, Write};

use crate::daemon::helpers::control::view::View;
use crate::daemon::registry::Full;

/// The longest request, in bytes.
const MAX_REQUEST: usize = 8 * 1024;

/// Reads one request and answers it.
///
/// # Errors
/// The connection's.
pub fn answer(mut stream: impl Read + Write, text: &str) -> io::Result<()> {
    let mut request = Vec::new();
    let mut part = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < MAX_REQUEST {
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
#[must_use]
pub fn text(view: &View<'_>) -> String {
    let entries = view.entries();
    let counters = view.registry.counters;
    let gates = entries.iter().filter(|entry| !entry.admitted).count() as u64;
    let sum = |ended: u64, of: fn(&crate::daemon::helpers::control::view::Entry) -> u64| {
        entries.iter().map(of).fold(ended, u64::wrapping_add)
    };
    let mut text = String::new();
    let mut tell = |name: &str, kind: &str, help: &str, values: &[(&str, u64)]| {
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        for (labels, value) in values {
            text.push_str(&format!("{name}{labels} {value}\n"));
        }
    };
    let build = concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}");
    tell(
        "tfd_build_info",
        "gauge",
        "The version of tfd.",
        &[(build, 1)],
    );
    let sessions = entries.len() as u64 - gates;
    tell(
        "tfd_sessions",
        "gauge",
        "Clients that are in.",
        &[("", sessions)],
    );
    tell(
        "tfd_gates",
        "gauge",
        "Clients that are logging in.",
        &[("", gates)],
    );
    let limit = u64::from(view.limit);
    tell(
        "tfd_connections_limit",
        "gauge",
        "The most clients at once.",
        &[("", limit)],
    );
    let connections = [("", counters.connections)];
    tell(
        "tfd_connections_total",
        "counter",
        "Clients that were accepted.",
        &connections,
    );
    let refused = Full::ALL.map(|full| (reason(full), counters.refused[full as usize]));
    tell(
        "tfd_refused_total",
        "counter",
        "Clients refused for a limit.",
        &refused,
    );
    let received = sum(counters.received, |entry| entry.received);
    tell(
        "tfd_bytes_received_total",
        "counter",
        "Bytes from clients.",
        &[("", received)],
    );
    let sent = sum(counters.sent, |entry| entry.sent);
    tell(
        "tfd_bytes_sent_total",
        "counter",
        "Bytes to clients.",
        &[("", sent)],
    );
    let killed = [("", counters.killed)];
    let help = "Clients' processes that did not end by themselves.";
    tell("tfd_processes_killed_total", "counter", help, &killed);
    let generations = [("", view.generations as u64)];
    tell(
        "tfd_generations",
        "gauge",
        "Configurations that serve clients.",
        &generations,
    );
    let started = [("", counters.generations)];
    let help = "Starts of helper processes, at reloads and after failures.";
    tell("tfd_generations_total", "counter", help, &started);
    let uptime = [("", view.born.elapsed().as_secs())];
    tell(
        "tfd_uptime_seconds",
        "gauge",
        "Seconds since the start.",
        &uptime,
    );
    if let Some(quota) = view.quota {
        let used = [("", view.usage.stored())];
        tell(
            "tfd_quota_used_bytes",
            "gauge",
            "Bytes that count for the root's quota.",
            &used,
        );
        tell(
            "tfd_quota_limit_bytes",
            "gauge",
            "The root's quota.",
            &[("", quota)],
        );
    }
    text
}

fn reason(full: Full) -> &'static str {
    match full {
        Full::InAll => "{reason=\"max_sessions\"}",
        Full::FromAddress => "{reason=\"max_sessions_per_address\"}",
        Full::Unauthenticated => "{reason=\"max_unauthenticated\"}",
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
