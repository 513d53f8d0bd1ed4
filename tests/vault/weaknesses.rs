//! What the original server let anybody do, where no other file here has it;
//! docs/weaknesses.md lists all.

use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::peer::*;

fn failed_code() -> String {
    error(18, "I2FA", "INVALID_2FA_CODE")
}

#[test]
fn the_login_of_one_account_leaves_the_codes_of_others() {
    let Some(server) = server("") else { return };
    let mut ann = Peer::registered(&server, Kind::G3, "ann");
    let mut bob = Peer::known(&server, Kind::G3);
    bob.register("bob");
    let waiting = code(&server, "bob");
    let mut other = Peer::known(&server, Kind::G3);
    other.log_in("ann", "pass");
    let (given, cookie, password) = (code(&server, "ann"), other.cookie.clone(), online("pass"));
    let answer = other.ask(&format!(
        "MNGCNDusername%eq!ann!;password%eq!{password}!;cookie%eq!{cookie}!;code%eq!{given}!;"
    ));
    assert_eq!(answer, "INFRETmsg%eq!LOGIN_SUCCESSFUL!;");
    assert!(ann.log_in("ann", "pass").contains("LOGIN_SUCCESSFUL"));
    assert_eq!(code(&server, "bob"), waiting);
    let answer = bob.ask(&format!("MNGVERusername%eq!bob!;code%eq!{waiting}!;"));
    assert_eq!(answer, "INFRETmsg%eq!ACCOUNT_VERIFIED!;");
}

#[test]
fn codes_of_every_kind_are_closed_after_three_wrong_ones() {
    let Some(server) = server("") else { return };
    for (user, schedule, wrong) in [
        (
            "ann",
            "MNGIPCmode%eq!PASSWORD_CHANGE!;",
            "MNGCPCpassword%eq!p!;code%eq!PM-12345x!;",
        ),
        (
            "bob",
            "MNGIADmode%eq!DELETE_ACCOUNT!;",
            "MNGCADcode%eq!PM-12345x!;",
        ),
    ] {
        let mut peer = Peer::logged_in(&server, Kind::G3, user);
        peer.ask(schedule);
        let given = code(&server, user);
        peer.expect(wrong, &[&failed_code()]);
        peer.expect(wrong, &[&failed_code()]);
        let closed = error(20, "F2FA", "FAILED_2FA");
        peer.expect(wrong, &[&closed]);
        peer.expect(&wrong.replace("PM-12345x", &given), &[&closed]);
        peer.expect(schedule, &[&closed]);
    }
}

#[test]
fn who_says_nothing_before_there_are_keys_is_sent_home_within_minutes() {
    let Some(server) = server("") else { return };
    let mut peer = Peer::raw(&server, Kind::G3);
    let patience = Some(Duration::from_secs(180));
    peer.socket.set_read_timeout(patience).expect("limit");
    assert_eq!(peer.try_packet(), None);
}

#[test]
fn how_long_a_stranger_is_silent_and_how_many_cookies_one_has_is_settable() {
    let Some(server) = server("exchange_timeout = 1") else {
        return;
    };
    let begin = Instant::now();
    assert_eq!(Peer::raw(&server, Kind::G3).try_packet(), None);
    assert!(
        begin.elapsed() < Duration::from_secs(30),
        "half of the default"
    );
    let Some(other) = crate::peer::server("cookies_per_address = 2") else {
        return;
    };
    let mut peer = Peer::known(&other, Kind::G3);
    assert!(peer.ask("MNGCKI").starts_with("DTACKIcookie"));
    let no = error(12, "PERM", "INSUFFICIENT_PERMISSIONS");
    assert_eq!(peer.ask("MNGCKI"), no);
}

#[test]
fn faults_of_packets_without_a_mac_all_look_the_same() {
    let Some(server) = server("dialects = [\"G1\"]") else {
        return;
    };
    for at in [0, 30, 60] {
        let mut peer = Peer::known(&server, Kind::G1);
        let mut body = peer.sealed("MNGCCKcookie%eq!0123456789012345678901234567890!;");
        body.truncate(body.len() - 1 - at);
        peer.clear('E', &body);
        peer.expect_sent_away("UNKNOWN");
    }
}

#[test]
fn an_address_gets_no_more_than_a_thousand_cookies_that_nobody_uses() {
    let Some(server) = server("") else { return };
    let mut peer = Peer::known(&server, Kind::G3);
    let db = Connection::open(server.data().join("roots/store/accounts.db")).expect("database");
    let text = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 998)
                INSERT INTO cookies (cookie, made, made_from, seen, seen_from)
                SELECT 'x' || i, made, made_from, seen, seen_from FROM n, cookies LIMIT 998";
    assert_eq!(db.execute(text, []).expect("cookies"), 998);
    assert!(peer.ask("MNGCKI").starts_with("DTACKIcookie"));
    let no = error(12, "PERM", "INSUFFICIENT_PERMISSIONS");
    assert_eq!(peer.ask("MNGCKI"), no);
    // Old ones make room.
    db.execute("UPDATE cookies SET made = 5 WHERE cookie LIKE 'x%'", [])
        .expect("long ago");
    assert!(peer.ask("MNGCKI").starts_with("DTACKIcookie"));
}

#[test]
fn ids_of_entries_can_not_be_computed_and_equal_passwords_have_unequal_hashes() {
    let Some(server) = server("") else { return };
    let mut ann = Peer::logged_in(&server, Kind::G2, "ann");
    let mut bob = Peer::logged_in(&server, Kind::G2, "bob");
    let ids = [ann.insert("x", 1), bob.insert("x", 1), ann.insert("x", 1)];
    // What the original makes of row 1 and user 2.
    let computed = "t6Wg8PsMShKLij4EL8hgd11o2CW7O/GAR50OErGITiZS/lHducmRtzgk/BVgnYLLHMGQU9t9x2Ny\
                    iAkfYCe7zg==";
    assert!(ids.iter().all(|id| id != computed));
    assert!(ids[0] != ids[1] && ids[1] != ids[2]);
    let db = Connection::open(server.data().join("roots/store/accounts.db")).expect("database");
    let mut statement = db.prepare("SELECT hash FROM accounts").expect("SQL");
    let hashes = statement.query_map([], |row| row.get(0)).expect("SQL");
    let hashes: Vec<String> = hashes.collect::<Result<_, _>>().expect("rows");
    assert!(hashes.iter().all(|hash| hash.starts_with("$argon2id$")));
    assert_ne!(hashes[0], hashes[1]);
}

#[test]
fn a_registration_that_is_refused_leaves_no_account_behind() {
    let Some(server) = server("") else { return };
    let mut peer = Peer::known(&server, Kind::G3);
    let own = std::mem::replace(&mut peer.cookie, "none".to_owned());
    let no = error(23, "CDNE", "COOKIE_DOES_NOT_EXIST");
    assert_eq!(peer.register("ann"), no);
    assert_eq!(operate(&server, &["accounts", "--json"]).0, "[]\n");
    peer.cookie = own;
    assert!(
        peer.register("ann")
            .contains("SEND_VERIFICATION_ACTIVATE_ACCOUNT")
    );
}
