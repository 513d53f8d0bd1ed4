//! Sessions that do nothing, for their memory to be looked at.

use std::io::Read;

use crate::Figure;
use crate::server::{enter, local, target};

/// Says `ready` when the sessions have answered and holds them open until
/// standard input ends.
pub(crate) fn hold(count: usize) -> Figure {
    let target = target()?;
    let mut connections = Vec::new();
    for _ in 0..count {
        let mut connection = enter(&target)?;
        connection.echo("hello")?;
        connections.push(connection);
    }
    println!("ready");
    std::io::stdin()
        .read_to_end(&mut Vec::new())
        .map_err(local("standard input"))?;
    let held = connections.len();
    connections
        .into_iter()
        .try_for_each(tfd::client::Connection::end)?;
    Ok(format!("{held} ended"))
}
