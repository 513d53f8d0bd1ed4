//! What comes on a data connection of BBFTP, plain or compressed: never a byte
//! behind its range, and no more than was sent.
//!
//! The first byte chooses the coding, the next two are the length of the range,
//! and the rest is what the peer sends.

use std::sync::Arc;
use std::time::Duration;

use crate::peer::connection_with;
use tfd::bbftp::stream::{Coding, Direction, Job, Streams};
use tfd::net::Link;

/// Where the range begins.
const BEGIN: u64 = 100;

/// Takes one input.
pub fn run(data: &[u8]) {
    let [choice, high, low, sent @ ..] = data else {
        return;
    };
    let len = u64::from(u16::from_be_bytes([*high, *low]));
    let (_peer, ours) = connection_with(sent);
    let file = Arc::new(tempfile::tempfile().expect("file"));
    let coding = match choice % 3 {
        0 => Coding::Plain,
        1 => Coding::Gzip(1024),
        _ => Coding::Gzip(256_000),
    };
    let limit = Duration::from_secs(10);
    let job = Job {
        file: Arc::clone(&file),
        direction: Direction::Receive,
        coding,
        idle: limit,
        ack: limit,
        pace: None,
        write_behind: false,
    };
    let link = Link::new(ours).expect("link");
    let streams = Streams::start(job, vec![(link, BEGIN..BEGIN + len)]).expect("streams");
    let moved = streams.finish();
    let written = file.metadata().expect("file").len();
    assert!(written <= BEGIN + len);
    if let Ok(moved) = moved {
        assert!(moved == len && (len == 0 || written == BEGIN + len));
    }
}
