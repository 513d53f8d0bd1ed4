//! UDP probes.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use tfd::client::ClientError;

use crate::Figure;
use crate::server::{enter, failure, local, target};

/// Probes that wait for their answers at once.
const OUTSTANDING: usize = 64;

/// PROCHECK questions about a session of our own, answered per second.
pub(crate) fn per_second(count: usize) -> Figure {
    let mut connection = enter(&target()?)?;
    let question = [&[1], connection.process_key()?.as_slice()].concat();
    let server = connection
        .wire()
        .socket()
        .peer_addr()
        .map_err(local("UDP"))?;
    let own = if server.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(own).map_err(local("UDP"))?;
    socket.connect(server).map_err(local("UDP"))?;
    let rate = answered(&socket, &question, &[1], count)?;
    connection.end()?;
    Ok(rate)
}

/// Questions by one socket, answered per second. One that is lost, or its
/// answer, fails.
pub(crate) fn answered(
    socket: &UdpSocket,
    question: &[u8],
    expected: &[u8],
    count: usize,
) -> Figure {
    socket
        .set_read_timeout(Some(Duration::from_secs(2)))
        .map_err(local("UDP"))?;
    let mut answer = [0; 64];
    let begin = Instant::now();
    for number in 0..count + OUTSTANDING {
        if number >= OUTSTANDING {
            let len = socket.recv(&mut answer).map_err(local("UDP"))?;
            if &answer[..len] != expected {
                return Err::<_, ClientError>(failure("a wrong answer by UDP"));
            }
        }
        if number < count {
            socket.send(question).map_err(local("UDP"))?;
        }
    }
    Ok(format!(
        "{:.0}",
        count as f64 / begin.elapsed().as_secs_f64()
    ))
}
