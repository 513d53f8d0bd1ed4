//! The server's part of PUT and GET at the beginning of a stream: the client
//! enciphers before the clock starts, or deciphers and compares when it has
//! stopped, and meanwhile only moves bytes between its memory and the socket.

use std::time::{Duration, Instant};

use tfd::client::ClientError;
use tfd::tf::cipher::Cipher;
use tfd::tf::wire::Wire;

use crate::server::{failure, local};
use crate::{Figure, MIB, keys};

/// Bytes of a frame.
const FRAME: usize = 256 * 1024;

const END: i64 = 0;
const FIN: i64 = -127;

/// MiB per second of one file.
pub(crate) fn rate(flow: &str, path: &str, remote: &str) -> Figure {
    let (bytes, took) = match flow {
        "put" => put(path, remote)?,
        "get" => get(path, remote)?,
        "drop" => get_and_drop(path, remote)?,
        _ => return Err(failure("put, get or drop")),
    };
    Ok(format!("{:.0}", bytes as f64 / MIB / took.as_secs_f64()))
}

/// Sends a file that is enciphered already. From the first byte to the server's
/// word that it is written.
fn put(path: &str, remote: &str) -> Result<(usize, Duration), ClientError> {
    let file = std::fs::read(path).map_err(local(path))?;
    let mut connection = keys::enter_with(&keys::long_way())?;
    let agreed = connection.request(&request("PUT", remote))?;
    check_agreed(&agreed)?;
    let wire = connection.wire();
    for frame in file.chunks(FRAME) {
        wire.hold_unit(&(frame.len() as i64).to_be_bytes());
        wire.hold_unit(frame);
    }
    wire.hold_unit(&END.to_be_bytes());

    let begin = Instant::now();
    wire.flush()?;
    let last = wire.read_i64()?;
    let took = begin.elapsed();

    wire.write_i64(FIN)?;
    if last != FIN {
        return Err(failure("the server cancelled PUT"));
    }
    connection.end()?;
    Ok((file.len(), took))
}

/// Receives a file as it comes, which the server has a copy of. From the request
/// to the last byte.
fn get(path: &str, remote: &str) -> Result<(usize, Duration), ClientError> {
    let file = std::fs::read(path).map_err(local(path))?;
    let (mut wire, mut cipher) = enter()?;
    let mut stream = vec![0xff; stream_len(file.len())];

    let begin = Instant::now();
    wire.write_message(&request("GET", remote))?;
    check_agreed(&receive(&mut wire, &mut cipher)?)?;
    wire.read_raw(&mut stream)?;
    let took = begin.elapsed();

    let mut rest = stream.as_mut_slice();
    for expected in file.chunks(FRAME) {
        if next_header(&mut rest, &mut cipher) != expected.len() as i64 {
            return Err(failure("a frame of another length"));
        }
        let (frame, behind) = rest.split_at_mut(expected.len());
        cipher.decrypt(frame);
        if frame != expected {
            return Err(failure("the file arrived changed"));
        }
        rest = behind;
    }
    if next_header(&mut rest, &mut cipher) != END {
        return Err(failure("GET did not end where the file does"));
    }
    wire.write_i64(FIN)?;
    Ok((file.len(), took))
}

/// Receives a file as it comes into one piece of memory, over and over. From the
/// request to the last byte.
fn get_and_drop(path: &str, remote: &str) -> Result<(usize, Duration), ClientError> {
    let metadata = std::fs::metadata(path).map_err(local(path))?;
    let bytes = metadata.len() as usize;
    let (mut wire, mut cipher) = enter()?;
    let mut piece = vec![0xff; FRAME];
    let mut left = stream_len(bytes);

    let begin = Instant::now();
    wire.write_message(&request("GET", remote))?;
    check_agreed(&receive(&mut wire, &mut cipher)?)?;
    while left > 0 {
        let len = left.min(piece.len());
        wire.read_raw(&mut piece[..len])?;
        left -= len;
    }
    let took = begin.elapsed();

    wire.write_i64(FIN)?;
    Ok((bytes, took))
}

/// A session whose key meets no cycle, with the cipher of what the server sends.
fn enter() -> Result<(Wire, Cipher), ClientError> {
    let key = keys::long_way();
    let mut wire = keys::knock_with(&key)?;
    let mut cipher = Cipher::new(&key);
    if receive(&mut wire, &mut cipher)? != b"OK" {
        return Err(failure("the server did not let us in"));
    }
    Ok((wire, cipher))
}

/// The bytes of a file's frames with their headers and the end: all frames but the
/// last are full.
fn stream_len(bytes: usize) -> usize {
    bytes + 8 * bytes.div_ceil(FRAME) + END.to_be_bytes().len()
}

/// Deciphers the header of a frame, of bytes that have as many.
fn next_header(rest: &mut &mut [u8], cipher: &mut Cipher) -> i64 {
    let (header, behind) = std::mem::take(rest).split_at_mut(8);
    *rest = behind;
    cipher.decrypt(header);
    header
        .iter()
        .fold(0, |number, byte| number << 8 | i64::from(*byte))
}

/// A message of the server on a wire that receives bytes as they come.
fn receive(wire: &mut Wire, cipher: &mut Cipher) -> Result<Vec<u8>, ClientError> {
    let mut header = [0; 4];
    wire.read_raw(&mut header)?;
    cipher.decrypt(&mut header);
    let mut body = vec![0; u32::from_be_bytes(header).min(1024) as usize];
    wire.read_raw(&mut body)?;
    cipher.decrypt(&mut body);
    Ok(body)
}

/// A request for frames of [`FRAME`] bytes from the beginning of a file on.
fn request(word: &str, path: &str) -> Vec<u8> {
    let mut request = format!("{word} {path} ").into_bytes();
    for number in [0, FRAME as u64] {
        request.extend_from_slice(&number.to_be_bytes());
    }
    request
}

fn check_agreed(reply: &[u8]) -> Result<(), ClientError> {
    if reply == [b"OK ".as_slice(), &(FRAME as u64).to_be_bytes()].concat() {
        return Ok(());
    }
    Err(failure(&format!("refused: {}", reply.escape_ascii())))
}
