//! A server that says what a test wants it to say.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use openssl::rsa::Padding;
use tfd::tf::wire::Wire;

use crate::common::key;

/// What is answered to a request.
pub(crate) enum Answer {
    /// A message.
    Message(Vec<u8>),
    /// The stream of LS and LSR.
    Listing(&'static str),
    /// Frames of SDOWN, and whether its end follows.
    Frames(Vec<Vec<u8>>),
    /// The agreed buffer of GET, and frames with no regard to it.
    Get(Vec<Vec<u8>>),
    /// As much of the stream of LS and LSR, again and again so many times,
    /// unless it is broken off.
    Parts(usize, Vec<u8>),
    /// The agreed buffer of GET, a frame, and no more of this connection.
    GetCut(Vec<u8>),
    /// GET of nothing, with so many codes before its end.
    GetCodes(usize),
    /// So many times the same message.
    Messages(usize, Vec<u8>),
    /// `OK`, the frames of LSV2DOWN, and the code behind them.
    Lines(Vec<Vec<u8>>, i32),
    /// None.
    Nothing,
}

/// The reply that agrees to a buffer of 256 KiB.
const AGREED: &[u8] = b"OK \0\0\0\0\0\x04\0\0";

impl From<&str> for Answer {
    fn from(text: &str) -> Answer {
        Answer::Message(text.into())
    }
}

/// Starts a server that answers each request as told, on each connection.
pub(crate) fn start(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("address");
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let answer = Arc::clone(&answer);
            let wire = Wire::new(socket.expect("accept")).expect("wire");
            // The client may leave at any moment.
            std::thread::spawn(move || drop(serve(wire, &*answer)));
        }
    });
    address
}

fn serve(mut wire: Wire, answer: &dyn Fn(&str) -> Answer) -> tfd::tf::wire::Result<()> {
    let mut body = Vec::new();
    wire.read_message(&mut body)?;
    wire.write_message(b"OK")?;
    wire.read_message(&mut body)?;
    let mut session_key = vec![0; 256];
    let length = key()
        .private_decrypt(&body, &mut session_key, Padding::PKCS1_OAEP)
        .expect("a session key");
    session_key.truncate(length);
    wire.write_message(b"OK")?;
    wire.encipher(&session_key);
    wire.read_message(&mut body)?;
    wire.write_message(b"OK")?;
    loop {
        wire.read_message(&mut body)?;
        let request = String::from_utf8_lossy(&body).into_owned();
        match answer(&request) {
            Answer::Message(text) => wire.write_message(&text)?,
            Answer::Listing(lines) => {
                wire.write_message(&[b"CONT ", lines.as_bytes()].concat())?;
                wire.read_message(&mut body)?;
                wire.write_message(b"OK")?;
            }
            Answer::Frames(frames) => {
                for mut frame in frames {
                    wire.write_i32(frame.len() as i32)?;
                    let units = [frame.len()];
                    wire.write_units(&mut frame, &units)?;
                }
                wire.write_i32(0)?;
            }
            Answer::Parts(count, part) => {
                let part = [b"CONT ", part.as_slice()].concat();
                let mut end = &b"OK"[..];
                for _ in 0..count {
                    wire.write_message(&part)?;
                    wire.read_message(&mut body)?;
                    if body == b"BREAK" {
                        end = b"OK broken off";
                        break;
                    }
                }
                wire.write_message(end)?;
            }
            Answer::GetCut(mut frame) => {
                wire.write_message(AGREED)?;
                wire.write_i64(frame.len() as i64)?;
                let units = [frame.len()];
                wire.write_units(&mut frame, &units)?;
                return Ok(());
            }
            Answer::GetCodes(count) => {
                wire.write_message(AGREED)?;
                for code in std::iter::once(0).chain(std::iter::repeat_n(1, count)) {
                    wire.write_i64(code)?;
                }
                wire.write_i64(-127)?;
                wire.read_i64()?;
            }
            Answer::Messages(count, text) => {
                for _ in 0..count {
                    wire.write_message(&text)?;
                }
            }
            Answer::Lines(lines, end) => {
                wire.write_message(b"OK")?;
                for mut line in lines {
                    wire.write_i32(line.len() as i32)?;
                    let units = [line.len()];
                    wire.write_units(&mut line, &units)?;
                }
                wire.write_i32(end)?;
            }
            Answer::Nothing => {}
            Answer::Get(frames) => {
                wire.write_message(AGREED)?;
                for mut frame in frames {
                    wire.write_i64(frame.len() as i64)?;
                    let units = [frame.len()];
                    wire.write_units(&mut frame, &units)?;
                }
                wire.write_i64(0)?;
                while wire.read_i64()? != -127 {}
                wire.write_i64(-127)?;
            }
        }
    }
}
