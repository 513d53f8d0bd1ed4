//! A sync of 1,000 entries by each kind of client, which count the answers as the
//! graphical clients do: one that is missing would make them wait for ever.

use std::collections::HashSet;

use crate::peer::*;

const ENTRIES: usize = 1000;

/// How many requests a client sends without a look at the answers.
const AT_ONCE: usize = 100;

/// Sends requests and gives each answer to `take`.
fn ask_all(peer: &mut Peer, asks: &[String], mut take: impl FnMut(&str)) {
    for some in asks.chunks(AT_ONCE) {
        let mut bytes = Vec::new();
        for ask in some {
            bytes.extend(format!("\u{1}E{}\u{4}", peer.sealed(ask)).into_bytes());
        }
        peer.send_bytes(&bytes);
        for _ in some {
            take(&peer.receive());
        }
    }
}

/// The ids in a list of entries.
fn ids(synced: &str) -> Vec<String> {
    let entries = synced.split("deleted%eq!").next().expect("entries");
    let ids = entries.split('\'').filter(|text| text.len() == 88);
    ids.map(str::to_owned).collect()
}

fn sync_all(kind: Kind) {
    let lines = "new_device = \"allow\"\ndialects = [\"G1\", \"G2\", \"G3\"]";
    let Some(server) = server(lines) else { return };
    let mut one = Peer::logged_in(&server, kind, "ann");
    let insert = |number: usize| {
        let values = format!("host%eq!h{number}!;password%eq!p!;datetime%eq!{number}!;");
        match kind {
            Kind::G1 => format!("REQINS{values}\u{1f}{number}"),
            _ => format!("REQINSlocal_id%eq!{number}!;{values}"),
        }
    };
    let inserts: Vec<String> = (0..ENTRIES).map(insert).collect();
    let (mut locals, mut hids) = (HashSet::new(), HashSet::new());
    ask_all(&mut one, &inserts, |answer| {
        let answer = answer.replace("!;", "\u{1f}").replace("%eq!", "\u{1f}");
        let parts: Vec<&str> = answer.split('\u{1f}').collect();
        let local = parts.iter().rev().find(|text| text.parse::<u32>().is_ok());
        let local = local.map(|text| (*text).to_owned());
        let local = local.or_else(|| parts[0].strip_prefix("DTARETINS").map(str::to_owned));
        locals.insert(local.expect(&answer));
        let hid = parts.iter().find(|text| text.len() == 88);
        hids.insert((*hid.expect(&answer)).to_owned());
    });
    assert_eq!((locals.len(), hids.len()), (ENTRIES, ENTRIES));
    let order = ids(&one.sync());
    assert_eq!(order.len(), ENTRIES);

    // Another device takes all by one request.
    let mut two = Peer::known(&server, kind);
    assert!(two.log_in("ann", "pass").contains("LOGIN_SUCCESSFUL"));
    assert_eq!(ids(&two.sync()), order);
    two.send(&format!("REQSEL{};", order.join(";")));
    let selected: Vec<String> = (0..ENTRIES).map(|_| two.receive()).collect();
    for (answer, hid) in selected.iter().zip(&order) {
        assert!(answer.starts_with("DTARET"), "{answer}");
        assert!(answer.contains(&format!("hid%eq!{hid}!;")), "{answer}");
    }
    let end = two.receive();
    assert!(end.contains("SEL"), "{end}");

    // Updates and one deletion of many: as many answers as updates, and one.
    let (updated, deleted) = order.split_at(ENTRIES / 2);
    let update = |hid: &String| {
        let end = if kind == Kind::G1 { "\u{1f}1" } else { "" };
        format!("REQUPDhid%eq!{hid}!;notes%eq!new!;datetime%eq!5000!;{end}")
    };
    let updates: Vec<String> = updated.iter().map(update).collect();
    ask_all(&mut two, &updates, |answer| {
        assert!(answer.starts_with("DTARET"), "{answer}");
    });
    let answer = two.ask(&format!("REQDEL{};", deleted.join(";")));
    assert!(answer.starts_with("DTARET"), "{answer}");
    let synced = one.sync();
    assert_eq!(ids(&synced), updated);
    if kind.is_last() {
        let (_, gone) = synced.split_once("deleted%eq!").expect("list");
        assert_eq!(gone.matches("('").count(), deleted.len());
    }
    one.expect_alive();
    two.expect_alive();
}

#[test]
fn a_client_of_the_first_generation_syncs_a_thousand_entries() {
    sync_all(Kind::G1);
}

#[test]
fn the_client_for_linux_syncs_a_thousand_entries() {
    sync_all(Kind::G2);
}

#[test]
fn the_client_for_android_syncs_a_thousand_entries() {
    sync_all(Kind::G3);
}

#[test]
fn the_clients_for_windows_sync_a_thousand_entries() {
    sync_all(Kind::Xml);
    sync_all(Kind::Certificate);
}
