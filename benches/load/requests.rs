//! Requests of one message and one reply.

use std::time::{Duration, Instant};

use tfd::client::{ClientError, Connection};

use crate::flows::Flows;
use crate::server::{enter, failure, local, target};
use crate::{Figure, MIB};

/// Requests, each sent when the last was answered, per second.
pub(crate) fn per_second(request: &str, count: usize) -> Figure {
    let mut connection = enter(&target()?)?;
    let begin = Instant::now();
    for _ in 0..count {
        connection.request(request.as_bytes())?;
    }
    let seconds = begin.elapsed().as_secs_f64();
    connection.end()?;
    Ok(format!("{:.0}", count as f64 / seconds))
}

/// Clients at once, each with so many requests one after the other: requests per second,
/// and how many microseconds half and 99 of 100 of them took at most.
pub(crate) fn latencies(request: &str, clients: usize, count: usize) -> Figure {
    let target = target()?;
    let connections = (0..clients)
        .map(|_| enter(&target))
        .collect::<Result<Vec<_>, _>>()?;
    let begin = Instant::now();
    let threads: Vec<_> = connections
        .into_iter()
        .map(|connection| {
            let request = request.to_owned();
            std::thread::spawn(move || timed(connection, &request, count))
        })
        .collect();
    let mut times = Vec::new();
    let mut ended = Vec::new();
    for thread in threads {
        let (connection, of_one) = thread.join().map_err(|_| failure("a client died"))??;
        times.extend(of_one);
        ended.push(connection);
    }
    let seconds = begin.elapsed().as_secs_f64();
    ended.into_iter().try_for_each(Connection::end)?;
    times.sort_unstable();
    let at = |of_hundred: usize| times[times.len() * of_hundred / 100].as_secs_f64() * 1e6;
    let rate = times.len() as f64 / seconds;
    Ok(format!("{rate:.0} {:.1} {:.1}", at(50), at(99)))
}

/// So many requests one after the other, and how long each took.
fn timed(
    mut connection: Connection,
    request: &str,
    count: usize,
) -> Result<(Connection, Vec<Duration>), ClientError> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let begin = Instant::now();
        connection.request(request.as_bytes())?;
        times.push(begin.elapsed());
    }
    Ok((connection, times))
}

/// Requests per second of a client with Nagle's algorithm that writes header and body by
/// themselves.
pub(crate) fn apart_per_second(request: &str, count: usize) -> Figure {
    let mut connection = enter(&target()?)?;
    let wire = connection.wire();
    wire.socket()
        .set_nodelay(false)
        .map_err(local("Nagle's algorithm"))?;
    let mut reply = Vec::new();
    let begin = Instant::now();
    for _ in 0..count {
        wire.write_part(0, &mut (request.len() as u32).to_be_bytes())?;
        wire.write_part(0, &mut request.as_bytes().to_vec())?;
        wire.read_message(&mut reply)?;
    }
    let seconds = begin.elapsed().as_secs_f64();
    connection.end()?;
    Ok(format!("{:.0}", count as f64 / seconds))
}

/// SHA256 of a file, in MiB per second.
pub(crate) fn digest_rate(path: &str) -> Figure {
    let mut connection = enter(&target()?)?;
    let size = u64::try_from(connection.file_size(path)?).map_err(|_| failure("no such file"))?;
    let begin = Instant::now();
    connection.sha256(path)?;
    let seconds = begin.elapsed().as_secs_f64();
    connection.end()?;
    Ok(format!("{:.0}", size as f64 / MIB / seconds))
}
