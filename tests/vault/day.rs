//! A whole day of each client: what it sends from its first connection to the end
//! of its account, and every word that it waits for.

use crate::peer::*;

/// A word as a client of this kind reads it.
fn word(kind: Kind, word: &str) -> String {
    match kind {
        Kind::G1 | Kind::G2 => format!("INFRET{word}"),
        _ => format!("INFRETmsg%eq!{word}!;"),
    }
}

fn todo(kind: Kind, what: &str) -> String {
    match kind {
        Kind::G1 | Kind::G2 => format!("INFRETtodo%eq!{what}!;"),
        _ => word(kind, what),
    }
}

#[test]
fn a_client_of_the_last_generation_has_a_whole_day() {
    for kind in [Kind::G3, Kind::Xml, Kind::Certificate] {
        day(kind, "");
    }
}

#[test]
fn a_client_for_linux_has_a_whole_day() {
    day(Kind::G2, "");
}

#[test]
fn a_client_of_the_first_generation_has_a_whole_day_where_that_is_switched_on() {
    day(Kind::G1, "dialects = [\"G1\", \"G2\", \"G3\"]");
}

fn day(kind: Kind, lines: &str) {
    let Some(server) = server(lines) else { return };
    let mut peer = Peer::known(&server, kind);
    if kind.is_last() {
        let cookie = peer.cookie.clone();
        let ask = format!("MNGCCKcookie%eq!{cookie}!;");
        assert_eq!(peer.ask(&ask), word(kind, "COOKIE_DOES_EXIST"));
    }
    let registered = peer.register("ann");
    match kind {
        Kind::G1 => assert_eq!(registered, "INFACKSEND_VERIFICATION_ACTIVATE_ACCOUNT"),
        _ => assert_eq!(registered, todo(kind, "SEND_VERIFICATION_ACTIVATE_ACCOUNT")),
    }
    let not_verified = peer.log_in("ann", "pass");
    assert!(
        not_verified.contains("ACCOUNT_NOT_VERIFIED"),
        "{not_verified}"
    );
    let given = code(&server, "ann");
    let verified = peer.ask(&format!("MNGVERusername%eq!ann!;code%eq!{given}!;"));
    assert_eq!(verified, word(kind, "ACCOUNT_VERIFIED"));
    let logged_in = match kind {
        Kind::G1 => "INFLOGIN_SUCCESSFUL".to_owned(),
        _ => word(kind, "LOGIN_SUCCESSFUL"),
    };
    assert_eq!(peer.log_in("ann", "pass"), logged_in);
    assert_eq!(peer.log_in("ann", "pass"), word(kind, "ALREADY_LOGGED_IN"));

    entries(&mut peer);
    let second = second_device(&server, kind);
    password(&server, &mut peer);
    assert_eq!(peer.ask("MNGLGO"), word(kind, "LOGGED_OUT"));
    assert_eq!(
        peer.log_in("ann", "pass"),
        error(8, "CRED", "INVALID_CREDENTIALS")
    );
    assert_eq!(peer.log_in("ann", "new"), logged_in);
    deletion(&server, &mut peer, second);
}

/// Inserts, updates, reads and deletes.
fn entries(peer: &mut Peer) {
    let kind = peer.kind;
    let empty = match kind.is_last() {
        true => "DTARETmode%eq!FETCH_SYNC!;headers%eq![]!;deleted%eq![]!;",
        false => "DTARETSYN",
    };
    assert_eq!(peer.sync(), empty);
    let (one, two) = (peer.insert("one", 1_542_800_000), peer.insert("two", 7));
    let synced = match kind.is_last() {
        true => format!(
            "DTARETmode%eq!FETCH_SYNC!;headers%eq![('{one}','1542800000'),('{two}','7')]!;\
             deleted%eq![]!;"
        ),
        false => format!("DTARETSYN('{one}','1542800000'),('{two}','7')"),
    };
    assert_eq!(peer.sync(), synced);
    let values = format!("hid%eq!{one}!;notes%eq!new!;datetime%eq!1542800001!;");
    match kind {
        Kind::G1 => {
            let updated = peer.ask(&format!("REQUPD{values}\u{1f}12"));
            assert_eq!(updated, "DTARETUPD12\u{1f}ACK");
        }
        Kind::G2 => {
            let updated = peer.ask(&format!("REQUPD{values}"));
            assert_eq!(updated, format!("DTARETUPDhashed_id%eq!{one}!;"));
        }
        _ => {
            let updated = peer.ask(&format!("REQUPD{values}"));
            let answer = format!("DTARETmode%eq!UPDATE!;hashed_id%eq!{one}!;");
            assert_eq!(updated, answer);
        }
    }
    let ask = format!("REQSEL{one};");
    match kind.is_last() {
        true => peer.expect(
            &ask,
            &[
                &format!(
                    "DTARETmode%eq!SELECT!;host%eq!one!;url%eq!\u{1}!;uname%eq!\u{1}!;\
                     password%eq!pone!;email%eq!\u{1}!;notes%eq!new!;icon%eq!\u{1}!;\
                     hid%eq!{one}!;datetime%eq!1542800001!;"
                ),
                "INFRETmsg%eq!SELECT_FINISHED!;",
            ],
        ),
        false => peer.expect(
            &ask,
            &[
                &format!(
                    "DTARETSELhost%eq!one!;uname%eq!\u{1}!;password%eq!pone!;email%eq!\u{1}!;\
                     notes%eq!new!;hid%eq!{one}!;datetime%eq!1542800001!;"
                ),
                "INFRETSELACK",
            ],
        ),
    }
    let deleted = peer.ask(&format!("REQDEL{one};{two};"));
    match kind.is_last() {
        true => {
            let answer = format!("DTARETmode%eq!DELETING_COMPLETED!;{one};{two};");
            assert_eq!(deleted, answer);
            let answer = format!(
                "DTARETmode%eq!FETCH_SYNC!;headers%eq![]!;deleted%eq![('{one}'),('{two}')]!;"
            );
            assert_eq!(peer.sync(), answer);
        }
        false => {
            assert_eq!(deleted, format!("DTARETDELCONFIRMED{one};{two};"));
            assert_eq!(peer.sync(), "DTARETSYN");
        }
    }
}

/// Another device logs in by a code, and is in the list.
fn second_device(server: &Vault, kind: Kind) -> Peer {
    let mut peer = Peer::known(server, kind);
    let new = peer.log_in("ann", "pass");
    if kind.is_last() {
        assert_eq!(new, word(kind, "SEND_VERIFICATION_NEW_DEVICE"));
    } else {
        assert_eq!(new, error(24, "DVFY", "VERIFY_NEW_DEVICE"));
        assert_eq!(peer.receive(), todo(kind, "SEND_VERIFICATION_NEW_DEVICE"));
    }
    let (given, cookie) = (code(server, "ann"), peer.cookie.clone());
    let password = online("pass");
    let confirmed = peer.ask(&format!(
        "MNGCNDusername%eq!ann!;password%eq!{password}!;cookie%eq!{cookie}!;code%eq!{given}!;"
    ));
    match kind.is_last() {
        true => assert_eq!(confirmed, word(kind, "LOGIN_SUCCESSFUL")),
        false => assert_eq!(confirmed, "INFLOGIN_SUCCESSFUL"),
    }
    if kind.is_last() {
        let devices = peer.ask("MNGDEV");
        assert!(devices.starts_with("DTADEVdata%eq!['{\"OS\":{\"Name\":\"L\"},\"DeviceId\":\""));
        assert_eq!(
            devices.matches("\"LastSeen\":\"online\"").count(),
            2,
            "{devices}"
        );
    }
    peer
}

/// Another password by a code.
fn password(server: &Vault, peer: &mut Peer) {
    let kind = peer.kind;
    let ask = match kind {
        Kind::G1 => "MNGACRPWCmode%eq!PASSWORD_CHANGE!;",
        _ => "MNGIPCmode%eq!PASSWORD_CHANGE!;",
    };
    assert_eq!(
        peer.ask(ask),
        todo(kind, "SEND_VERIFICATION_CHANGE_PASSWORD")
    );
    let (given, password) = (code(server, "ann"), online("new"));
    let changed = peer.ask(&format!("MNGCPCpassword%eq!{password}!;code%eq!{given}!;"));
    match kind {
        Kind::G1 => assert_eq!(changed, "INFACKPASSWORD_CHANGED"),
        _ => assert_eq!(changed, word(kind, "PASSWORD_CHANGED")),
    }
}

/// The end of the account, by a code.
fn deletion(server: &Vault, peer: &mut Peer, mut second: Peer) {
    let kind = peer.kind;
    for ask in ["MNGIAD", "MNGIAC", "MNGACRDEL"] {
        let ask = format!("{ask}mode%eq!DELETE_ACCOUNT!;");
        assert_eq!(
            peer.ask(&ask),
            todo(kind, "SEND_VERIFICATION_DELETE_ACCOUNT")
        );
    }
    let given = code(server, "ann");
    let ask = if kind.is_last() { "MNGCAD" } else { "MNGDEL" };
    peer.expect(
        &format!("{ask}code%eq!{given}!;"),
        &[
            &word(kind, "LOGGED_OUT"),
            &word(kind, "ACCOUNT_DELETED_SUCCESSFULLY"),
        ],
    );
    assert_eq!(
        peer.log_in("ann", "new"),
        error(8, "CRED", "INVALID_CREDENTIALS")
    );
    peer.clear('U', "FIN");
    assert_eq!(peer.try_packet(), None);
    // What another device still sends is not confirmed.
    second.send("REQINSlocal_id%eq!1!;host%eq!h!;password%eq!p!;datetime%eq!1!;\u{1f}1");
    assert_eq!(second.try_packet(), None);
    let users = server.data().join("roots/store/users");
    assert_eq!(std::fs::read_dir(users).expect("users").count(), 0);
    assert_eq!(operate(server, &["accounts", "--json"]).0, "[]\n");
}
