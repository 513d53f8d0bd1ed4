//! Entries: nothing is lost, nobody waits for ever, nobody sees another's.

use std::os::unix::fs::MetadataExt;

use crate::peer::*;

#[test]
fn a_client_that_counts_answers_gets_one_for_each_id() {
    let Some(server) = server("") else { return };
    let mut peer = Peer::logged_in(&server, Kind::G3, "ann");
    let hid = peer.insert("one", 1);
    let updated = peer.ask("REQUPDhid%eq!gone!;host%eq!x!;datetime%eq!9!;");
    assert_eq!(updated, "DTARETmode%eq!UPDATE!;hashed_id%eq!gone!;");
    peer.send(&format!("REQSELgone;{hid};gone;"));
    let answers: Vec<String> = (0..4).map(|_| peer.receive()).collect();
    assert_eq!(answers[0], "DTARETmode%eq!SELECT!;hid%eq!gone!;");
    assert!(answers[1].contains("host%eq!one!;"), "{answers:?}");
    assert_eq!(answers[2], answers[0]);
    assert_eq!(answers[3], "INFRETmsg%eq!SELECT_FINISHED!;");
    let deleted = peer.ask("REQDELgone;");
    assert_eq!(deleted, "DTARETmode%eq!DELETING_COMPLETED!;gone;");
    // An id that never was is not a deleted one.
    assert!(peer.sync().ends_with("deleted%eq![]!;"));
}

#[test]
fn answers_come_in_the_order_of_requests_that_nobody_waited_for() {
    let Some(server) = server("") else { return };
    let mut peer = Peer::logged_in(&server, Kind::G3, "ann");
    let mut bytes = Vec::new();
    for number in 0..50 {
        let text =
            format!("REQINSlocal_id%eq!{number}!;host%eq!h!;password%eq!p!;datetime%eq!{number}!;");
        bytes.extend(format!("\u{1}E{}\u{4}", peer.sealed(&text)).into_bytes());
    }
    peer.send_bytes(&bytes);
    for number in 0..50 {
        let answer = peer.receive();
        let begin = format!("DTARETmode%eq!INSERT!;local_id%eq!{number}!;");
        assert!(answer.starts_with(&begin), "{answer}");
    }
}

#[test]
fn times_that_clients_could_not_read_are_made_ones_that_they_can() {
    let Some(server) = server("") else { return };
    let mut peer = Peer::logged_in(&server, Kind::G3, "ann");
    for time in [i64::from(i32::MAX) + 1, i64::MAX, -5] {
        peer.insert("x", time);
    }
    let hid = peer.insert("y", 1);
    peer.ask(&format!(
        "REQUPDhid%eq!{hid}!;datetime%eq!99999999999999999999!;"
    ));
    let synced = peer.sync();
    assert_eq!(synced.matches(",'2147483647')").count(), 3, "{synced}");
    assert_eq!(synced.matches("','").count(), 4, "{synced}");
}

#[test]
fn an_edit_that_is_older_replaces_nothing_and_is_kept() {
    let Some(server) = server("") else { return };
    let mut peer = Peer::logged_in(&server, Kind::G3, "ann");
    let hid = peer.insert("one", 100);
    peer.ask(&format!(
        "REQUPDhid%eq!{hid}!;host%eq!newer!;datetime%eq!200!;"
    ));
    let answer = peer.ask(&format!(
        "REQUPDhid%eq!{hid}!;host%eq!late!;datetime%eq!150!;"
    ));
    assert_eq!(
        answer,
        format!("DTARETmode%eq!UPDATE!;hashed_id%eq!{hid}!;")
    );
    let answer = peer.ask(&format!("REQSEL{hid};"));
    assert!(answer.contains("host%eq!newer!;"), "{answer}");
    peer.receive();
    let db = server.data().join("roots/store/users/1/vault.db");
    let db = rusqlite::Connection::open(db).expect("database");
    let mut statement = db.prepare("SELECT host FROM old ORDER BY id").expect("SQL");
    let old = statement.query_map([], |row| row.get(0)).expect("SQL");
    let old: Vec<String> = old.collect::<Result<_, _>>().expect("rows");
    assert_eq!(old, ["one", "late"]);
}

#[test]
fn words_of_the_database_are_nothing_but_values() {
    let Some(server) = server("") else { return };
    let mut peer = Peer::logged_in(&server, Kind::G3, "ann");
    peer.insert("host", 1);
    peer.expect(
        "REQSELD_hid;",
        &[
            "DTARETmode%eq!SELECT!;hid%eq!D_hid!;",
            "INFRETmsg%eq!SELECT_FINISHED!;",
        ],
    );
    let hid = peer.insert("'; DROP TABLE entries--\"", 2);
    let _ = hid;
    assert_eq!(peer.sync().matches("','").count(), 2);
    for (ask, number, code, text) in [
        ("REQINShost%eq!x!;", 15, "ICMD", "TOO_FEW_PARAMETERS"),
        (
            "REQINSlocal_id%eq!1!;other%eq!x!;",
            9,
            "ISQP",
            "INVALID_SQL_QUERY_PARAMETERS",
        ),
        (
            "REQINSlocal_id%eq!1!;host%eq!x!;",
            33,
            "SQLX",
            "NOT NULL constraint failed",
        ),
        ("REQUPDhost%eq!x!;", 0, "UNKN", "HID is None"),
        ("REQSEL", 9, "ISQP", "INVALID_SQL_QUERY_PARAMETERS"),
        ("REQSYNfetch_mode%eq!OTHER!;", 9, "ISQP", "INVALID_MODE"),
    ] {
        peer.expect(ask, &[&error(number, code, text)]);
    }
}

#[test]
fn what_was_confirmed_is_there_after_every_process_was_killed() {
    let Some(mut server) = server("") else { return };
    let mut peer = Peer::logged_in(&server, Kind::G3, "ann");
    let hids: Vec<String> = (0..20).map(|number| peer.insert("x", number)).collect();
    peer.send("REQINSlocal_id%eq!9!;host%eq!half!;password%eq!p!;datetime%eq!7!;");
    server.signal(nix::sys::signal::Signal::SIGKILL);
    server.wait_for_end();
    drop(peer);
    server.start_again();
    let mut peer = Peer::known(&server, Kind::G3);
    peer.log_in("ann", "pass");
    let (given, cookie, password) = (code(&server, "ann"), peer.cookie.clone(), online("pass"));
    peer.ask(&format!(
        "MNGCNDusername%eq!ann!;password%eq!{password}!;cookie%eq!{cookie}!;code%eq!{given}!;"
    ));
    let synced = peer.sync();
    for hid in &hids {
        assert_eq!(synced.matches(hid.as_str()).count(), 1, "{hid}");
    }
}

#[test]
fn an_account_sees_its_entries_alone_and_may_fill_its_own_room_only() {
    let Some(server) = server("max_account = \"1M\"\nmax_packet = 4194304") else {
        return;
    };
    let mut ann = Peer::logged_in(&server, Kind::G3, "ann");
    let mut bob = Peer::logged_in(&server, Kind::G3, "bob");
    let hid = ann.insert("secret", 1);
    assert!(bob.sync().contains("headers%eq![]!;"));
    let answer = bob.ask(&format!("REQSEL{hid};"));
    assert_eq!(answer, format!("DTARETmode%eq!SELECT!;hid%eq!{hid}!;"));
    bob.receive();
    bob.ask(&format!("REQDEL{hid};"));
    assert!(ann.sync().contains(&hid));
    let large = "x".repeat(300_000);
    let insert = format!("REQINSlocal_id%eq!1!;host%eq!{large}!;password%eq!p!;datetime%eq!1!;");
    let answers: Vec<String> = (0..5).map(|_| bob.ask(&insert)).collect();
    assert_eq!(answers[4], error(33, "SQLX", "database or disk is full"));
    // Old versions make room, and what is full can still be emptied.
    let synced = bob.sync();
    let hids: Vec<&str> = synced.split('\'').filter(|text| text.len() == 88).collect();
    assert_eq!(hids.len(), 3, "{answers:?}");
    let answer = bob.ask(&format!("REQDEL{};", hids.join(";")));
    assert!(answer.contains("DELETING_COMPLETED"), "{answer}");
    assert!(bob.ask(&insert).contains("INSERT"));
    for (number, name) in [(1, "ann"), (2, "bob")] {
        let root = server.data().join(format!("roots/store/users/{number}"));
        let metadata = std::fs::metadata(root).expect(name);
        assert_eq!(metadata.mode() & 0o777, 0o700);
    }
}

#[test]
fn tombstones_stay_until_every_device_has_them_and_they_are_old() {
    let Some(server) = server("new_device = \"allow\"") else {
        return;
    };
    let mut one = Peer::logged_in(&server, Kind::G3, "ann");
    let mut two = Peer::known(&server, Kind::G3);
    assert!(two.log_in("ann", "pass").contains("LOGIN_SUCCESSFUL"));
    let hid = one.insert("x", 1);
    one.ask(&format!("REQDEL{hid};"));
    let db = rusqlite::Connection::open(server.data().join("roots/store/users/1/vault.db"));
    let db = db.expect("database");
    db.execute("UPDATE deleted SET time = 5", [])
        .expect("long ago");
    let listed = format!("deleted%eq![('{hid}')]!;");
    assert!(one.sync().ends_with(&listed));
    assert!(
        one.sync().ends_with(&listed),
        "the other device has not synced"
    );
    assert!(two.sync().ends_with(&listed));
    assert!(two.sync().ends_with("deleted%eq![]!;"));
}
