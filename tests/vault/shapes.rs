//! Forms and limits of entries in the old dialects.

use std::io::Write;

use crate::peer::*;

#[test]
fn all_entries_and_events_come_in_the_form_of_each_generation() {
    let Some(server) = server("dialects = [\"G1\", \"G2\", \"G3\"]") else {
        return;
    };
    for (kind, user) in [(Kind::G1, "one"), (Kind::G2, "two"), (Kind::G3, "three")] {
        let mut peer = Peer::logged_in(&server, kind, user);
        let hid = peer.insert("h", 5);
        let (before, icon) = match kind.is_last() {
            true => ("DTARETmode%eq!FETCH_ALL!;", "None, "),
            false => ("DTARETSYN", ""),
        };
        let row = format!("(1, 'h', None, None, 'ph', None, None, {icon}1, '{hid}', '5')");
        let all = peer.ask("REQSYNfetch_mode%eq!FETCH_ALL!;");
        assert_eq!(all, format!("{before}{row}"));
        let events = peer.ask("MNGGAA");
        let (begin, end) = match kind.is_last() {
            true => ("DTALOGmode%eq$USER_REQUEST$\u{a7}msg%eq$[", "]$\u{a7}"),
            false => ("LOGDMP[", "]"),
        };
        let list = events
            .strip_prefix(begin)
            .and_then(|it| it.strip_suffix(end));
        let list = list.expect(&events);
        assert!(
            list.starts_with("('LOGIN_SUCCESSFUL', '127.0.0.1', '"),
            "{list}"
        );
        assert!(list.ends_with("', '')"), "{list}");
    }
}

#[test]
fn the_largest_icon_is_stored_and_a_longer_packet_ends_the_connection() {
    let Some(server) = server("") else { return };
    let mut peer = Peer::logged_in(&server, Kind::G3, "ann");
    // What a client makes of the largest picture that it takes.
    let icon = "A".repeat(1_200_000);
    let insert = |icon: &str| {
        format!(
            "REQINSlocal_id%eq!1!;host%eq!h!;password%eq!p!;icon%eq!{icon}!;datetime%eq!1!;\
             unknown%eq!x!;"
        )
    };
    let answer = peer.ask(&insert(&icon));
    let (_, hid) = answer.split_once("hashed_id%eq!").expect(&answer);
    let selected = peer.ask(&format!("REQSEL{};", hid.trim_end_matches("!;")));
    assert!(selected.contains(&icon));
    peer.receive();
    let body = peer.sealed(&insert(&icon.repeat(2)));
    // It may be gone before all is written.
    let _ = peer
        .socket
        .write_all(format!("\u{1}E{body}\u{4}").as_bytes());
    let ended = peer.try_packet();
    let word = "FINmessage%eq!PACKET_TOO_LONG!;".to_owned();
    assert!(ended.is_none() || ended == Some(('U', word)), "{ended:?}");
}

#[test]
fn an_update_of_what_was_deleted_is_confirmed_and_brings_nothing_back() {
    let Some(server) = server("") else { return };
    let mut peer = Peer::logged_in(&server, Kind::G3, "ann");
    let hid = peer.insert("h", 5);
    peer.ask(&format!("REQDEL{hid};"));
    let answer = peer.ask(&format!("REQUPDhid%eq!{hid}!;host%eq!x!;datetime%eq!9!;"));
    assert_eq!(
        answer,
        format!("DTARETmode%eq!UPDATE!;hashed_id%eq!{hid}!;")
    );
    // Clients delete what is in one list, and would download it again from the other.
    let deleted = format!("headers%eq![]!;deleted%eq![('{hid}')]!;");
    let synced = peer.sync();
    assert!(synced.ends_with(&deleted), "{synced}");
}
