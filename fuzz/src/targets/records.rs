//! Records of TLS after the handshake: any bytes in their place end the
//! connection, what was sent arrives, over a handing-over too, and what was
//! changed on the way never does.
//!
//! The first byte chooses, the next two say which byte is changed, the rest is
//! the stream of the peer in plain.

use std::io::Read;
use std::net::Shutdown;

use crate::peer::{connection_with, take_message};
use tfd::tf::wire::{Wire, WireError};

/// Takes one input.
pub fn run(data: &[u8]) {
    let Some((&[choice, high, low], stream)) = data.split_first_chunk::<3>() else {
        return;
    };
    let suite = 1 + choice / 4 % 3;
    match choice % 4 {
        0 => garbage(suite, stream),
        1 => arrives(suite, stream, false),
        2 => arrives(suite, stream, true),
        _ => changed(suite, stream, usize::from(u16::from_be_bytes([high, low]))),
    }
}

/// The state of an end whose handshake is done, without a cipher inside.
fn state(suite: u8, is_server: bool) -> Vec<u8> {
    let len = if suite == 2 { 48 } else { 32 };
    let mut bytes = vec![0, 0, 0, 0, 0, 1, suite];
    for secret in if is_server { [1, 2] } else { [2, 1] } {
        bytes.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, len as u8]);
        bytes.extend(std::iter::repeat_n(secret, len));
    }
    bytes.extend_from_slice(&[0; 9]);
    // Nothing exported.
    bytes.push(0);
    bytes
}

/// What a client sends: the messages of a stream, one write each.
fn sent(suite: u8, mut stream: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (mut peer, ours) = connection_with(b"");
    let mut client = Wire::from_state(ours, &state(suite, false)).expect("client");
    let mut bodies = Vec::new();
    while let Some((_, body)) = take_message(&mut stream).split_first_chunk::<4>() {
        client.write_message(body).expect("write");
        bodies.push(body.to_vec());
    }
    client.link().close();
    let _ = client.socket().shutdown(Shutdown::Write);
    let mut bytes = Vec::new();
    peer.read_to_end(&mut bytes).expect("what was sent");
    (bytes, bodies)
}

fn server(suite: u8, bytes: &[u8]) -> (std::net::TcpStream, Wire) {
    let (peer, ours) = connection_with(bytes);
    (
        peer,
        Wire::from_state(ours, &state(suite, true)).expect("server"),
    )
}

fn garbage(suite: u8, bytes: &[u8]) {
    let (_peer, mut server) = server(suite, bytes);
    let mut body = Vec::new();
    let result = server.read_message(&mut body);
    assert!(
        matches!(result, Err(WireError::Broken(_) | WireError::Cut)),
        "{result:?}"
    );
}

fn arrives(suite: u8, stream: &[u8], hand_over: bool) {
    let (bytes, bodies) = sent(suite, stream);
    let (_peer, mut server) = server(suite, &bytes);
    let mut body = Vec::new();
    for expected in bodies {
        server.read_message(&mut body).expect("message");
        assert_eq!(body, expected);
        if hand_over {
            let (socket, state) = server.into_state().expect("a state between messages");
            server = Wire::from_state(socket, &state).expect("the state of a wire");
        }
    }
    assert!(matches!(
        server.read_message(&mut body),
        Err(WireError::Closed)
    ));
}

fn changed(suite: u8, stream: &[u8], at: usize) {
    let (mut bytes, bodies) = sent(suite, stream);
    let at = at % bytes.len();
    bytes[at] ^= 1;
    let (_peer, mut server) = server(suite, &bytes);
    let mut body = Vec::new();
    let mut expected = bodies.iter();
    let end = loop {
        match server.read_message(&mut body) {
            Ok(()) => assert_eq!(Some(&body), expected.next()),
            Err(e) => break e,
        }
    };
    // The second and third byte of a header are in no tag and have no meaning
    // but in the tag's data, so that a change of any byte is found.
    assert!(!matches!(end, WireError::Closed), "byte {at} was changed");
}
