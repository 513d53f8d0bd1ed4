//! A backup and its recovery between real peers of version 1.0: what goes between them is
//! their own business, in the document's words; the hub is the real one.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use openssl::sha::sha256;
use openssl::sign::Verifier;
use tfd::hub::wire::{Key, Name, Signature, Value};

use super::peer::*;
use crate::common::PATIENCE;
use crate::peer::{GIB, MIB, code};

/// Files by their names, which are their digests.
type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

fn name(bytes: &[u8]) -> String {
    Name(sha256(bytes)).text()
}

/// The keyed checksum of all bytes.
fn checksum(key: &str, bytes: &[u8]) -> String {
    let key = key.strip_prefix("f:").expect("of all bytes");
    let key = Name::read(key).expect("64 digits").0;
    let key = openssl::pkey::PKey::hmac(&key).expect("key");
    let digest = openssl::hash::MessageDigest::sha256();
    let mut signer = openssl::sign::Signer::new(digest, &key).expect("signer");
    let sum = signer.sign_oneshot_to_vec(bytes).expect("sum");
    Name(sum.try_into().expect("32 bytes")).text()
}

/// What one end states and signs; there is no TLS, so nothing is exported from it.
fn statement(side: &str, purpose: &str, from: &Person, to: &str, nonce: &str) -> String {
    let time = jiff::Timestamp::now().as_second();
    let text = format!("1.0,{side},{purpose},{},{to},{time},{nonce},-", from.name);
    let signed = [b"tfd-hub-ds-v1\0", text.as_bytes()].concat();
    format!("{text} {}", from.sign(&signed))
}

/// Whether a statement is signed by this key.
fn is_signed(line: &str, key: &str) -> bool {
    let words: Vec<&str> = line.split(' ').collect();
    let signature = Signature::read(words[2]).expect("signature").0;
    let key = Key::read(key).expect("key").0;
    let key = openssl::pkey::PKey::public_key_from_raw_bytes(&key, openssl::pkey::Id::ED25519);
    let signed = [b"tfd-hub-ds-v1\0", words[1].as_bytes()].concat();
    let key = key.expect("key");
    let mut verifier = Verifier::new_without_digest(&key).expect("verifier");
    verifier
        .verify_oneshot(&signature, &signed)
        .expect("verified")
}

/// Introduces an owner at a keeper, whose address and key the hub has named.
fn introduced(owner: &Person, purpose: &str, named: &str) -> Line {
    let words: Vec<&str> = named.split(' ').collect();
    let (ip, user, key) = (words[0], words[1], words[2]);
    let mut line = owner.dial(ip);
    let nonce = "AAECAwQFBgcICQoLDA0ODw";
    line.send(&format!(
        "DS1 {}",
        statement("ds1", purpose, owner, user, nonce)
    ));
    assert_eq!(
        line.line().expect("line"),
        "204 Verification of Client1 succeeded"
    );
    let second = line.line().expect("line");
    assert!(
        second.starts_with("DS2 1.0,ds2,") && is_signed(&second, key),
        "{second}"
    );
    line.send("213 Verification of Client2 succeeded");
    line
}

/// A keeper: its line to the hub, and the lines of peers, one after the other.
struct Keeper {
    person: Arc<Person>,
    files: Files,
    line: Line,
}

impl Keeper {
    fn new(hub: &crate::peer::Hub, name: &str, owner_key: &str) -> Keeper {
        let person = Arc::new(Person::new(hub, name));
        let files = Files::default();
        let listener = person.listen();
        let (who, stored, key) = (
            Arc::clone(&person),
            Arc::clone(&files),
            owner_key.to_owned(),
        );
        std::thread::spawn(move || serve(&listener, &who, &stored, &key));
        let line = person.ready(hub, GIB);
        Keeper {
            person,
            files,
            line,
        }
    }
}

/// Serves lines of peers.
fn serve(listener: &TcpListener, who: &Person, files: &Files, owner_key: &str) {
    for stream in listener.incoming() {
        let stream = stream.expect("peer");
        stream.set_read_timeout(Some(PATIENCE)).expect("limit");
        let mut line = Line::over(stream);
        let Some(first) = line.line() else { continue };
        if !is_signed(&first, owner_key) {
            line.send("506 Verification of client did not succeed");
            continue;
        }
        line.send("204 Verification of Client1 succeeded");
        let words: Vec<&str> = first.split([' ', ',']).collect();
        let second = statement("ds2", words[3], who, words[4], words[7]);
        line.send(&format!("DS2 {second}"));
        assert_eq!(code(&line.line().expect("line")), 213);
        while let Some(request) = line.line() {
            obey(&mut line, &request, files);
        }
    }
}

fn obey(line: &mut Line, request: &str, files: &Files) {
    let words: Vec<&str> = request.split(' ').collect();
    let found = words
        .get(1)
        .and_then(|name| files.lock().expect("files").get(*name).cloned());
    match (words[0], found) {
        ("FIL", _) => {
            line.send("211 OK to send file");
            let bytes = line.take(words[2].parse().expect("size"));
            if name(&bytes) == words[1] {
                files.lock().expect("files").insert(name(&bytes), bytes);
                line.send("205 File received");
            } else {
                line.send("505 Requested file does not exist");
            }
        }
        ("REQ", Some(bytes)) => line.send(&format!("CRC {}", checksum(words[2], &bytes))),
        ("GET", Some(bytes)) => {
            line.send(&format!("FIL {} {}", words[1], bytes.len()));
            assert_eq!(code(&line.line().expect("line")), 211);
            line.send_bytes(&bytes);
            assert_eq!(code(&line.line().expect("line")), 205);
        }
        ("ERR", _) => {
            line.send("207 One or more index files exists");
            let names: Vec<String> = files.lock().expect("files").keys().cloned().collect();
            for (at, name) in names.iter().enumerate() {
                line.send(&format!("IDX {} {name}", names.len() - at));
            }
        }
        _ => line.send("505 Requested file does not exist"),
    }
}

/// Sends a file, and compares what the keeper has then.
fn send(line: &mut Line, bytes: &[u8]) {
    let name = name(bytes);
    line.send(&format!("FIL {name} {}", bytes.len()));
    assert_eq!(line.line().expect("line"), "211 OK to send file");
    line.send_bytes(bytes);
    assert_eq!(line.line().expect("line"), "205 File received");
    let key = format!("f:{}", "5a".repeat(32));
    line.send(&format!("REQ {name} {key}"));
    let sum = format!("CRC {}", checksum(&key, bytes));
    assert_eq!(line.line().expect("line"), sum);
}

/// Gets a file back.
fn fetch(line: &mut Line, name: &str, size: usize) -> Vec<u8> {
    line.send(&format!("GET {name} {size}"));
    assert_eq!(line.line().expect("line"), format!("FIL {name} {size}"));
    line.send("211 OK to send file");
    let bytes = line.take(size);
    line.send("205 File received");
    bytes
}

#[test]
fn a_file_is_stored_at_two_keepers_and_recovered_from_each_with_and_without_the_hub() {
    let Some(hub) = hub("") else { return };
    let anna = Person::new(&hub, "anna");
    let mut keepers = ["bob", "carol"].map(|name| Keeper::new(&hub, name, &anna.key()));
    let mut owner = anna.ready(&hub, MIB);
    owner.begin(2 * MIB, 2);
    let pack: Vec<u8> = (0..MIB).map(|at| ((at * 7) >> 3) as u8).collect();
    let index = format!("{} 0 {}\n", name(&pack), pack.len()).into_bytes();
    for (word, bytes) in [("PUT", &pack), ("PIX", &index)] {
        let name = name(bytes);
        let factor = if word == "PIX" { " 2" } else { "" };
        owner.send(&format!("{word} {name} {}{factor}", bytes.len()));
        for keeper in &mut keepers {
            keeper.line.obey("RCV", "211 OK to send file");
        }
        let both = [owner.answer(), owner.answer()];
        for goes in both {
            let rest = goes.strip_prefix(&format!("DST {name} ")).expect("DST");
            send(&mut introduced(&anna, "backup", rest), bytes);
            let keeper = rest.split(' ').nth(1).expect("name");
            let reply = owner.done(&format!("DFI {name} {keeper}"));
            assert_eq!(reply, "212 Transfer completed");
        }
        assert_eq!(owner.notice("NFI"), "NFI");
    }
    assert_eq!(owner.done("DBU"), "215 Update done");
    // Everything is lost, but for name, code, key and what the hub says.
    drop(owner);
    let mut owner = anna.ready(&hub, MIB);
    assert_eq!(owner.done("REC anna"), "207 One or more index files exists");
    assert_eq!(owner.answer(), format!("IDX 1 {}", name(&index)));
    for keeper in &mut keepers {
        owner.send(&format!("REC {}", keeper.person.name));
        keeper.line.obey("LET", "211 OK to send file");
        let source = owner.answer();
        let rest = source.strip_prefix("SRC ").expect("SRC");
        let mut line = introduced(&anna, "recover", rest);
        assert_eq!(fetch(&mut line, &name(&index), index.len()), index);
        assert_eq!(fetch(&mut line, &name(&pack), pack.len()), pack);
        line.send(&format!("GET {} 1", name(b"none")));
        assert_eq!(
            line.line().expect("line"),
            "505 Requested file does not exist"
        );
    }
    // A keeper without the hub, at an address that is written down somewhere.
    drop(hub);
    let bob = &keepers[0].person;
    let place = format!("{} bob {}", bob.ip, bob.key());
    let mut line = introduced(&anna, "emergency", &place);
    line.send("ERR anna");
    assert_eq!(
        line.line().expect("line"),
        "207 One or more index files exists"
    );
    let mut listed = [2, 1].map(|number| {
        let text = line.line().expect("line");
        text.strip_prefix(&format!("IDX {number} "))
            .expect("IDX")
            .to_owned()
    });
    listed.sort();
    let mut expected = [name(&pack), name(&index)];
    expected.sort();
    assert_eq!(listed, expected);
    assert_eq!(fetch(&mut line, &name(&pack), pack.len()), pack);
    assert_eq!(keepers[1].files.lock().expect("files").len(), 2);
}
