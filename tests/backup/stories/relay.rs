//! Keepers that let nobody in: the hub passes on what goes there and comes back.

use std::net::TcpStream;
use std::time::Duration;

use crate::common::namespaces::{Homes, Namespace};
use crate::schema::{fits, schema};

use super::*;

/// Lines of a hub with a relay there that nobody has to wait for.
fn relay(at: &str) -> String {
    format!("probe_cycle = 86400\nrelay_listen = [\"{at}\"]\nrelay_rate = \"100M\"\n")
}

/// A hub with a relay that is at the same address after a kill.
fn hub_with_relay() -> Option<Hub> {
    hub(&relay(&format!("127.0.0.1:{}", free_port())))
}

/// Waits until the hub knows that this many keepers are not reached.
fn wait_until_unreached(hub: &Hub, count: usize) {
    wait_until("the hub has looked", || {
        let (text, is_well) = hub.operate(&["status", "--json"]);
        assert!(is_well, "{text}");
        let status: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        status["unreached"] == count
    });
}

fn behind_a_router() -> Different {
    Different {
        public_port: Some(free_port()),
        ..Different::default()
    }
}

#[test]
fn keepers_that_nobody_reaches_keep_and_give_back() {
    let Some(hub) = hub_with_relay() else { return };
    let keepers = ["bob", "carol", "dave"].map(|name| (name, behind_a_router()));
    let mut party = Party::at(hub, "2", keepers.into());
    wait_until_unreached(&party.hub, 3);
    party.anna.fine(&["backup", "source"]);
    party.expect_restored();
    let keepers = party.anna.fine(&["hub", "keepers"]);
    assert!(keepers.contains(" by the hub's relay "), "{keepers}");
    let kit = party.anna.json(&["hub", "kit"]);
    assert!(fits(&schema("tf-backup.schema.json"), &kit), "{kit}");
    assert!(kit["keepers"][0]["address"].is_null(), "{kit}");
    let all = |party: &Party| -> usize {
        let of = |friend: &Friend| friend.files("d").len();
        party.keepers.iter().map(of).sum()
    };
    let before = all(&party);
    // What was deleted comes back, though nobody can ask the keepers but by the hub.
    party.anna.fine(&["forget", "latest", "--prune", "--yes"]);
    party
        .anna
        .ends(1, &["restore", "latest", "--target", "gone"]);
    party.anna.fine(&["hub", "undelete"]);
    party.expect_restored();
    // One is gone for good: the others send each other its files.
    party.keepers.sort_by_key(|friend| friend.files("d").len());
    let mut gone = party.keepers.pop().expect("a keeper");
    gone.kill();
    let (text, is_well) = party.hub.operate(&["heal", gone.name]);
    assert!(is_well, "{text}");
    wait_until("all copies are there again", || all(&party) == before);
    party.expect_restored();
    party.anna.fine(&["backup", "source"]);
    party.anna.fine(&["check", "--read-data"]);
}

#[test]
fn a_hub_that_starts_again_leaves_nobody_behind_at_its_relay() {
    let Some(hub) = hub_with_relay() else { return };
    let keepers = vec![("bob", behind_a_router())];
    let mut party = Party::at(hub, "1", keepers);
    wait_until_unreached(&party.hub, 1);
    fs::write(party.anna.path("source/big"), noise(77, 24 << 20)).expect("file");
    let run = begin(&party.anna, &["backup", "source"]);
    wait_until("a pack is there", || {
        !party.keepers[0].files("d").is_empty()
    });
    kill(&mut party.hub);
    party.hub.start_again();
    let output = run.wait_with_output().expect("tf-backup");
    assert!(output.status.success(), "{output:?}");
    party.expect_restored();
}

/// The hub in a network of its own, and two homes behind routers that let nobody in.
#[test]
fn an_owner_and_a_keeper_at_home_meet_at_the_hub() {
    let Some(homes) = Homes::make() else { return };
    let hub = homes.net.run(|| {
        let listen = "tls_listen = [\"0.0.0.0:7170\"]\n".to_owned();
        peer::server(&(listen + &relay("0.0.0.0:7172")))
    });
    let Some(hub) = hub else { return };
    let keep = |name: &'static str, there: &Namespace, way: IpAddr| {
        let desk = Desk::new();
        homes.net.run(|| join(&hub, &desk, name, "1"));
        let different = Different {
            hub: Some(SocketAddr::new(way, 7170)),
            host: Some(Ipv4Addr::UNSPECIFIED.into()),
            ..Different::default()
        };
        there.run(|| Friend::with_key(&hub, name, desk, different))
    };
    let bob = keep("bob", &homes.den, Homes::HUB_OF_DEN);
    wait_until_unreached(&hub, 1);
    let anna = Desk::new();
    homes.net.run(|| join(&hub, &anna, "anna", "1"));
    fill(&anna.path("source"));
    homes.home.run(|| {
        // Neither the keeper nor its router lets anybody in.
        for address in [Homes::DEN, Homes::DEN_ROUTER] {
            let address = SocketAddr::new(address, bob.address.port());
            let connected = TcpStream::connect_timeout(&address, Duration::from_secs(1));
            assert!(connected.is_err(), "{address}");
        }
        let machine = Desk::new();
        let mut words = place(&hub, "1");
        words[0] = format!("{}:7170", Homes::HUB_OF_HOME);
        words.push(anna.text("phrase"));
        machine.fine(&with(&["hub", "recover"], &words));
        let source = anna.text("source");
        machine.fine(&["backup", &source]);
        machine.fine(&["check", "--read-data"]);
        machine.fine(&["restore", "latest", "--target", "back"]);
        let back = machine.restored_from("back", &anna, "source");
        assert!(seen(&back) == seen(&anna.path("source")));
    });
    assert!(!bob.files("d").is_empty());
}
