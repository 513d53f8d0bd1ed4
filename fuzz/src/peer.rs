//! What the fuzz targets share: connected sockets that hold what a peer sent,
//! and the framing of that peer.

use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::OnceLock;

use tfd::tf::cipher::Cipher;

/// A session key.
pub const KEY: &[u8] = b"0123456789abcdef";

/// A connection over loopback: the peer's end and ours.
///
/// # Panics
/// When the system gives none.
fn connection() -> (TcpStream, TcpStream) {
    static LISTENER: OnceLock<TcpListener> = OnceLock::new();
    let listener = LISTENER.get_or_init(|| TcpListener::bind("127.0.0.1:0").expect("listener"));
    let peer = TcpStream::connect(listener.local_addr().expect("address")).expect("connection");
    let (ours, _) = listener.accept().expect("connection");
    for socket in [&peer, &ours] {
        // Closing is forgetting: no port waits for packets of an old run.
        let forget = Some(std::time::Duration::ZERO);
        rustix::net::sockopt::set_socket_linger(socket, forget).expect("option");
    }
    (peer, ours)
}

/// A connection whose peer has sent these bytes and will send no more.
///
/// # Panics
/// When the system gives none.
pub fn connection_with(bytes: &[u8]) -> (TcpStream, TcpStream) {
    let (peer, ours) = connection();
    (&peer).write_all(bytes).expect("room for what is sent");
    peer.shutdown(Shutdown::Write).expect("end of what is sent");
    (peer, ours)
}

/// Takes a message, header and body, from the front of a stream; the rest of
/// the stream where it ends inside one.
pub fn take_message<'a>(stream: &mut &'a [u8]) -> &'a [u8] {
    let body = match stream.split_first_chunk::<4>() {
        Some((header, _)) => usize::try_from(i32::from_be_bytes(*header)).unwrap_or(0),
        None => 0,
    };
    let (message, rest) = stream.split_at(stream.len().min(body.saturating_add(4)));
    *stream = rest;
    message
}

/// Enciphers a stream of messages as a peer does, header and body apart.
pub fn encipher(cipher: &mut Cipher, mut stream: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(stream.len());
    while !stream.is_empty() {
        let mut message = take_message(&mut stream).to_vec();
        let header = message.len().min(4);
        let (header, body) = message.split_at_mut(header);
        cipher.encrypt(header);
        cipher.encrypt(body);
        bytes.extend_from_slice(&message);
    }
    bytes
}
