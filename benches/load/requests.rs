//! Requests of one message and one reply.

use std::time::Instant;

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

/// The same for a client with Nagle's algorithm that writes header and body by
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
