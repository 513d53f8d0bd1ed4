//! What it costs to get in.

use std::time::Instant;

use tfd::client::{ClientError, Target};

use crate::Figure;
use crate::server::{enter, target};

/// Sessions from TCP to the last door's `OK` and END, per second. Over TLS they
/// resume one another, or with `fresh` none does.
pub(crate) fn per_second(clients: usize, count: usize, fresh: bool) -> Figure {
    let shared = target()?;
    let each = count / clients;
    let one = move |shared: &Target| match fresh {
        true => enter(&target()?)?.end(),
        false => enter(shared)?.end(),
    };
    let begin = Instant::now();
    let threads: Vec<_> = (0..clients)
        .map(|_| {
            let shared = shared.clone();
            std::thread::spawn(move || (0..each).try_for_each(|_| one(&shared)))
        })
        .collect();
    for thread in threads {
        thread.join().unwrap_or(Ok(()))?;
    }
    Ok(format!(
        "{:.0}",
        (each * clients) as f64 / begin.elapsed().as_secs_f64()
    ))
}

/// From connecting to the first answer, in microseconds: the median.
pub(crate) fn ready(count: usize) -> Figure {
    let target = target()?;
    let mut times = (0..count)
        .map(|_| {
            let begin = Instant::now();
            let mut connection = enter(&target)?;
            connection.echo("hello")?;
            let time = begin.elapsed();
            connection.end()?;
            Ok(time)
        })
        .collect::<Result<Vec<_>, ClientError>>()?;
    times.sort_unstable();
    Ok(times[count / 2].as_micros().to_string())
}
