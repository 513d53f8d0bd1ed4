//! The gate of the hub behind the handshake: whatever a peer sends and the broker answers,
//! it asks the broker only what a gate asks, no more often than a peer may send lines, and
//! hands over a session that goes on where it has stopped.
//!
//! The first bytes are what the broker answers, the rest is what the peer sends.

use std::io::ErrorKind;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use crate::peer::connection_with;
use tfd::hub::broker::message::{Answer, Ask};
use tfd::hub::gate::{Served, log_in};
use tfd::hub::wire::{Exporter, Label, Line, Message, Random, Reply, Value};
use tfd::ipc::codec::Decode;
use tfd::ipc::pipe;
use tfd::net::Link;
use tfd::net::link::Meter;

const ANSWERS: usize = 8;

static RECEIVED: AtomicU64 = AtomicU64::new(0);
static SENT: AtomicU64 = AtomicU64::new(0);

/// Takes one input.
pub fn run(data: &[u8]) {
    let Some((answers, stream)) = data.split_first_chunk::<ANSWERS>() else {
        return;
    };
    let (_peer, ours) = connection_with(stream);
    let mut link = Link::new(ours).expect("link");
    link.count_on(Meter {
        received: &RECEIVED,
        sent: &SENT,
    });
    let end = Instant::now() + Duration::from_secs(9);
    link.set_deadline(Some(end)).expect("deadline");
    let (broker, gate) = pipe::pair::<Answer, Ask>().expect("pair");
    for choice in answers {
        broker.send(&answer(*choice)).expect("send");
    }
    rustix::net::shutdown(&broker, rustix::net::Shutdown::Write).expect("shutdown");
    let hub = Label::read("hub.example.org").expect("name");
    // An odd last answer is of a line without TLS.
    let exporter = (answers[ANSWERS - 1] & 1 == 0).then_some(Exporter([7; 32]));
    let passed = log_in(link, &gate, &hub, exporter);
    let mut asked = 0;
    loop {
        match broker.try_receive() {
            Ok(Some(_)) => asked += 1,
            Err(e) if e.kind() == ErrorKind::InvalidData => panic!("no question of a gate"),
            _ => break,
        }
    }
    assert!(asked <= ANSWERS + 1, "an answer each");
    if let Ok(passed) = passed {
        assert!(asked > 0, "let in by nobody");
        let Some(Served::Line(handed)) = Served::from_bytes(&passed.state) else {
            panic!("a session");
        };
        assert!(handed.rest.len() <= stream.len());
    }
}

fn answer(choice: u8) -> Answer {
    let reply = match choice % 6 {
        0 | 1 => {
            return Answer::Challenge {
                time: choice.into(),
                random: Random([choice; 16]),
            };
        }
        2 => return Answer::Admitted,
        3 => return Answer::Closed,
        4 => Reply::NotVerified,
        _ => Reply::KeyNeeded,
    };
    let message = Message::Reply(reply);
    Answer::Reply(Line { id: None, message })
}
