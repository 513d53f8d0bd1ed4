//! Many small files over one connection.

use std::time::Instant;

use tfd::client::ClientError;

use crate::Figure;
use crate::server::{enter, local, target};
use crate::transfer::transfer;

/// Microseconds a file, for all that lie in a local directory, to or from files
/// of the same names in a remote one. Receiving replaces the local ones.
pub(crate) fn per_file(flow: &str, directory: &str, remote: &str) -> Figure {
    let names = names(directory).map_err(local(directory))?;
    let mut connection = enter(&target()?)?;
    let begin = Instant::now();
    for name in &names {
        transfer(
            &mut connection,
            flow,
            &format!("{directory}/{name}"),
            &format!("{remote}/{name}"),
        )?;
    }
    let seconds = begin.elapsed().as_secs_f64();
    connection.end()?;
    Ok::<_, ClientError>(format!("{:.1}", seconds * 1e6 / names.len() as f64))
}

fn names(directory: &str) -> std::io::Result<Vec<String>> {
    std::fs::read_dir(directory)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}
