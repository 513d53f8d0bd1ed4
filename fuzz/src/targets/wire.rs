//! Messages on a connection, in plain and enciphered, over a handing-over and
//! a new key; and any bytes as the state of a wire.
//!
//! The first byte chooses, the rest is the stream of the peer in plain.

use crate::peer::{KEY, connection_with, encipher, take_message};
use tfd::session::login::MAX_STATE;
use tfd::tf::cipher::Cipher;
use tfd::tf::wire::{MAX_MESSAGE, Wire, WireError};

const NEW_KEY: &[u8] = b"fedcba9876543210fedcba98";

/// Takes one input.
pub fn run(data: &[u8]) {
    let Some((choice, stream)) = data.split_first() else {
        return;
    };
    match choice % 6 {
        0 => plain(stream),
        1 => enciphered(stream, false),
        2 => enciphered(stream, true),
        3 => new_key(stream, false),
        4 => new_key(stream, true),
        _ => state(stream),
    }
}

fn plain(stream: &[u8]) {
    let (_peer, ours) = connection_with(stream);
    expect(&mut Wire::new(ours).expect("wire"), stream);
}

fn enciphered(mut stream: &[u8], hand_over: bool) {
    let (peer, ours) = connection_with(&encipher(&mut Cipher::new(KEY), stream));
    let mut wire = Wire::new(ours).expect("wire");
    wire.encipher(KEY);
    if hand_over {
        if !expect_one(&mut wire, take_message(&mut stream)) {
            return;
        }
        let Some((socket, state)) = wire.into_state() else {
            panic!("no state between messages")
        };
        wire = Wire::from_state(socket, &state).expect("the state of a wire");
    }
    expect(&mut wire, stream);
    wire.write_message(stream).expect("reply");
    let mut client = Wire::new(peer).expect("wire");
    client.encipher(KEY);
    let mut reply = Vec::new();
    client.read_message(&mut reply).expect("reply");
    assert_eq!(reply, stream);
}

/// Which cipher a client goes on with is guessed where both make sense, so
/// that not every stream arrives as sent.
fn new_key(mut stream: &[u8], restart: bool) {
    let mut cipher = Cipher::new(KEY);
    let mut sent = encipher(&mut cipher, take_message(&mut stream));
    let mut cipher = if restart {
        Cipher::new(NEW_KEY)
    } else {
        cipher.with_new_key(NEW_KEY)
    };
    sent.extend(encipher(&mut cipher, stream));
    let (_peer, ours) = connection_with(&sent);
    let mut wire = Wire::new(ours).expect("wire");
    wire.encipher(KEY);
    let mut body = Vec::new();
    if wire.read_message(&mut body).is_ok() {
        wire.swap_key(NEW_KEY);
        while wire.read_message(&mut body).is_ok() {}
    }
}

fn state(bytes: &[u8]) {
    let (_peer, ours) = connection_with(b"");
    let Ok(wire) = Wire::from_state(ours, bytes) else {
        return;
    };
    let Some((socket, again)) = wire.into_state() else {
        panic!("a state that can't be told")
    };
    assert!(again.as_slice() == bytes && again.len() <= MAX_STATE);
    let mut wire = Wire::from_state(socket, bytes).expect("fine once, fine again");
    wire.write_message(b"OK").expect("write");
    let mut body = Vec::new();
    while wire.has_read_ahead() && wire.read_short_message(&mut body, 64).is_ok() {}
}

/// Reads a stream to its end and compares.
fn expect(wire: &mut Wire, mut stream: &[u8]) {
    while expect_one(wire, take_message(&mut stream)) {}
}

/// Reads one message; whether it arrived whole.
fn expect_one(wire: &mut Wire, message: &[u8]) -> bool {
    let mut body = Vec::new();
    let result = wire.read_message(&mut body);
    let Some((header, sent)) = message.split_first_chunk::<4>() else {
        match result {
            Err(WireError::Closed) => assert!(message.is_empty()),
            Err(WireError::Cut) => assert!(!message.is_empty()),
            other => panic!("{other:?} for {message:?}"),
        }
        return false;
    };
    let announced = i32::from_be_bytes(*header);
    match result {
        Ok(()) => assert_eq!(body, sent),
        Err(WireError::Length(told)) => {
            let fine = usize::try_from(announced).is_ok_and(|len| len <= MAX_MESSAGE);
            assert!(told == announced && !fine);
            return false;
        }
        Err(WireError::Cut) => {
            assert!(sent.len() < announced as usize);
            return false;
        }
        other => panic!("{other:?} for {message:?}"),
    }
    true
}
