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
}

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
    let length =
        key().private_decrypt(&body, &mut session_key, Padding::PKCS1_OAEP).expect("a session key");
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
            Answer::Get(frames) => {
                let buffer = 256_u64 * 1024;
                wire.write_message(&[b"OK ", &buffer.to_be_bytes()[..]].concat())?;
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
