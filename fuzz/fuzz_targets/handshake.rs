//! The gate, from the first byte to the last door: whatever a client sends, a
//! gate asks keeper and authenticator only what they understand, and hands over a
//! session that goes on.
//!
//! The first byte says which doors are closed, the second which session key
//! the keeper gives, the next eight what is answered at the doors. The rest is
//! the stream of the client in plain; from its third message on it is sent
//! enciphered.
#![no_main]

use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tfd::daemon::helpers::keeper::{KEY_LENGTHS, Keeper, MAX_BLOCK, MAX_HASH};
use tfd::ipc::channel::{Channel, pair};
use tfd::session::admission::{Ask, MAX_ASK, NextDoor};
use tfd::tf::cipher::Cipher;
use tfd::tf::doors::{self, Closed};
use tfd::tf::gate::{Doors, Passed, admit};
use tfd::tf::wire::{Meter, Wire};
use tfd_fuzz::{connection_with, encipher, take_message};

const ANSWERS: usize = 8;

static RECEIVED: AtomicU64 = AtomicU64::new(0);
static SENT: AtomicU64 = AtomicU64::new(0);

fuzz_target!(|data: &[u8]| {
    let Some((&[choice, key_len], data)) = data.split_first_chunk::<2>() else {
        return;
    };
    let Some((answers, stream)) = data.split_first_chunk::<ANSWERS>() else {
        return;
    };
    let key = vec![7; key_len.into()];
    let (_peer, ours) = connection_with(&client(stream, &key));

    let (gates, doors_end) = pair().expect("pair");
    answer_doors(&doors_end, *answers);
    let (keepers, gate_end) = pair().expect("pair");
    let granted = if choice & 4 == 0 {
        vec![gates.as_fd()]
    } else {
        Vec::new()
    };
    keepers
        .send(&[&[1], key.as_slice()].concat(), &[])
        .expect("send");
    keepers.send(&[1], &granted).expect("send");

    let closed = Closed {
        login: choice & 1 != 0,
        jail: choice & 2 != 0,
    };
    let doors = Doors {
        version: b"0.0".to_vec(),
        limit: Duration::from_secs(9),
        accept_proxy_from: Vec::new(),
        closed,
        tls: None,
    };
    let meter = Meter {
        received: &RECEIVED,
        sent: &SENT,
    };
    let admitted = admit(ours, None, &Arc::new(Keeper::new(gate_end)), &doors, meter);
    check_keeper(&keepers);
    let Ok(Passed {
        mut wire, granted, ..
    }) = admitted
    else {
        return;
    };
    assert!(KEY_LENGTHS.contains(&key.len()));
    let mut next = NextDoor::new(granted, closed);
    let passed = doors::pass(&mut wire, closed, "key", &mut next);
    let handed_over = matches!(passed, Ok(doors::Passed::All));
    if handed_over {
        next.hand_over(wire).expect("handed over");
    }
    check_doors(&doors_end, handed_over);
});

/// The stream as the client sends it: version and block in plain.
fn client(mut stream: &[u8], key: &[u8]) -> Vec<u8> {
    let mut bytes = take_message(&mut stream).to_vec();
    bytes.extend_from_slice(take_message(&mut stream));
    match key.len() {
        ..8 => bytes.extend_from_slice(stream),
        _ => bytes.extend(encipher(&mut Cipher::new(key), stream)),
    }
    bytes
}

/// Refusals are those that take no longer from one to the next.
fn answer_doors(channel: &Channel, answers: [u8; ANSWERS]) {
    for answer in answers {
        let message: &[u8] = match answer % 4 {
            0 | 1 => &[0],
            2 => &[1],
            _ => &[0, 0],
        };
        channel.send(message, &[]).expect("send");
    }
    rustix::net::shutdown(channel, rustix::net::Shutdown::Write).expect("shutdown");
}

fn check_keeper(keepers: &Channel) {
    let mut buffer = [0; 1 + MAX_BLOCK];
    for what in [1, 2] {
        let Ok((len, _)) = keepers.try_receive(&mut buffer) else {
            return;
        };
        if len == 0 {
            return;
        }
        assert!(buffer[0] == what && (what == 1 || len <= 1 + MAX_HASH));
    }
}

fn check_doors(channel: &Channel, handed_over: bool) {
    let mut buffer = vec![0; MAX_ASK];
    let mut resumed = false;
    while let Ok((len @ 1.., handles)) = channel.try_receive(&mut buffer) {
        let ask = Ask::from_bytes(&buffer[..len]).expect("a question of a gate");
        if let Ask::State(state) = ask {
            let socket = handles.into_iter().next().expect("the socket");
            let mut wire = Wire::from_state(socket.into(), state).expect("a session");
            let mut body = Vec::new();
            while wire.read_message(&mut body).is_ok() {}
            let _ = wire.socket().shutdown(Shutdown::Both);
            resumed = true;
        }
    }
    assert_eq!(resumed, handed_over);
}
