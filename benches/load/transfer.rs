//! One file by one flow.

use std::fs::File;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use tfd::client::{ClientError, Connection};
use tfd::tf::cipher::cycle;

use crate::flows::Flows;
use crate::server::{enter, failure, local, target};
use crate::{Figure, MIB, canpt, keys};

/// Bytes after which both sides have asked for the tables, and the time in
/// which they are made.
const ASKED: u64 = 96 << 20;
const MADE: Duration = Duration::from_secs(2);

/// MiB per second of one file. `chain` tells what the cipher does: "random" is a
/// key as `tf` makes it, "first" one that meets no cycle, "cycle" one that is on
/// a cycle whose table both sides read.
pub(crate) fn rate(flow: &str, local: &str, remote: &str, chain: &str) -> Figure {
    let mut connection = match chain {
        "random" => {
            cycle::make_table_on_need();
            enter(&target()?)?
        }
        "first" => keys::enter_with(&keys::long_way())?,
        "cycle" => {
            cycle::make_table_on_need();
            let mut connection = keys::enter_with(&keys::on_cycle())?;
            let mut moved = 0;
            while moved < ASKED {
                moved += transfer(&mut connection, flow, local, remote)?;
            }
            std::thread::sleep(MADE);
            transfer(&mut connection, flow, local, remote)?;
            connection
        }
        _ => return Err(failure("random, first or cycle")),
    };
    let begin = Instant::now();
    let moved = transfer(&mut connection, flow, local, remote)?;
    let seconds = begin.elapsed().as_secs_f64();
    connection.end()?;
    Ok(format!("{:.0}", moved as f64 / MIB / seconds))
}

/// Moves one file; its bytes.
pub(crate) fn transfer(
    connection: &mut Connection,
    flow: &str,
    path: &str,
    remote: &str,
) -> Result<u64, ClientError> {
    let mut moved = 0;
    if matches!(flow, "sndfile" | "put" | "putcan" | "sup") {
        let mut file = File::open(path).map_err(local(path))?;
        let mut source = |buffer: &mut [u8]| {
            let len = file.read(buffer).map_err(local(path))?;
            moved += len as u64;
            Ok(len)
        };
        match flow {
            "sndfile" => connection.send_file(remote, true, &mut source)?,
            "put" => connection.put(remote, 0, &mut source)?,
            "putcan" => canpt::put(connection, remote, &mut source)?,
            _ => connection.stream_up(remote, &mut source)?,
        }
    } else {
        let mut file = File::create(path).map_err(local(path))?;
        let mut sink = |data: &[u8]| {
            moved += data.len() as u64;
            file.write_all(data).map_err(local(path))
        };
        match flow {
            "rcvfile" => connection.receive_file(remote, false, &mut sink)?,
            "get" => connection.get(remote, 0, &mut sink)?,
            "getcan" => canpt::get(connection, remote, &mut sink)?,
            "sdown" => connection.stream_down(remote, &mut sink)?,
            _ => return Err(failure("no such flow")),
        }
    }
    Ok(moved)
}
