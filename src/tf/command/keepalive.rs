//! KEEPALIVE (document, "KEEPALIVE"): sets the TCP keepalive of this
//! connection: after how many unanswered probes the system ends it.

use std::net::TcpStream;
use std::time::Duration;

use rustix::net::sockopt;

use crate::tf::status::{Reply, Status};

/// The longest time without an acknowledgement, in milliseconds.
const MAX_LIMIT: u32 = i32::MAX.unsigned_abs();

/// Sets the keepalive probes of the socket, `idle` and `interval` in seconds,
/// or switches them off. The connection ends when the last probe goes
/// unanswered, even if data waits to be sent.
///
/// # Errors
/// 32 when the system refuses a value; probes are off then.
pub(crate) fn run(
    socket: &TcpStream,
    on: bool,
    idle: i64,
    interval: i64,
    count: i64,
) -> Result<Reply, Status> {
    let set = if on {
        switch_on(socket, idle, interval, count)
    } else {
        switch_off(socket)
    };
    set.ok_or_else(|| {
        let _ = switch_off(socket);
        Status::Keepalive
    })
}

fn switch_on(socket: &TcpStream, idle: i64, interval: i64, count: i64) -> Option<Reply> {
    let seconds = |value| u64::try_from(value).ok().map(Duration::from_secs);
    let count = u32::try_from(count).ok()?;
    let (idle, interval) = (seconds(idle)?, seconds(interval)?);
    sockopt::set_tcp_keepidle(socket, idle).ok()?;
    sockopt::set_tcp_keepintvl(socket, interval).ok()?;
    sockopt::set_tcp_keepcnt(socket, count).ok()?;
    // The system takes it as a signed number.
    let limit = (idle + interval * count).as_millis().saturating_sub(1);
    let limit = u32::try_from(limit).map_or(MAX_LIMIT, |limit| limit.min(MAX_LIMIT));
    sockopt::set_tcp_user_timeout(socket, limit).ok()?;
    sockopt::set_socket_keepalive(socket, true).ok()?;
    Some(Reply::Ok)
}

fn switch_off(socket: &TcpStream) -> Option<Reply> {
    sockopt::set_tcp_user_timeout(socket, 0).ok()?;
    sockopt::set_socket_keepalive(socket, false).ok()?;
    Some(Reply::Ok)
}
