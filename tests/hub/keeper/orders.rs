//! What a hub has a keeper do, end to end.

use tfd::hub::wire::request::Req;
use tfd::hub::wire::{AuditKey, Line as WireLine, Message, Purpose, Request, Value};

use super::*;

#[test]
fn a_file_that_its_owner_deletes_goes_into_the_trash_and_comes_back_when_it_is_wanted() {
    let Some(kept) = kept("") else { return };
    let (anna, mut line) = owner(&kept, "anna");
    let content = content(1, 200_000);
    let name = name_of(&content);
    kept.store_file(&mut line, &anna, &content);
    let live = kept.path(&anna, "d", name);
    assert!(live.exists());
    let (text, size) = (name.text(), content.len() as u64);
    let reply = line.done(&format!("DEL {text} {}", anna.proof(name, size)));
    assert_eq!(code(&reply), 203, "{reply}");
    wait_until("it is in the trash", || !live.exists());
    let below = live.strip_prefix(kept.files()).expect("beneath the files");
    let trash = kept.files().join("trash").join(below);
    assert!(trash.exists());
    wait_until("the hub has heard of that", || {
        let reply = kept.place(&mut line, &content);
        code(&reply) == 212
    });
    assert!(live.exists() && !trash.exists());
}

#[test]
fn an_owner_gets_checksums_under_keys_that_it_draws() {
    let Some(kept) = kept("") else { return };
    let (anna, mut line) = owner(&kept, "anna");
    let content = content(1, 10_000);
    kept.store_file(&mut line, &anna, &content);
    recover(&mut line);
    let mut peer = kept.dial(&anna, Purpose::Recover);
    let key = [0x33; 32];
    let mut sums = Vec::new();
    for key in [AuditKey::Full(key), AuditKey::Spot(key)] {
        let id = peer
            .request(Req::new(name_of(&content), key))
            .expect("sent");
        match peer.line().expect("line") {
            WireLine {
                id: Some(of),
                message: Message::Request(Request::Crc(crc)),
            } if of == id => sums.push(crc.checksum.0),
            other => panic!("{other:?}"),
        }
    }
    let hmac = openssl::pkey::PKey::hmac(&key).expect("key");
    let digest = openssl::hash::MessageDigest::sha256();
    let mut signer = openssl::sign::Signer::new(digest, &hmac).expect("signer");
    let full = signer.sign_oneshot_to_vec(&content).expect("sum");
    assert_eq!(sums[0][..], full);
    assert_ne!(sums[0], sums[1]);
}
