//! A link that is slow and loses packets.

use std::net::TcpStream;
use std::time::Instant;

use crate::common::namespaces::{FAR, Link};

use super::*;

/// How long a packet takes, and which share of them is lost.
const DELAY: f64 = 0.02;
const LOST: f64 = 0.01;

#[test]
fn a_backup_and_a_restore_get_through_a_link_of_40_ms_that_loses_packets() {
    let Some(link) = Link::lossy(DELAY, LOST) else {
        return;
    };
    let made = link.far(|| {
        let hub = hub(&format!("tls_listen = [\"{FAR}:0\"]"))?;
        let there = |name| {
            let different = Different {
                host: Some(FAR),
                ..Different::default()
            };
            (name, different)
        };
        let keepers = ["bob", "carol"].map(there);
        Some(Party::at(hub, "2", keepers.into()))
    });
    let Some(party) = made else { return };
    let source = party.anna.text("source");
    fs::write(party.anna.path("source/deep/noise"), noise(3, 1 << 19)).expect("file");
    link.near(|| {
        let begin = Instant::now();
        TcpStream::connect(party.hub.tls_address()).expect("connection");
        let round = begin.elapsed().as_secs_f64();
        assert!(round > DELAY, "{round} seconds there and back");
        let machine = party.machine();
        machine.fine(&["backup", &source]);
        party.expect_restored();
    });
}
