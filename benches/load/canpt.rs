//! PUTCAN and GETCAN, which no client of ours uses (document, "PUTCAN" and
//! "GETCAN"): frames with a window behind every few of them.

use tfd::client::{ClientError, Connection};

use crate::server::failure;

const BUFFER: usize = 256 * 1024;

/// Frames between two windows.
const CANCEL_POINT: u64 = 64;

const END: i64 = 0;
const CONTINUE: i64 = -3;

/// Sends a file.
pub(crate) fn put(
    connection: &mut Connection,
    path: &str,
    source: &mut dyn FnMut(&mut [u8]) -> Result<usize, ClientError>,
) -> Result<(), ClientError> {
    let mut frame = vec![0; 8 + agree(connection, "PUTCAN", path)?];
    let mut frames = 0;
    loop {
        let len = source(&mut frame[8..])?;
        if len == 0 {
            connection.wire().write_i64(END)?;
            // There is no reply: what is asked next tells that all is stored.
            connection.echo("stored")?;
            return Ok(());
        }
        frame[..8].copy_from_slice(&(len as i64).to_be_bytes());
        connection
            .wire()
            .write_units(&mut frame[..8 + len], &[8, len])?;
        frames += 1;
        if frames % CANCEL_POINT == 0 && connection.wire().read_i64()? != CONTINUE {
            return Err(failure("the server cancelled PUTCAN"));
        }
    }
}

/// Receives a file.
pub(crate) fn get(
    connection: &mut Connection,
    path: &str,
    sink: &mut dyn FnMut(&[u8]) -> Result<(), ClientError>,
) -> Result<(), ClientError> {
    let mut buffer = vec![0; agree(connection, "GETCAN", path)?];
    let mut frames = 0;
    loop {
        match connection.wire().read_i64()? {
            END => return Ok(()),
            len @ 1.. if len as usize <= buffer.len() => {
                let data = &mut buffer[..len as usize];
                connection.wire().read_raw(data)?;
                sink(data)?;
            }
            _ => return Err(failure("the server cancelled GETCAN")),
        }
        frames += 1;
        if frames % CANCEL_POINT == 0 {
            connection.wire().write_i64(CONTINUE)?;
        }
    }
}

/// Sends the request; the agreed buffer.
fn agree(connection: &mut Connection, word: &str, path: &str) -> Result<usize, ClientError> {
    let mut request = format!("{word} {path} ").into_bytes();
    for number in [0, BUFFER as u64, CANCEL_POINT] {
        request.extend_from_slice(&number.to_be_bytes());
    }
    let reply = connection.request(&request)?;
    let agreed = reply
        .strip_prefix(b"OK ")
        .and_then(|data| data.try_into().ok());
    match agreed.map(u64::from_be_bytes) {
        Some(size @ 1..) if size <= BUFFER as u64 => Ok(size as usize),
        _ => Err(failure(&format!(
            "{word} refused: {}",
            reply.escape_ascii()
        ))),
    }
}
