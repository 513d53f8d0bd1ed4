//! The gate, from the first byte to the last login step: whatever a client sends, a
//! gate asks keeper and authenticator only what they understand, and hands over a
//! session that goes on.
//!
//! The first byte says which login steps there are, the second which session key
//! the keeper gives, the next eight what is answered to them. The rest is
//! the stream of the client in plain; from its third message on it is sent
//! enciphered.

use std::io::ErrorKind;
use std::net::Shutdown;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use crate::peer::{connection_with, encipher, take_message};
use tfd::ipc::channel::{Channel, pair};
use tfd::ipc::codec::Encode;
use tfd::ipc::{Pipe, pipe};
use tfd::session::keeper::{Keeper, MAX_BLOCK, MAX_HASH, Question, Reply};
use tfd::session::login::{Ask, GatePipe, Login, Steps, Verdict, Why};
use tfd::session::protocol::Gate;
use tfd::tf::cipher::Cipher;
use tfd::tf::gate::KEY_LENGTHS;
use tfd::tf::gate::{Passed, admit};
use tfd::tf::login::{self, Greeting};
use tfd::tf::wire::Meter;
use zeroize::Zeroizing;

const ANSWERS: usize = 8;
/// A refusal that takes no longer from one to the next.
const REFUSAL: Verdict = Err(Why::Path);

static RECEIVED: AtomicU64 = AtomicU64::new(0);
static SENT: AtomicU64 = AtomicU64::new(0);

/// Takes one input.
pub fn run(data: &[u8]) {
    let Some((&[choice, key_len], data)) = data.split_first_chunk::<2>() else {
        return;
    };
    let Some((answers, stream)) = data.split_first_chunk::<ANSWERS>() else {
        return;
    };
    let key = vec![7; key_len.into()];
    let (_peer, ours) = connection_with(&client(stream, &key));

    let (gates, steps_end) = pair().expect("pair");
    answer_steps(&steps_end, *answers);
    let steps_end = GatePipe::from(steps_end);
    let (keepers, gate_end) = pipe::pair::<Reply, Question>().expect("pair");
    let granted = Zeroizing::new(key.clone());
    keepers.send(&Reply::Granted(granted)).expect("send");
    let passed = match choice & 4 {
        0 => Reply::Passed(gates.into()),
        _ => Reply::Refused,
    };
    keepers.send(&passed).expect("send");
    drop(passed);

    let steps = Steps {
        account: choice & 1 != 0,
        jail: choice & 2 != 0,
    };
    let meter = Meter {
        received: &RECEIVED,
        sent: &SENT,
    };
    let gate = Gate {
        socket: ours,
        peer: ([127, 0, 0, 1], 9).into(),
        listener: 0,
        tls: None,
        deadline: Instant::now() + Duration::from_secs(9),
        meter,
        keeper: Keeper::new(gate_end.into_channel(), ([127, 0, 0, 1], 9).into()),
        steps,
        process_key: "key",
    };
    let admitted = admit(gate, b"0.0");
    check_keeper(&keepers);
    let Ok(Passed {
        mut wire,
        login: channel,
        ..
    }) = admitted
    else {
        return;
    };
    assert!(KEY_LENGTHS.contains(&key.len()));
    let mut next = Login::new(channel, steps, None);
    let passed = login::pass(&mut wire, "key", &mut next);
    if matches!(passed, Ok(login::Passed::All)) {
        let state = login::state(&wire, Greeting::None).expect("state");
        next.hand_over(wire.socket(), &state).expect("handed over");
    }
    check_steps(
        &steps_end,
        passed.is_ok_and(|passed| passed != login::Passed::Left),
    );
}

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

fn answer_steps(channel: &Channel, answers: [u8; ANSWERS]) {
    for answer in answers {
        let message = match answer % 4 {
            0 | 1 => Verdict::Ok(()).to_bytes().to_vec(),
            2 => REFUSAL.to_bytes().to_vec(),
            _ => vec![0, 0],
        };
        channel.send(&message, &[]).expect("send");
    }
    rustix::net::shutdown(channel, rustix::net::Shutdown::Write).expect("shutdown");
}

fn check_keeper(keepers: &Pipe<Reply, Question>) {
    for is_block in [true, false] {
        match keepers.try_receive() {
            Ok(Some(Question::Decrypt(block))) => assert!(is_block && block.len() <= MAX_BLOCK),
            Ok(Some(Question::Compare { hash, .. })) => {
                assert!(!is_block && hash.len() <= MAX_HASH)
            }
            Ok(Some(other)) => panic!("asked without TLS: {other:?}"),
            Ok(None) => return,
            Err(e) => return assert_ne!(e.kind(), std::io::ErrorKind::InvalidData),
        }
    }
}

/// Every message is a question of a gate; the state in the last one is that of a
/// session which goes on, if one was handed over.
fn check_steps(channel: &GatePipe, handed_over: bool) {
    let mut last = None;
    loop {
        last = match channel.try_receive() {
            Ok(Some(Ask::State { state, socket })) => Some((state, socket)),
            Ok(Some(_)) => None,
            // Answers are left; what the gate has asked comes next.
            Err(e) if e.kind() == ErrorKind::ConnectionReset => continue,
            Err(e) if e.kind() == ErrorKind::InvalidData => panic!("no question of a gate"),
            _ => break,
        };
    }
    if !handed_over {
        return;
    }
    let (state, socket) = last.expect("a session");
    let mut wire = login::take_over(socket.into(), &state).expect("a session");
    let mut body = Vec::new();
    while wire.read_message(&mut body).is_ok() {}
    let _ = wire.socket().shutdown(Shutdown::Both);
}
