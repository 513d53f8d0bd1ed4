//! `tf vault connect --legacy` and `migrate`: an old account is read, and moved.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use openssl::base64::encode_block;
use openssl::sha::sha256;
use openssl::symm::{Cipher, encrypt};

use super::*;
use crate::peer::{Kind, Peer, Vault, address as old_address, operate};

const MASTER: &str = "of the file\npass\n";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A value as old clients send it.
fn sealed(text: &str) -> String {
    let digits = hex(&sha256(b"pass"));
    let key = sha256(hex(&sha256(&digits.as_bytes()[32..])).as_bytes());
    let iv = [7; 16];
    let bytes = encrypt(Cipher::aes_256_cbc(), &key, Some(&iv), text.as_bytes()).expect("sealed");
    encode_block(&[&iv[..], &bytes].concat())
}

/// An entry of an old client; its id.
fn insert(peer: &mut Peer, host: &str, time: i64) -> String {
    let empty = "\u{1}";
    let text = format!(
        "REQINSlocal_id%eq!7!;host%eq!{}!;password%eq!{}!;uname%eq!{}!;email%eq!{}!;notes%eq!{empty}!;\
         url%eq!{empty}!;icon%eq!{}!;datetime%eq!{time}!;",
        sealed(host),
        sealed(&format!("secret of {host}")),
        sealed("ann <&>"),
        sealed("ann@example.org"),
        sealed(&encode_block(b"\x89PNG\r\n\x1a\nno picture")),
    );
    let answer = peer.ask(&text);
    let (_, hid) = answer.split_once("hashed_id%eq!").expect("id");
    hid.trim_end_matches("!;").to_owned()
}

/// A server of both protocols, and an old account with two entries.
fn both(lines: &str) -> Option<(Vault, Peer, String)> {
    let server = server(&format!("listen = [\"127.0.0.1:0\"]\n{lines}"))?;
    let mut peer = Peer::logged_in(&server, Kind::G3, "oldann");
    let hid = insert(&mut peer, "first", 1_600_000_000);
    insert(&mut peer, "second", 1_600_000_001);
    Some((server, peer, hid))
}

fn connect(person: &Person, server: &Vault, secrets: &str) -> Run {
    let address = old_address(server).to_string();
    let arguments = [
        "connect", "--legacy", "f.kdbx", "--server", &address, "--user", "oldann",
    ];
    vault(person, secrets, &arguments)
}

#[test]
fn the_entries_of_an_old_account_come_into_a_file_and_changes_follow() {
    let Some((server, mut peer, hid)) = both("new_device = \"operator\"\n") else {
        return;
    };
    let mut person = Person::new();
    made(&person);
    let refused = connect(&person, &server, "of the file\nwrong\n");
    assert!(
        refused.code == Some(4) && refused.err.contains("CRED"),
        "{}",
        refused.err
    );
    let asked = connect(&person, &server, MASTER);
    assert!(
        asked.code == Some(4) && asked.err.contains("code"),
        "{}",
        asked.err
    );
    // Who has the operator's ear.
    let script = format!(
        "#!/bin/sh\ncase $1 in code*) {} vault codes --config {} | grep -o 'PM-[0-9]*' ;;\n\
         master*) echo pass ;;\n*) echo of the file ;; esac\n",
        env!("CARGO_BIN_EXE_tfd"),
        server.config_path().display()
    );
    person.write("ask", &script);
    fs::set_permissions(person.path("ask"), fs::Permissions::from_mode(0o755)).expect("mode");
    person.set("TF_ASKPASS", &person.path("ask").display().to_string());
    let address = old_address(&server).to_string();
    let read = person.tf(&[
        "vault", "connect", "--legacy", "f.kdbx", "--server", &address, "--user", "oldann",
    ]);
    assert_eq!(read.code, Some(0), "{}", read.err);
    assert_eq!(read.out, "read 2 entries: 2 new, 0 changed\n");
    let get = |field: &str| fine(&person, FILE, &["get", "f.kdbx", "oldann/first", field]);
    assert_eq!(get("Password"), "secret of first\n");
    assert_eq!(
        (get("UserName"), get("E-mail")),
        ("ann <&>\n".into(), "ann@example.org\n".into())
    );
    // The device is known now; what was changed there is changed here, and kept.
    let text = format!(
        "REQUPDhid%eq!{hid}!;password%eq!{}!;datetime%eq!1600000009!;",
        sealed("changed there")
    );
    assert!(peer.ask(&text).contains("UPDATE"));
    let again = connect(&person, &server, MASTER);
    assert_eq!(
        again.out, "read 2 entries: 0 new, 1 changed\n",
        "{}",
        again.err
    );
    assert_eq!(get("Password"), "changed there\n");
    let exported = xc(&person, &["export", "f.kdbx"], FILE);
    assert!(exported.contains("secret of first"), "{exported}");
    // What was changed here later stays.
    xc(
        &person,
        &["edit", "-p", "f.kdbx", "oldann/second"],
        "of the file\nchanged here\n",
    );
    assert_eq!(
        connect(&person, &server, MASTER).out,
        "read 2 entries: 0 new, 0 changed\n"
    );
    let second = fine(&person, FILE, &["get", "f.kdbx", "oldann/second"]);
    assert_eq!(second, "changed here\n");
}

#[test]
fn an_old_account_is_moved_and_the_old_device_is_forgotten() {
    let Some((server, mut peer, _)) = both("") else {
        return;
    };
    let shown = fetch_certificate(&address(&server).to_string(), Duration::from_secs(60));
    let pin = format!("SHA256:{}", shown.expect("certificate").fingerprint);
    let devices = Devices {
        server,
        pin,
        people: vec![Person::new(), Person::new()],
    };
    devices.people.iter().for_each(made);
    let [ann, bob] = &devices.people[..] else {
        panic!("two")
    };
    let early = vault(ann, MASTER, &["migrate", "f.kdbx"]);
    assert!(
        early.code == Some(1) && early.err.contains("linked with no account"),
        "{}",
        early.err
    );
    devices.link(0, BOTH, &["--new"]);
    let read = connect(ann, &devices.server, MASTER);
    assert_eq!(read.code, Some(0), "{}", read.err);
    insert(&mut peer, "third", 1_600_000_003);
    let moved = vault(ann, MASTER, &["migrate", "f.kdbx"]);
    assert_eq!(moved.code, Some(0), "{}", moved.err);
    assert!(moved.err.contains("3 entries are at"), "{}", moved.err);
    devices.link(1, BOTH, &[]);
    devices.settle();
    let third = fine(bob, FILE, &["get", "f.kdbx", "oldann/third"]);
    assert_eq!(third, "secret of third\n");
    let again = vault(ann, MASTER, &["migrate", "f.kdbx"]);
    assert!(
        again.code == Some(1) && again.err.contains("no old account"),
        "{}",
        again.err
    );
    let (accounts, _) = operate(&devices.server, &["accounts", "--json"]);
    assert!(accounts.contains("oldann"), "{accounts}");
}

#[test]
fn a_server_with_another_key_than_the_first_time_is_sent_nothing() {
    let Some((server, _, _)) = both("") else {
        return;
    };
    let person = Person::new();
    made(&person);
    assert_eq!(connect(&person, &server, MASTER).code, Some(0));
    let mut file = VaultFile::open(&person.path("f.kdbx"), FILE.trim_end(), None).expect("file");
    let mut old = tfd::client::vault::legacy::Account::of(&file.database).expect("account");
    old.pin = "0".repeat(64);
    file.change(|database| {
        old.put_into(database);
        Ok::<_, tfd::client::vault::VaultError>(())
    })
    .expect("changed");
    drop(file);
    let refused = connect(&person, &server, MASTER);
    assert!(
        refused.code == Some(6) && refused.err.contains("another key"),
        "{}",
        refused.err
    );
}
